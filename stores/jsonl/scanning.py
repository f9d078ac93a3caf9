"""From the bytes of a session's file to what is in it: batch by batch, each checked.

Lines behind the last whole batch are a torn tail, left by a write that did not come to its end,
unless a whole batch follows somewhere behind them: then what is wrong lies in the middle, and that
is damage, which nothing cuts away.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from moorage.runtime.errors import CorruptLog

from .lines import Closing, Damage, Head, closing, crc_of, info_from_json, parse, read_head, seed_of
from .names import stem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..journal.disk import File

CHUNK_BYTES = 2**18
HEADER_BYTES_MAX = 2**24


class Line(NamedTuple):
    """``text`` is without its end; ``whole`` says whether it has one."""

    offset: int
    end: int
    text: bytes
    whole: bool


class EventLine(NamedTuple):
    """One event of a batch and where its line begins."""

    head: Head
    offset: int


@attrs.frozen
class Facts:
    """One session as its file tells it up to offset ``end``, which is the end of line ``lines``.

    ``file`` is a number that no other file, and no earlier one of this name, has. ``life`` is the
    head when the session came to exist, ``after`` the head before the first event that the file
    may have. ``info`` is encoded, None if the session does not exist (any more). ``commit`` is the
    number of its last commit.
    """

    session_id: str
    stem: str
    file: int
    life: int
    after: int
    head_seq: int
    oldest_seq: int
    modified_at_ns: int
    commit: int
    end: int
    lines: int
    info: bytes | None


@attrs.frozen
class Scan:
    """What a file has: facts, the events that were asked for, and where it goes wrong."""

    facts: Facts
    events: list[EventLine]
    bad: BadLine | None


class BadLine(NamedTuple):
    offset: int
    line: int
    reason: str

    def error(self, path: str) -> CorruptLog:
        return CorruptLog(file=path, offset=self.offset, reason=f"line {self.line}: {self.reason}")


class _Bad(Exception):
    def __init__(self, offset: int, line: int, reason: str) -> None:
        super().__init__(reason)
        self.found = BadLine(offset, line, reason)


def read_lines(file: File, start: int, end: int) -> Iterator[Line]:
    """The lines from ``start`` to ``end``; of the last one perhaps only the beginning."""
    pending: list[bytes] = []
    offset = position = start
    while position < end:
        chunk = file.read(min(CHUNK_BYTES, end - position), position)
        if not chunk:
            break
        position += len(chunk)
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            text = b"".join((*pending, part)) if pending else part
            pending.clear()
            behind = offset + len(text) + 1
            yield Line(offset, behind, text.removesuffix(b"\r"), True)
            offset = behind
        if rest:
            pending.append(rest)
    if pending:
        text = b"".join(pending)
        yield Line(offset, offset + len(text), text, False)


def read_header(file: File) -> Facts:
    """What the first line tells. Raises Damage."""
    line = next(read_lines(file, 0, min(file.size(), HEADER_BYTES_MAX)), None)
    if line is None or not line.whole:
        raise Damage("the first line has no end")
    value = parse(line.text)
    end = closing(line.text)
    try:
        session_id: str = value["session_id"]
        if end is None or end.crc != crc_of(line.text[: end.start], session_id):
            raise Damage("its checksum is wrong")
        info = value.get("info")
        return Facts(
            session_id=session_id,
            stem=stem_of(session_id),
            file=int(value["file"], 16),
            life=value["life"],
            after=value["after"],
            head_seq=value["after"],
            oldest_seq=value["oldest_seq"],
            modified_at_ns=value["modified_at_ns"],
            commit=end.commit,
            end=line.end,
            lines=1,
            info=None if info is None else info_from_json(info),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damage(f"not the first line of a session: {error!r}") from error


def scan(file: File, facts: Facts, *, to: int, keep_events: bool) -> Scan:
    """Go on behind what ``facts`` tell, up to offset ``to``, as far as it is good."""
    events: list[EventLine] = []
    try:
        for batch in _batches(file, facts, to):
            facts = _advanced(facts, batch)
            if keep_events:
                events += batch.events
    except _Bad as bad:
        return Scan(facts, events, bad.found)
    return Scan(facts, events, None)


class _Batch(NamedTuple):
    events: list[EventLine]
    note: dict[str, Any]
    commit: int
    end: int
    lines: int


def _batches(file: File, facts: Facts, to: int) -> Iterator[_Batch]:
    seed = seed_of(facts.session_id)
    number, seq, start = facts.lines, facts.head_seq, facts.end
    crc, first, events = seed, number + 1, list[EventLine]()
    for line in read_lines(file, facts.end, to):
        number += 1
        try:
            head = read_head(line.text)
            if head is not None:
                seq += 1
                if head.seq != seq:
                    raise Damage(f"seq {head.seq} where {seq} should be")
                events.append(EventLine(head, line.offset))
            if not line.whole:
                raise Damage("the line has no end")
            end = closing(line.text)
            if end is None:
                crc = zlib.crc32(b"\n", zlib.crc32(line.text, crc))
                continue
            if zlib.crc32(memoryview(line.text)[: end.start], crc) != end.crc:
                place = "it" if first == number else f"lines {first} to {number}"
                raise Damage(f"the checksum of {place} is wrong")
            note = parse(line.text) if head is None or b'"info":' in line.text else {}
        except Damage as error:
            raise _Bad(line.offset, number, str(error)) from error
        yield _Batch(events, note, end.commit, line.end, number)
        crc, first, events, start = seed, number + 1, [], line.end
    if first <= number:
        raise _Bad(start, first, "nothing closes the batch that begins here")


def _advanced(facts: Facts, batch: _Batch) -> Facts:
    changes: dict[str, Any] = {"commit": batch.commit, "end": batch.end, "lines": batch.lines}
    if batch.events:
        last = batch.events[-1].head
        changes["head_seq"] = last.seq
        changes["modified_at_ns"] = last.time_ns
    if "info" in batch.note:
        changes["info"] = info_from_json(batch.note["info"])
    if "trim" in batch.note:
        changes["oldest_seq"] = max(facts.oldest_seq, batch.note["trim"])
    return attrs.evolve(facts, **changes)


def whole_batch_follows(file: File, session_id: str, start: int, to: int) -> bool:
    """Whether some lines behind the one at ``start`` are a whole batch."""
    seed = seed_of(session_id)
    crcs: list[int] = []
    for line in read_lines(file, start, to):
        # each line may be the first of a batch: what is wrong may be the end of the one before
        end: Closing | None = closing(line.text) if line.whole else None
        if line.offset > start:
            crcs.append(seed)
        if end is None:
            crcs = [
                zlib.crc32(b"\n", zlib.crc32(line.text, crc))
                for crc in (*crcs[:1], *crcs[1:][-_TRIED_MAX:])
            ]
            continue
        text = memoryview(line.text)[: end.start]
        if any(zlib.crc32(text, crc) == end.crc for crc in crcs):
            return True
        crcs = []
    return False


_TRIED_MAX = 64
"""Lines in the middle of what is no batch that may begin one; so many are tried at a time."""
