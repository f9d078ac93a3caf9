"""The manifest: which files make up the log. Small, checksummed, replaced by renaming.

::

    magic "MOORMAN\\0" 8 | format version 4 | length 4 | checksum 4 | msgpack map

A file that the manifest does not name is nobody's: left by a crash, removed at the next open.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog

from .disk import SyncFailed, creating
from .format import FORMAT_VERSION, check_version

if TYPE_CHECKING:
    from pathlib import Path

    from .disk import Disk

MAGIC = b"MOORMAN\0"
MANIFEST_BYTES_MAX = 2**28
_HEADER = struct.Struct("<8sIII")
_CHECKED = struct.Struct("<II")
_SEED = 0x6D616E69


@attrs.frozen
class Segment:
    """One segment file.

    ``number`` names the file and never comes again. ``low`` to ``high`` is its place in the order
    of the log: a compacted segment stands for a range of older ones. ``end`` is the size of a
    sealed one, None for the active one. ``index_end`` is the offset up to which its side file
    tells what is in it; 0 means that there is none.
    """

    number: int
    low: int
    high: int
    end: int | None = None
    index_end: int = 0


@attrs.frozen
class Manifest:
    """``generation`` is raised at each opening. ``directory`` numbers the checkpoint file that
    holds the state as of offset ``replay_offset`` of the segment whose place is ``replay_place``
    or later; 0 means an empty state. ``next_number`` is above every file number in use. ``clean``
    means that the log ended there when this was written. ``rotations`` counts the active segments
    that were sealed (0 where a release wrote it that did not count)."""

    log_id: bytes
    created_ns: int
    generation: int
    next_number: int
    segments: tuple[Segment, ...]
    directory: int
    replay_place: int
    replay_offset: int
    clean: bool
    rotations: int = 0

    @property
    def active(self) -> Segment:
        return self.segments[-1]


class Layout:
    """Where the journal's files are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "LOCK"
        self.manifest = root / "MANIFEST"
        self.manifest_new = root / "MANIFEST.new"
        self.durable = root / "DURABLE"
        self.segments = root / "segments"
        self.directories = root / "directory"

    def segment(self, number: int) -> Path:
        return self.segments / f"{number:08d}.log"

    def index(self, number: int, end: int) -> Path:
        return self.segments / f"{number:08d}-{end:x}.index"

    def directory(self, number: int) -> Path:
        return self.directories / f"{number:08d}"


def _checksum(version: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_CHECKED.pack(version, len(body)), _SEED))


def encode_manifest(manifest: Manifest) -> bytes:
    fields: dict[str, Any] = attrs.asdict(manifest, recurse=False)
    fields["segments"] = [list(attrs.astuple(segment)) for segment in manifest.segments]
    body = codec.pack(fields, "manifest")
    checksum = _checksum(FORMAT_VERSION, body)
    return _HEADER.pack(MAGIC, FORMAT_VERSION, len(body), checksum) + body


def decode_manifest(data: bytes, *, file: str) -> Manifest:
    """Raises CorruptLog, and StoreFailed for a newer format."""
    if len(data) < _HEADER.size:
        raise CorruptLog(file=file, offset=len(data), reason="the file ends inside its header")
    magic, version, length, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CorruptLog(file=file, offset=0, reason="this is no manifest")
    check_version(version, file=file)
    body = data[_HEADER.size :]
    if len(body) != length or _checksum(version, body) != checksum:
        raise CorruptLog(file=file, offset=_HEADER.size, reason="the checksum does not match")
    try:
        fields = codec.unpack(body)
        known = {field.name for field in attrs.fields(Manifest)}
        fields = {name: value for name, value in fields.items() if name in known}
        # a later release may have added fields at the end
        fields["segments"] = tuple(Segment(*row[:5]) for row in fields["segments"])
        return Manifest(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptLog(file=file, offset=_HEADER.size, reason=f"unreadable: {error!r}") from error


def load_manifest(disk: Disk, layout: Layout) -> Manifest | None:
    """None if there is none. Raises CorruptLog, StoreFailed and OSError."""
    try:
        file = disk.open(layout.manifest)
    except FileNotFoundError:
        return None
    try:
        size = min(file.size(), MANIFEST_BYTES_MAX)
        return decode_manifest(file.read(size, 0), file=str(layout.manifest))
    finally:
        file.close()


def store_manifest(disk: Disk, layout: Layout, manifest: Manifest) -> None:
    """Replace the manifest, durably. Raises SyncFailed when it is unknown which one is in force,
    and any other OSError when it is the old one."""
    with creating(disk, layout.manifest_new) as file:
        file.write([encode_manifest(manifest)], 0)
        file.sync()
    try:
        disk.rename(layout.manifest_new, layout.manifest)
    except OSError as error:
        raise SyncFailed(*error.args) from error
    disk.sync_directory(layout.root)
