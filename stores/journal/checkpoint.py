"""The directory checkpoint: every entry, in order of change, in checksummed chunks.

::

    header   magic "MOORDIR\\0" 8 | format version 4 | chunks 4 | entries 8 | log id 16 |
             checksum 4                                                               44 bytes
    chunk    length 4 | checksum 4 | up to 500 entries
    entry    id size 2 | flags 1 | info size 4 | cursors size 4 | head seq 8 | oldest seq 8 |
             modified_ns 8 | segment 4 | snapshot place 4 | snapshot seq 8 | session id | info |
             cursors (msgpack map, if any)

An entry may be newer than the position that the checkpoint is for: replay goes over it.
"""

from __future__ import annotations

import struct
import zlib
from itertools import islice
from typing import TYPE_CHECKING

from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog

from .directory import Directory, Entry
from .disk import creating
from .format import FORMAT_VERSION, check_version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .disk import Disk
    from .manifest import Layout, Manifest

MAGIC = b"MOORDIR\0"
ENTRIES_PER_CHUNK = 500
_HEADER = struct.Struct("<8sIIQ16s")
_CHECKSUM = struct.Struct("<I")
_CHUNK = struct.Struct("<II")
_ENTRY = struct.Struct("<HBIIQQqIIQ")
HEADER_SIZE = _HEADER.size + _CHECKSUM.size
_SEED = 0x64697265


def store_directory(
    disk: Disk,
    layout: Layout,
    number: int,
    *,
    log_id: bytes,
    directory: Directory,
    session_ids: Iterable[str],
    in_sealing: tuple[int, Collection[str]],
) -> int:
    """Write a checkpoint file, durably; returns its size. May run in a thread while the
    directory goes on, with a copy of its list of ids. Raises OSError.

    ``in_sealing`` is the place of a segment that is just being sealed and the sessions in it:
    the checkpoint comes into force together with its side file.
    """
    place, within = in_sealing
    with creating(disk, layout.directory(number)) as file:
        position = HEADER_SIZE
        chunks = count = 0
        source = iter(session_ids)
        while chunk := list(islice(source, ENTRIES_PER_CHUNK)):
            body = b"".join(
                _pack_entry(session_id, directory.entries[session_id], place, within)
                for session_id in chunk
            )
            file.write([_CHUNK.pack(len(body), zlib.crc32(body, _SEED)), body], position)
            position += _CHUNK.size + len(body)
            chunks += 1
            count += len(chunk)
        header = _HEADER.pack(MAGIC, FORMAT_VERSION, chunks, count, log_id)
        file.write([header, _CHECKSUM.pack(zlib.crc32(header, _SEED))], 0)
        file.sync()
        disk.sync_directory(layout.directories)
    return position


def _pack_entry(session_id: str, entry: Entry, place: int, within: Collection[str]) -> bytes:
    name = session_id.encode()
    info = entry.info
    cursors = b"" if entry.cursors is None else codec.pack(dict(entry.cursors), "cursors")
    fields = _ENTRY.pack(
        len(name),
        entry.flags,
        len(info),
        len(cursors),
        entry.head_seq,
        entry.oldest_seq,
        entry.modified_ns,
        place if place and info and session_id in within else entry.segment,
        entry.snapshot_place,
        entry.snapshot_seq,
    )
    return b"".join((fields, name, info, cursors))


def _unpack_entries(body: memoryview, directory: Directory) -> None:
    """Raises ValueError and struct.error."""
    at = 0
    while at < len(body):
        entry = Entry()
        id_size, entry.flags, info_size, cursors_size, *numbers = _ENTRY.unpack_from(body, at)
        entry.head_seq, entry.oldest_seq, entry.modified_ns = numbers[:3]
        entry.segment, entry.snapshot_place, entry.snapshot_seq = numbers[3:]
        id_at = at + _ENTRY.size
        info_at = id_at + id_size
        cursors_at = info_at + info_size
        at = cursors_at + cursors_size
        entry.info = bytes(body[info_at:cursors_at])
        if cursors_size:
            entry.cursors = codec.unpack(body[cursors_at:at])
        directory.put(str(body[id_at:info_at], "utf-8"), entry)


def load_directory(disk: Disk, layout: Layout, manifest: Manifest, directory: Directory) -> None:
    """Fill the directory. Raises CorruptLog, StoreFailed (newer format) and OSError."""
    path = layout.directory(manifest.directory)
    try:
        file = disk.open(path)
    except FileNotFoundError:
        raise CorruptLog(file=str(path), offset=0, reason="the file is missing") from None
    try:
        data = file.read(file.size(), 0)
    finally:
        file.close()
    parse_directory(data, str(path), manifest.log_id, directory)


def parse_directory(data: bytes, path: str, log_id: bytes, directory: Directory) -> None:
    """Raises CorruptLog and StoreFailed (newer format)."""
    if len(data) < HEADER_SIZE:
        raise CorruptLog(file=path, offset=len(data), reason="the file ends inside its header")
    header = data[: _HEADER.size]
    magic, version, chunks, count, in_log = _HEADER.unpack(header)
    if magic != MAGIC or _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(header, _SEED):
        raise CorruptLog(file=path, offset=0, reason="the header is not that of a directory")
    check_version(version, file=path)
    if in_log != log_id:
        raise CorruptLog(file=path, offset=0, reason="the directory belongs to another log")
    position = HEADER_SIZE
    view = memoryview(data)
    for _ in range(chunks):
        if len(data) - position < _CHUNK.size:
            raise CorruptLog(file=path, offset=position, reason="chunks are missing")
        length, checksum = _CHUNK.unpack_from(data, position)
        body = view[position + _CHUNK.size : position + _CHUNK.size + length]
        if len(body) != length or zlib.crc32(body, _SEED) != checksum:
            raise CorruptLog(file=path, offset=position, reason="the checksum does not match")
        try:
            _unpack_entries(body, directory)
        except (ValueError, struct.error) as error:
            reason = f"an entry cannot be decoded: {error!r}"
            raise CorruptLog(file=path, offset=position, reason=reason) from error
        position += _CHUNK.size + length
    if len(directory.entries) != count:
        raise CorruptLog(file=path, offset=position, reason=f"{count} entries were written")
