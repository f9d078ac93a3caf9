"""What makes many files one commit: everything is written here first, in one write with one sync.

::

    commits/00000007   magic "MOORJSNL" 8 | format 2 | synced 2 | number 8 | nonce 16 | checksum 4
    frame              mark 4 | checksum 4 | length 4 | msgpack [[name, file, offset, bytes], ...]

A frame says what becomes of files: ``bytes`` at ``offset`` of one that exists, or as all of it
(offset REPLACE), or that it is gone (REMOVE). It is absolute, so it may be done again over what was
done already: after a crash all frames are. ``file`` is the number in the first line of the file
that is meant: one that has been replaced by a newer one since is left alone. Checksums are CRC-32;
a frame's seed mixes the nonce and the offset, so that old bytes are no frame.

Where every commit is synced, a frame that is wrong is the last one, or damage. Where none is
(Durability.BUFFERED), a power loss leaves what it likes, and all counts up to the first that is
wrong.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import CorruptLog

from ..journal.disk import creating

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ..journal.disk import Disk, File

MAGIC = b"MOORJSNL"
MARK = b"\xf5Mj\x1a"
REPLACE = -1
REMOVE = -2
FRAME_BYTES_MAX = 2**31
_HEADER = struct.Struct("<8sHHQ16s")
_CHECKSUM = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + 4
_FRAME = struct.Struct("<4sII")
_SEED = struct.Struct("<16sQ")


class Change(NamedTuple):
    """What becomes of the file ``name`` (told from the store's directory)."""

    name: str
    file: int
    offset: int
    content: bytes


class CommitLog:
    """The file that commits go to. Used by one thread at a time; its methods raise OSError."""

    def __init__(self, file: File, number: int, nonce: bytes, *, synced: bool) -> None:
        self.number = number
        self.end = HEADER_SIZE
        self._file = file
        self._nonce = nonce
        self._synced = synced

    def write(self, changes: Sequence[Change]) -> None:
        """Append one frame, durable on return. SyncFailed means that this is not known."""
        body = pack([list(change) for change in changes])
        crc = zlib.crc32(body, _seed(self._nonce, self.end))
        header = _FRAME.pack(MARK, crc, len(body))
        self._file.write((header, body), self.end, sync=self._synced)
        self.end += len(header) + len(body)

    def cut(self) -> None:
        """Take away what a failed write left."""
        self._file.truncate(self.end)
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def new_commit_log(disk: Disk, directory: Path, number: int, *, synced: bool) -> CommitLog:
    """An empty one, whose name is durable. Raises OSError."""
    nonce = os.urandom(16)
    path = directory / f"{number:08}"
    header = _HEADER.pack(MAGIC, 1, synced, number, nonce)
    with creating(disk, path) as file:
        file.write([header, _CHECKSUM.pack(zlib.crc32(header, 1))], 0)
        file.sync()
    disk.sync_directory(directory)
    return CommitLog(disk.open(path, write=True), number, nonce, synced=synced)


def read_frames(file: File, path: Path) -> Iterator[list[Change]]:
    """The whole frames of a commit log, up to the first that is not. Raises CorruptLog if one
    follows behind that, where every commit was synced."""
    size = file.size()
    header = _read_header(file)
    offset = HEADER_SIZE
    while header is not None and offset < size:
        synced, nonce = header
        frame = _read_frame(file, nonce, offset, size)
        if frame is None:
            if synced:
                _check_rest(file, nonce, offset, size, path)
            return
        body, offset = frame
        yield [Change(*change) for change in unpack(body)]


def was_synced(file: File) -> bool:
    """Whether every commit in it was; True for one that never came to be."""
    header = _read_header(file)
    return header is None or header[0]


def _read_header(file: File) -> tuple[bool, bytes] | None:
    header = file.read(HEADER_SIZE, 0)
    if len(header) < HEADER_SIZE:
        return None
    magic, _, synced, _, nonce = _HEADER.unpack_from(header)
    (crc,) = _CHECKSUM.unpack_from(header, _HEADER.size)
    good = magic == MAGIC and crc == zlib.crc32(header[: _HEADER.size], 1)
    return (bool(synced), nonce) if good else None


def _read_frame(file: File, nonce: bytes, offset: int, size: int) -> tuple[bytes, int] | None:
    header = file.read(_FRAME.size, offset)
    if len(header) < _FRAME.size:
        return None
    mark, crc, length = _FRAME.unpack(header)
    end = offset + _FRAME.size + length
    if mark != MARK or end > size:
        return None
    body = file.read(length, offset + _FRAME.size)
    if zlib.crc32(body, _seed(nonce, offset)) != crc:
        return None
    return body, end


def _check_rest(file: File, nonce: bytes, bad: int, size: int, path: Path) -> None:
    rest = file.read(size - bad, bad)
    place = rest.find(MARK, 1)
    while place >= 0:
        if _read_frame(file, nonce, bad + place, size) is not None:
            reason = f"a commit is wrong, and a whole one follows at {bad + place}"
            raise CorruptLog(file=str(path), offset=bad, reason=reason)
        place = rest.find(MARK, place + 1)


def _seed(nonce: bytes, offset: int) -> int:
    return zlib.crc32(_SEED.pack(nonce, offset), 1)
