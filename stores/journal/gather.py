"""From a range of seqs to bytes: which blocks hold it, where they are, and reading them.

Everything here blocks; it runs inline for what was just written and in a thread otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog

from . import format as fmt
from .format import Damaged
from .index import WIDTH, Span, find_block, span_at

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence

    from moorage.runtime.events import Event

    from .disk import File
    from .files import Files
    from .sealed import Row, SealedIndex
    from .state import Chain, View

GAP_BYTES_MAX = 16 * 1024
"""Blocks this close to each other are read in one go, with what lies between them."""
READ_BYTES_MAX = 2**20
_SEALED_BLOCKS_PER_READ = 256


@attrs.define
class Budget:
    """How much one page may touch: at least one block, whatever its size."""

    events: int
    size: int

    @property
    def spent(self) -> bool:
        return self.events <= 0 or self.size <= 0


class Located(NamedTuple):
    number: int
    span: Span


class Part(NamedTuple):
    """One session's blocks in one segment, from whichever index knows them."""

    number: int
    first_seq: int
    ascending: Callable[[int], Iterator[Span]]
    descending: Callable[[int], Iterator[Span]]


def memory_part(number: int, blocks: array[int]) -> Part:
    def ascending(low: int) -> Iterator[Span]:
        for position in range(max(find_block(blocks, low), 0), len(blocks) // WIDTH):
            yield span_at(blocks, position)

    def descending(high: int) -> Iterator[Span]:
        for position in range(find_block(blocks, high), -1, -1):
            yield span_at(blocks, position)

    return Part(number, blocks[0], ascending, descending)


def sealed_part(number: int, index: SealedIndex, row: Row) -> Part:
    """What a sealed segment holds of the session that ``row`` is about."""
    step = _SEALED_BLOCKS_PER_READ

    def ascending(low: int) -> Iterator[Span]:
        for start in range(max(index.find_block(row, low), 0), row.blocks_count, step):
            blocks = index.blocks(row, start, step)
            for position in range(len(blocks) // WIDTH):
                yield span_at(blocks, position)

    def descending(high: int) -> Iterator[Span]:
        last = index.find_block(row, high)
        while last >= 0:
            start = max(last - step + 1, 0)
            blocks = index.blocks(row, start, last - start + 1)
            for position in range(len(blocks) // WIDTH - 1, -1, -1):
                yield span_at(blocks, position)
            last = start - 1

    return Part(number, row.first_seq, ascending, descending)


def parts_down(session_id: str, recent: Sequence[Part], chain: Chain) -> Iterator[Part]:
    """Where the session's blocks are, newest first."""
    yield from recent
    while (found := chain.next()) is not None:
        segment, index = found
        row = index.find(session_id)
        if row is None:
            return
        if row.blocks_count:
            yield sealed_part(segment.number, index, row)
        chain.follow(row.previous)


def gather(
    parts: Iterator[Part], low: int, high: int, budget: Budget, *, backwards: bool
) -> list[Located]:
    """The blocks that hold ``low`` to ``high`` as far as the budget goes, ascending."""
    found: list[Located] = []
    if backwards:
        for part in parts:
            _take(part, part.descending(high), low, high, budget, found)
            if budget.spent or part.first_seq <= low:
                break
            high = min(high, part.first_seq - 1)
        found.reverse()
        return found
    needed: list[tuple[Part, int]] = []
    for part in parts:
        if part.first_seq <= high:
            needed.append((part, high))
            high = part.first_seq - 1
        if part.first_seq <= low:
            break
    for part, part_high in reversed(needed):
        _take(part, part.ascending(low), low, part_high, budget, found)
        if budget.spent:
            break
    return found


def _take(
    part: Part,
    spans: Iterator[Span],
    low: int,
    high: int,
    budget: Budget,
    found: list[Located],
) -> None:
    number = part.number
    events, size = budget.events, budget.size
    for span in spans:
        first_seq, _, length, count = span
        following = first_seq + count
        if first_seq > high or following <= low:
            break
        found.append(Located(number, span))
        events -= min(following, high + 1) - max(first_seq, low)
        size -= length
        if events <= 0 or size <= 0:
            break
    budget.events, budget.size = events, size


def check_no_gap(located: Sequence[Located], view: View, low: int, high: int) -> None:
    """Raise CorruptLog when the blocks found do not follow each other, or miss an end."""
    expected = low
    for number, span in located:
        if span.first_seq > expected or (expected != low and span.first_seq != expected):
            raise CorruptLog(
                file=str(view.files.layout.segment(number)),
                offset=span.offset,
                reason=f"seq {expected} of session {view.session_id!r} is missing before this",
            )
        expected = span.first_seq + span.events
    if expected <= high:
        raise CorruptLog(
            file=str(view.files.layout.root),
            offset=0,
            reason=f"seq {expected} to {high} of session {view.session_id!r} are missing",
        )


def fetch(located: Sequence[Located], session_id: str, files: Files) -> list[list[Event]]:
    """The events of each block. Raises CorruptLog and OSError."""
    found = []
    name = session_id.encode()
    position = 0
    while position < len(located):
        end = _run_end(located, position)
        number, first = located[position]
        last = located[end - 1].span
        base = first.offset
        data = memoryview(files.log(number).read(last.offset + last.length - base, base))
        for _, (first_seq, offset, length, _) in located[position:end]:
            start = offset - base
            try:
                content = fmt.events_content(data, start, start + length, name, first_seq)
            except Damaged as damaged:
                file = str(files.layout.segment(number))
                raise CorruptLog(file=file, offset=offset, reason=str(damaged)) from None
            found.append(codec.decode_block(session_id, first_seq, content))
        position = end
    return found


def _run_end(located: Sequence[Located], start: int) -> int:
    number, first = located[start]
    reached = first.offset + first.length
    end = start + 1
    while end < len(located):
        next_number, span = located[end]
        gap = span.offset - reached
        if next_number != number or not 0 <= gap <= GAP_BYTES_MAX:
            break
        reached = span.offset + span.length
        if reached - first.offset > READ_BYTES_MAX:
            break
        end += 1
    return end


def checked_block(
    data: bytes,
    position: int,
    offset: int,
    *,
    files: Files,
    number: int,
    expected: tuple[int, str, int],
) -> fmt.Block:
    """Parse a block that must be the ``expected`` (kind, session id, seq). Raises CorruptLog."""
    try:
        block = fmt.parse_block(data, position, offset, check=True)
        if (block.kind, block.session_id, block.seq) != expected:
            raise Damaged(f"another block is here than the index says: {expected}")
    except (Damaged, ValueError) as error:
        file = str(files.layout.segment(number))
        raise CorruptLog(file=file, offset=offset, reason=str(error)) from error
    return block


def read_block(
    files: Files, number: int, offset: int, length: int, expected: tuple[int, str, int]
) -> fmt.Block:
    """Read and check one block. Raises CorruptLog and OSError."""
    file: File = files.log(number)
    data = file.read(length, offset)
    return checked_block(data, 0, offset, files=files, number=number, expected=expected)
