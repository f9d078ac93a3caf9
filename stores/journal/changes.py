"""What a block says, ready to be applied to the state: one shape for writing and for replay."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

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
    text = f"{what}\0{session_id}\0{name}"
    digest = hashlib.blake2b(text.encode(), digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "little")


def session_hash(session_id: str) -> int:
    digest = hashlib.blake2b(session_id.encode(), digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "little")


_STORE_FIELDS = frozenset({"head_seq", "modified_at_ns"})
_INFO_FIELDS = tuple(
    (field.name, field.default)
    for field in attrs.fields(SessionInfo)
    if field.name not in _STORE_FIELDS
)
_INFO_NAMES = frozenset(name for name, _ in _INFO_FIELDS)


def pack_info(info: SessionInfo) -> bytes:
    """The info without what the store knows better; defaults are left out."""
    fields: dict[str, Any] = {}
    for name, default in _INFO_FIELDS:
        value = getattr(info, name)
        if value != default:
            fields[name] = value
    fields["state"] = info.state.value
    return codec.pack(fields, "session info")


def unpack_info(body: bytes, *, head_seq: int, modified_at_ns: int) -> SessionInfo:
    """Raises Damaged. Fields that this release does not know are ignored."""
    try:
        fields = codec.unpack(body)
        if not fields.keys() <= _INFO_NAMES:
            fields = {name: value for name, value in fields.items() if name in _INFO_NAMES}
        fields["state"] = SessionState(fields["state"])
        return SessionInfo(head_seq=head_seq, modified_at_ns=modified_at_ns, **fields)
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
) -> list[tuple[Change, bytes]]:
    """The blocks of one append; the info rides on the last."""
    if len(records) <= BLOCK_RECORDS_MAX:
        bodies = [record.body for record in records]
        if sum(map(len, bodies)) <= BLOCK_BYTES_MAX:
            return [_encode_events(session_id, first_seq, records, bodies, info)]
    parts = list(_split(records))
    blocks = []
    for part in parts:
        bodies = [record.body for record in part]
        carried = info if part is parts[-1] else None
        blocks.append(_encode_events(session_id, first_seq, part, bodies, carried))
        first_seq += len(part)
    return blocks


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
    packed = None if info is None else pack_info(info)
    meta = b""
    if packed is not None or marks:
        rows = [[mark.seq - first_seq, *mark[1:]] for mark in marks]
        meta = codec.pack([packed, rows], "marks")
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


def encode_snapshot(session_id: str, seq: int, body: bytes) -> tuple[Change, bytes]:
    block = fmt.pack_block(fmt.SNAPSHOT, session_id.encode(), seq, content=body)
    return Change(fmt.SNAPSHOT, session_id, seq, len(block)), block


def encode_cursor(session_id: str, name: str, seq: int) -> tuple[Change, bytes]:
    block = fmt.pack_block(fmt.CURSOR, session_id.encode(), seq, meta=name.encode())
    return Change(fmt.CURSOR, session_id, seq, len(block), name=name), block


def encode_trim(session_id: str, oldest_seq: int) -> tuple[Change, bytes]:
    block = fmt.pack_block(fmt.TRIM, session_id.encode(), oldest_seq)
    return Change(fmt.TRIM, session_id, oldest_seq, len(block)), block


def encode_tombstone(session_id: str, head_seq: int) -> tuple[Change, bytes]:
    block = fmt.pack_block(fmt.TOMBSTONE, session_id.encode(), head_seq)
    return Change(fmt.TOMBSTONE, session_id, head_seq, len(block)), block


def decode_change(block: Block) -> Change:
    """Raises Damaged."""
    info: bytes | None = None
    marks: list[RunMark] = []
    name = ""
    try:
        if block.kind == fmt.EVENTS and len(block.meta):
            info, rows = codec.unpack(block.meta)[:2]
            marks = [RunMark(block.seq + row[0], *row[1:4]) for row in rows]
        elif block.kind == fmt.CURSOR:
            name = str(block.meta, "utf-8")
    except (ValueError, TypeError) as error:
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
