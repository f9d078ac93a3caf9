"""What a block says, ready to be applied to the state: one shape for writing and for replay."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

import attrs
from moorage.runtime import codec
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.sessions import SessionInfo, SessionState

from . import format as fmt
from .format import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moorage.runtime.ports import Record

    from .format import Block

BLOCK_RECORDS_MAX = 64
"""Records in one block: one of them cannot be read without decoding all."""
BLOCK_BYTES_MAX = 64 * 1024
"""Encoded records in one block, unless a single one is larger."""

SUBMITTED = 0
ENDED = 1

_INDEXED_TYPES = RUN_TERMINAL_TYPES | {"run_submitted"}
_ARRAY_32 = b"\xdd"
_INFO_SIZE = struct.Struct("<I")
_MARK = struct.Struct("<IBHH")


Encoded = tuple[list["Change"], list[bytes]]
"""Changes, and the block that says each of them."""


class RunMark(NamedTuple):
    """A run's first (``what`` is SUBMITTED) or last (ENDED) event, for the index."""

    seq: int
    what: int
    run_id: str
    key: str | None


class Change(NamedTuple):
    """One block, decoded as far as the state needs it. ``length`` is that of the whole block.

    ``seq`` means: for events the first of ``events``, for a snapshot the event it follows, for a
    cursor its value, for a trim the oldest event left, for a tombstone the last event there was.
    """

    kind: int
    session_id: str
    seq: int
    length: int
    events: int = 0
    flags: int = 0
    time_ns: int = 0
    info: bytes | None = None
    marks: Sequence[RunMark] = ()
    name: str = ""


def name_hash(session_id: str, what: str, name: str) -> int:
    """64 bits that stand for a run or a key in an index; who finds one checks the event."""
    # what is asked for may be no text that UTF-8 can encode; what is stored always is
    text = f"{what}\0{session_id}\0{name}".encode(errors="surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "little")


def session_hash(session_id: str) -> int:
    digest = hashlib.blake2b(session_id.encode(), digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "little")


_INFO_NAMES = frozenset(field.name for field in attrs.fields(SessionInfo))


def unpack_info(body: bytes, *, head_seq: int, modified_at_ns: int) -> SessionInfo:
    """The info with what the store knows better. Raises Damaged. Fields that this release does
    not know are ignored."""
    try:
        fields = codec.unpack(body)
        if not fields.keys() <= _INFO_NAMES:
            fields = {name: value for name, value in fields.items() if name in _INFO_NAMES}
        fields["state"] = SessionState(fields["state"])
        fields["head_seq"] = head_seq
        fields["modified_at_ns"] = modified_at_ns
        return SessionInfo(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"the session's info cannot be decoded: {error!r}") from error


def info_flags(info: SessionInfo) -> int:
    flags = fmt.HAS_INFO
    if info.state is SessionState.CLOSED:
        flags |= fmt.CLOSED
    if info.needs_worker:
        flags |= fmt.NEEDS_WORKER
    return flags


def encode_events(
    session_id: str, first_seq: int, records: Sequence[Record], info: SessionInfo | None
) -> Encoded:
    """The blocks of one append; the info rides on the last."""
    if len(records) <= BLOCK_RECORDS_MAX:
        bodies = [record.body for record in records]
        if sum(map(len, bodies)) <= BLOCK_BYTES_MAX:
            change, block = _encode_events(session_id, first_seq, records, bodies, info)
            return [change], [block]
    parts = list(_split(records))
    changes: list[Change] = []
    blocks: list[bytes] = []
    for part in parts:
        bodies = [record.body for record in part]
        carried = info if part is parts[-1] else None
        change, block = _encode_events(session_id, first_seq, part, bodies, carried)
        changes.append(change)
        blocks.append(block)
        first_seq += len(part)
    return changes, blocks


def _split(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    start = size = 0
    for position, record in enumerate(records):
        length = len(record.body)
        full = position - start == BLOCK_RECORDS_MAX or size + length > BLOCK_BYTES_MAX
        if position > start and full:
            yield records[start:position]
            start, size = position, 0
        size += length
    yield records[start:]


def _encode_events(
    session_id: str,
    first_seq: int,
    records: Sequence[Record],
    bodies: list[bytes],
    info: SessionInfo | None,
) -> tuple[Change, bytes]:
    marks = [
        RunMark(
            first_seq + position,
            SUBMITTED if record.type == "run_submitted" else ENDED,
            record.run_id,
            record.key,
        )
        for position, record in enumerate(records)
        if record.type in _INDEXED_TYPES and record.run_id is not None
    ]
    packed = None if info is None else codec.encode_info(info)
    meta = _pack_meta(first_seq, packed, marks) if packed is not None or marks else b""
    count = len(records)
    flags = 0 if info is None else info_flags(info)
    time_ns = records[-1].time_ns if records else 0 if info is None else info.modified_at_ns
    bodies.insert(0, _ARRAY_32 + count.to_bytes(4, "big"))
    block = fmt.pack_block(
        fmt.EVENTS,
        session_id.encode(),
        first_seq,
        count=count,
        flags=flags,
        time_ns=time_ns,
        meta=meta,
        content=b"".join(bodies),
    )
    change = Change(
        fmt.EVENTS, session_id, first_seq, len(block), count, flags, time_ns, packed, marks
    )
    return change, block


def encode_info(
    session_id: str, next_seq: int, info: bytes, *, flags: int, time_ns: int
) -> Encoded:
    """An info without events; ``info`` is encoded already."""
    block = fmt.pack_block(
        fmt.EVENTS,
        session_id.encode(),
        next_seq,
        flags=flags,
        time_ns=time_ns,
        meta=_pack_meta(next_seq, info, []),
        content=_ARRAY_32 + bytes(4),
    )
    change = Change(fmt.EVENTS, session_id, next_seq, len(block), 0, flags, time_ns, info)
    return [change], [block]


def _pack_meta(first_seq: int, info: bytes | None, marks: list[RunMark]) -> bytes:
    """Info size 4, info, then for each mark: position in the block 4, what 1, run id size 2, key
    size 2, run id, key. A size is one more than the bytes, 0 where there is none."""
    parts = [_INFO_SIZE.pack(0 if info is None else len(info) + 1), info or b""]
    for seq, what, run_id, key in marks:
        run, key_bytes = run_id.encode(), b"" if key is None else key.encode()
        key_size = 0 if key is None else len(key_bytes) + 1
        parts += (_MARK.pack(seq - first_seq, what, len(run) + 1, key_size), run, key_bytes)
    return b"".join(parts)


def _unpack_meta(first_seq: int, meta: memoryview) -> tuple[bytes | None, list[RunMark]]:
    (size,) = _INFO_SIZE.unpack_from(meta)
    at = _INFO_SIZE.size + max(size - 1, 0)
    info = bytes(meta[_INFO_SIZE.size : at]) if size else None
    marks = []
    while at < len(meta):
        position, what, run_size, key_size = _MARK.unpack_from(meta, at)
        run_at = at + _MARK.size
        key_at = run_at + run_size - 1
        at = key_at + max(key_size - 1, 0)
        key = str(meta[key_at:at], "utf-8") if key_size else None
        marks.append(RunMark(first_seq + position, what, str(meta[run_at:key_at], "utf-8"), key))
    return info, marks


def encode_snapshot(session_id: str, seq: int, body: bytes) -> Encoded:
    block = fmt.pack_block(fmt.SNAPSHOT, session_id.encode(), seq, content=body)
    return [Change(fmt.SNAPSHOT, session_id, seq, len(block))], [block]


def encode_cursor(session_id: str, name: str, seq: int) -> Encoded:
    block = fmt.pack_block(fmt.CURSOR, session_id.encode(), seq, meta=name.encode())
    return [Change(fmt.CURSOR, session_id, seq, len(block), name=name)], [block]


def encode_trim(session_id: str, oldest_seq: int) -> Encoded:
    block = fmt.pack_block(fmt.TRIM, session_id.encode(), oldest_seq)
    return [Change(fmt.TRIM, session_id, oldest_seq, len(block))], [block]


def encode_tombstone(session_id: str, head_seq: int) -> Encoded:
    block = fmt.pack_block(fmt.TOMBSTONE, session_id.encode(), head_seq)
    return [Change(fmt.TOMBSTONE, session_id, head_seq, len(block))], [block]


def decode_change(block: Block) -> Change:
    """Raises Damaged."""
    info: bytes | None = None
    marks: list[RunMark] = []
    name = ""
    try:
        if block.kind == fmt.EVENTS and len(block.meta):
            info, marks = _unpack_meta(block.seq, block.meta)
        elif block.kind == fmt.CURSOR:
            name = str(block.meta, "utf-8")
    except (ValueError, struct.error) as error:
        raise Damaged(f"a block cannot be decoded: {error!r}") from error
    return Change(
        block.kind,
        block.session_id,
        block.seq,
        block.length,
        block.events,
        block.flags,
        block.time_ns,
        info,
        marks,
        name,
    )
