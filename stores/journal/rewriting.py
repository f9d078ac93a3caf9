"""Copying what is still wanted of sealed segments into a new one. Blocks; made for a thread.

Blocks are copied as they are, checked on the way, and session by session, so that afterwards a
session's blocks lie next to each other. Memory is bounded by one frame and the new index.
"""

from __future__ import annotations

import heapq
import time
from array import array
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import attrs
from moorage.runtime.errors import CorruptLog

from . import format as fmt
from .changes import decode_change
from .disk import creating, remove
from .format import SEGMENT_HEADER_SIZE, Damaged, SegmentHeader
from .gather import checked_block
from .index import MemoryIndex
from .manifest import Segment
from .recovery import new_segment
from .sealed import Row, SealedIndex
from .sealing import SealedWriter, SessionBlocks, merged_keys, merged_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .directory import Directory, Entry
    from .disk import File
    from .files import Files
    from .index import Span

FRAME_BYTES = 2**20


class Rewritten(NamedTuple):
    """What came of it: the size of the new segment file, 0 if nothing was left to copy."""

    end: int
    blocks: int


@attrs.frozen
class _Held:
    """One session in one of the segments that are rewritten."""

    session_id: str
    order: int
    segment: Segment
    index: SealedIndex
    row: Row


def live_bytes(
    files: Files, segment: Segment, directory: Directory, pace: Callable[[], None]
) -> int:
    """How large a sealed segment would be after a rewrite. Raises CorruptLog and OSError."""
    index = files.index(segment)
    total = 0
    for row in index.rows():
        entry = directory.entries.get(index.session_id(row))
        if entry is not None and entry.info:
            total += sum(span.length for span in _live_spans(index, row, entry.oldest_seq))
            total += row.snapshot_length if _snapshot_is_live(segment, row, entry) else 0
        pace()
    frames = total // FRAME_BYTES + 1
    return SEGMENT_HEADER_SIZE + frames * fmt.FRAME_HEADER_SIZE + total


def _live_spans(index: SealedIndex, row: Row, oldest_seq: int) -> Iterator[Span]:
    if row.last_seq < oldest_seq:
        return
    for span in index.spans(row):
        if span.first_seq + span.events > oldest_seq:
            yield span


def _snapshot_is_live(segment: Segment, row: Row, entry: Entry) -> bool:
    if not row.snapshot_length or row.snapshot_seq != entry.snapshot_seq:
        return False
    return segment.low <= entry.snapshot_place <= segment.high


def rewrite(
    files: Files,
    sources: Sequence[Segment],
    number: int,
    directory: Directory,
    pace: Callable[[], None],
) -> Rewritten:
    """Copy what is live in ``sources`` (next to each other in the log, oldest first) into the
    segment file ``number`` and its side file, durably. ``pace`` is called often; it may sleep, so
    that copying leaves the interpreter to others. Raises CorruptLog and OSError."""
    header = SegmentHeader(files.log_id, number, time.time_ns(), sources[0].low)
    disk, layout = files.disk, files.layout
    file = new_segment(disk, layout, header)
    made = [layout.segment(number)]
    try:
        copy = _Copy(files, number, file)
        previous = _copy_all(copy, files, sources, directory, pace)
        file.sync()
        if copy.blocks:
            made.append(layout.index(number, copy.end))
            _write_index(files, number, copy, previous)
            disk.sync_directory(layout.segments)
            return Rewritten(copy.end, copy.blocks)
    except BaseException:
        remove(disk, made)
        raise
    finally:
        file.close()
    disk.unlink(layout.segment(number))
    return Rewritten(0, 0)


def _copy_all(
    copy: _Copy,
    files: Files,
    sources: Sequence[Segment],
    directory: Directory,
    pace: Callable[[], None],
) -> dict[str, int]:
    """Returns, by session, the place of the segment before these that holds it."""
    previous: dict[str, int] = {}
    for session_id, held in groupby(_all_held(files, sources), lambda one: one.session_id):
        entry = directory.entries.get(session_id)
        if entry is None or not entry.info:
            continue
        for one in held:
            if one.row.blocks_count:
                previous.setdefault(session_id, one.row.previous)
            _copy_session(copy, one, entry)
            pace()
    copy.flush()
    return previous


def _all_held(files: Files, sources: Sequence[Segment]) -> Iterator[_Held]:
    """Every session of every source, sorted by hash and id, then by age."""

    def held(order: int, segment: Segment) -> Iterator[_Held]:
        index = files.index(segment)
        for row in index.rows():
            yield _Held(index.session_id(row), order, segment, index, row)

    return heapq.merge(
        *(held(order, segment) for order, segment in enumerate(sources)),
        key=lambda one: (one.row.hash, one.session_id, one.order),
    )


def _copy_session(copy: _Copy, held: _Held, entry: Entry) -> None:
    row = held.row
    number = held.segment.number
    for span in _live_spans(held.index, row, entry.oldest_seq):
        expected = (fmt.EVENTS, held.session_id, span.first_seq)
        copy.add(number, span.offset, span.length, expected)
    if _snapshot_is_live(held.segment, row, entry):
        expected = (fmt.SNAPSHOT, held.session_id, row.snapshot_seq)
        copy.add(number, row.snapshot_offset, row.snapshot_length, expected)


def _write_index(files: Files, number: int, copy: _Copy, previous: dict[str, int]) -> None:
    index = copy.index
    with creating(files.disk, files.layout.index(number, copy.end)) as file:
        writer = SealedWriter(file, log_id=files.log_id, number=number, end=copy.end)
        for session_id in copy.order:  # sorted by hash, as they were copied
            writer.add(
                SessionBlocks(
                    session_id,
                    index.blocks.get(session_id, array("Q")),
                    index.snapshots.get(session_id, (0, 0, 0)),
                    previous.get(session_id, 0),
                )
            )
        writer.finish(merged_runs(index.runs, None), merged_keys(index.keys, None))


class _Copy:
    """The segment that is being written."""

    def __init__(self, files: Files, number: int, file: File) -> None:
        self._files = files
        self._number = number
        self._file = file
        self._frame: list[bytes] = []
        self._frame_bytes = 0
        self.end = SEGMENT_HEADER_SIZE
        self.blocks = 0
        self.index = MemoryIndex()
        self.order: dict[str, None] = {}

    def add(self, number: int, offset: int, length: int, expected: tuple[int, str, int]) -> None:
        """Copy one block; raises CorruptLog if it is not the expected one, and OSError."""
        data = self._files.log(number).read(length, offset)
        block = checked_block(data, 0, offset, files=self._files, number=number, expected=expected)
        try:
            change = decode_change(block)
        except Damaged as error:
            file = str(self._files.layout.segment(number))
            raise CorruptLog(file=file, offset=offset, reason=str(error)) from error
        if self._frame_bytes + length > FRAME_BYTES:
            self.flush()
        self.index.apply(change, self.end + fmt.FRAME_HEADER_SIZE + self._frame_bytes)
        self.order[block.session_id] = None
        self._frame.append(data)
        self._frame_bytes += length
        self.blocks += 1

    def flush(self) -> None:
        if not self._frame:
            return
        body = b"".join(self._frame)
        seed = fmt.frame_seed(self._files.log_id, self._number, self.end)
        self._file.write([fmt.pack_frame_header(seed, body, self.end), body], self.end)
        self.end += fmt.FRAME_HEADER_SIZE + len(body)
        self._frame.clear()
        self._frame_bytes = 0
