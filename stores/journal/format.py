"""The bytes of a segment file: a header, then frames; a frame holds blocks.

::

    segment   magic "MOORLOG\\0" 8 | format version 4 | header size 4 | created_ns 8 |
              segment number 8 | log id 16 | low 8 | reserved 4 | checksum 4              64 bytes
    frame     mark 4 | length 4 | checksum 4 | header check 4 | attested 8 | blocks ...
    block     length 4 | checksum 4 | kind 1 | flags 1 | id size 2 | count 4 | meta size 4 |
              seq 8 | time_ns 8 | session id | meta | content

Integers are little-endian, lengths count everything. ``attested`` is the offset up to which this
segment was durable before the frame was written. Checksums are CRC-32 with a seed that is never
zero, over everything behind themselves (the frame's also over its length; the header check over
length and attested alone, so that a header still attests when its frame is torn). A frame's seed
mixes the log's id, the segment's number and the frame's offset: bytes of a frame anywhere else, say
inside a user's data, are no frame. A block's seed depends on nothing, so a block can be moved.

A frame is one commit: all of it happened or nothing. A block says one thing about one session,
absolutely ("the head is 7", not "one more"), so that a log may be replayed over newer state.
Pure: no I/O.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime.errors import CorruptLog, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = 1
SEGMENT_MAGIC = b"MOORLOG\0"
FRAME_MARK = b"\xf5Mf\x1a"
FRAME_BYTES_MAX = 2**31
SEQ_MAX = 2**48 - 1
"""Twenty thousand years at half a million events per second."""

# kinds of block
EVENTS = 1
SNAPSHOT = 2
CURSOR = 3
TRIM = 4
TOMBSTONE = 5
KINDS = frozenset({EVENTS, SNAPSHOT, CURSOR, TRIM, TOMBSTONE})

# flags of an events block
HAS_INFO = 1
CLOSED = 2
NEEDS_WORKER = 4

_SEGMENT = struct.Struct("<8sIIqQ16sQ4s")
_CHECKSUM = struct.Struct("<I")
SEGMENT_HEADER_SIZE = _SEGMENT.size + 4
_FRAME = struct.Struct("<4sIIIQ")
FRAME_HEADER_SIZE = _FRAME.size
_FRAME_SEED = struct.Struct("<16sQQ")
_FRAME_TAIL = struct.Struct("<IQ")
"""What the header check covers; the checksum goes on from it over the blocks."""
_BLOCK = struct.Struct("<IIBBHIIQq")
_BLOCK_TAIL = struct.Struct("<BBHIIQq")
BLOCK_HEADER_SIZE = _BLOCK.size
_BLOCK_SEED = 0x6D6F6F72


class SegmentHeader(NamedTuple):
    """``low`` is the segment's place in the order of the log, as in the manifest."""

    log_id: bytes
    number: int
    created_ns: int
    low: int


class Frame(NamedTuple):
    offset: int
    length: int
    attested: int


class Block(NamedTuple):
    """One parsed block. ``offset`` and ``length`` say where the whole block lies."""

    offset: int
    length: int
    kind: int
    flags: int
    events: int
    seq: int
    time_ns: int
    session_id: str
    meta: memoryview
    content: memoryview


class Damaged(Exception):
    """These bytes are not what was written; the argument says why."""


def pack_segment_header(header: SegmentHeader) -> bytes:
    """The 64 bytes that a segment file begins with."""
    fields = _SEGMENT.pack(
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        SEGMENT_HEADER_SIZE,
        header.created_ns,
        header.number,
        header.log_id,
        header.low,
        b"",
    )
    return fields + _CHECKSUM.pack(zlib.crc32(fields, _BLOCK_SEED))


def parse_segment_header(data: bytes, *, file: str) -> SegmentHeader:
    """Raises CorruptLog, and StoreFailed for a newer format."""
    if len(data) < SEGMENT_HEADER_SIZE:
        raise CorruptLog(file=file, offset=len(data), reason="the file ends inside its header")
    fields = data[: _SEGMENT.size]
    magic, version, _, created_ns, number, log_id, low, _ = _SEGMENT.unpack(fields)
    (checksum,) = _CHECKSUM.unpack_from(data, _SEGMENT.size)
    if magic != SEGMENT_MAGIC or checksum != zlib.crc32(fields, _BLOCK_SEED):
        raise CorruptLog(file=file, offset=0, reason="the header is not that of a segment")
    check_version(version, file=file)
    return SegmentHeader(log_id, number, created_ns, low)


def check_version(version: int, *, file: str) -> None:
    if version > FORMAT_VERSION:
        raise StoreFailed(
            f"{file} has format version {version} and this release of Moorage knows versions up "
            f"to {FORMAT_VERSION}: nothing was changed, install a newer release to open it",
            written=False,
        )


def frame_seed(log_id: bytes, number: int, offset: int) -> int:
    """What a frame's checksum starts from; never 0."""
    return zlib.crc32(_FRAME_SEED.pack(log_id, number, offset)) or 1


def pack_frame_header(seed: int, body: bytes, attested: int) -> bytes:
    length = FRAME_HEADER_SIZE + len(body)
    header_check = zlib.crc32(_FRAME_TAIL.pack(length, attested), seed)
    return _FRAME.pack(FRAME_MARK, length, zlib.crc32(body, header_check), header_check, attested)


def parse_frame_header(data: bytes | memoryview, seed: int, offset: int) -> Frame:
    """The frame whose header ``data`` starts with; raises Damaged when it is none."""
    if len(data) < FRAME_HEADER_SIZE:
        raise Damaged(f"only {len(data)} of a frame header's {FRAME_HEADER_SIZE} bytes are there")
    mark, length, _, header_check, attested = _FRAME.unpack_from(data)
    if mark != FRAME_MARK or header_check != zlib.crc32(_FRAME_TAIL.pack(length, attested), seed):
        raise Damaged("no frame starts here")
    if not FRAME_HEADER_SIZE <= length <= FRAME_BYTES_MAX or attested > offset:
        raise Damaged("the frame's header contradicts itself")
    return Frame(offset, length, attested)


def check_frame(data: bytes | memoryview, frame: Frame) -> None:
    """Check a whole frame whose header was parsed; raises Damaged."""
    if len(data) < frame.length:
        raise Damaged(f"only {len(data)} of the frame's {frame.length} bytes are there")
    _, _, checksum, header_check, _ = _FRAME.unpack_from(data)
    if checksum != zlib.crc32(memoryview(data)[FRAME_HEADER_SIZE : frame.length], header_check):
        raise Damaged("the frame's checksum does not match")


def pack_block(
    kind: int,
    session_id: bytes,
    seq: int,
    *,
    count: int = 0,
    flags: int = 0,
    time_ns: int = 0,
    meta: bytes = b"",
    content: bytes = b"",
) -> bytes:
    """One whole block; ``seq`` is its first event's, ``count`` how many there are."""
    payload = b"".join((session_id, meta, content))
    tail = _BLOCK_TAIL.pack(kind, flags, len(session_id), count, len(meta), seq, time_ns)
    checksum = zlib.crc32(payload, zlib.crc32(tail, _BLOCK_SEED))
    length = BLOCK_HEADER_SIZE + len(payload)
    return b"".join((_CHECKSUM.pack(length), _CHECKSUM.pack(checksum), tail, payload))


def parse_block(data: bytes | memoryview, position: int, offset: int, *, check: bool) -> Block:
    """The block that starts at ``data[position]`` and at ``offset`` of its file.

    ``check`` also verifies the checksum; a frame's checksum makes that unnecessary. Raises
    Damaged.
    """
    if len(data) - position < BLOCK_HEADER_SIZE:
        raise Damaged("the data ends inside a block's header")
    fields = _BLOCK.unpack_from(data, position)
    length, checksum, kind, flags, id_size, count, meta_size, seq, time_ns = fields
    end = position + length
    id_at = position + BLOCK_HEADER_SIZE
    meta_at = id_at + id_size
    content_at = meta_at + meta_size
    if content_at > end or end > len(data):
        raise Damaged("a block's lengths contradict each other")
    view = memoryview(data)
    if check and checksum != zlib.crc32(view[position + 8 : end], _BLOCK_SEED):
        raise Damaged("a block's checksum does not match")
    if kind not in KINDS:
        raise Damaged(f"blocks of kind {kind} are unknown")
    session_id = str(view[id_at:meta_at], "utf-8")
    return Block(
        offset,
        length,
        kind,
        flags,
        count,
        seq,
        time_ns,
        session_id,
        view[meta_at:content_at],
        view[content_at:end],
    )


def events_content(
    view: memoryview, start: int, end: int, session_id: bytes, seq: int
) -> memoryview:
    """The content of the events block at ``view[start:end]``, which must be of this session and
    begin with this seq: ``parse_block`` for those who read many. Raises Damaged."""
    if end > len(view):
        raise Damaged("the file ends inside a block")
    length, checksum, kind, _, id_size, _, meta_size, in_seq, _ = _BLOCK.unpack_from(view, start)
    if length != end - start or checksum != zlib.crc32(view[start + 8 : end], _BLOCK_SEED):
        raise Damaged("a block's checksum does not match")
    id_end = start + BLOCK_HEADER_SIZE + id_size
    in_id = view[start + BLOCK_HEADER_SIZE : id_end]
    if kind != EVENTS or in_seq != seq or in_id != session_id:
        raise Damaged("another block is here than the index says")
    return view[id_end + meta_size : end]


def parse_blocks(frame: bytes | memoryview, offset: int) -> Iterator[Block]:
    """The blocks of a checked frame that starts at ``offset``; raises Damaged."""
    position = FRAME_HEADER_SIZE
    while position < len(frame):
        block = parse_block(frame, position, offset + position, check=False)
        yield block
        position += block.length
