"""The DURABLE file: how far other processes may read. Small, rewritten in place, never synced.

::

    magic "MOORDUR\\0" 8 | generation 8 | segment number 8 | offset 8 | synced 4 | checksum 4

It is written after the sync, so whatever it says with a good checksum was durable (if ``synced``;
otherwise it had only reached the operating system). It may be older than the truth, or gone.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .disk import File

MAGIC = b"MOORDUR\0"
_FIELDS = struct.Struct("<8sQQQI")
_CHECKSUM = struct.Struct("<I")
_SEED = 0x64757261
SIZE = _FIELDS.size + _CHECKSUM.size


class DurableEnd(NamedTuple):
    generation: int
    number: int
    offset: int
    synced: bool


def pack_durable(end: DurableEnd) -> bytes:
    fields = _FIELDS.pack(MAGIC, end.generation, end.number, end.offset, end.synced)
    return fields + _CHECKSUM.pack(zlib.crc32(fields, _SEED))


def read_durable(file: File) -> DurableEnd | None:
    """What the file says, or None if it says nothing (torn, empty, of another format)."""
    data = file.read(SIZE, 0)
    if len(data) < SIZE:
        return None
    fields = data[: _FIELDS.size]
    magic, generation, number, offset, synced = _FIELDS.unpack(fields)
    (checksum,) = _CHECKSUM.unpack_from(data, _FIELDS.size)
    if magic != MAGIC or checksum != zlib.crc32(fields, _SEED):
        return None
    return DurableEnd(generation, number, offset, bool(synced))
