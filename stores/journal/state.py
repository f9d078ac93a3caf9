"""Everything the journal knows that is durable: the directory and where the blocks are.

The owner feeds it from its commits, recovery and readers in other processes from the frames that
they read: ``apply`` is the only way in. Not thread-safe; ``chain`` hands out what a thread may use.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import attrs

from .files import Files
from .gather import memory_part
from .index import MemoryIndex
from .manifest import Segment

if TYPE_CHECKING:
    from .changes import Change
    from .directory import Directory, Entry
    from .gather import Part
    from .sealed import SealedIndex


INLINE_BYTES_MAX = 8 * 2**20
"""What was written this recently is read without a thread."""


@attrs.frozen
class Recent:
    """A segment whose blocks (those not in its side file) are indexed in memory."""

    segment: Segment
    index: MemoryIndex


class Chain:
    """Walks the side files that hold a session, newest first. May be used in a thread."""

    def __init__(self, files: Files, indexed: tuple[Segment, ...], start: int) -> None:
        self.files = files
        self._indexed = indexed
        self._place = start
        self._limit = len(indexed)

    def next(self) -> tuple[Segment, SealedIndex] | None:
        """The next older side file that may hold the session, or None at the end."""
        segments = self._indexed
        position = bisect_left(segments, self._place, key=lambda segment: segment.high)
        # Each link leads to an older file. One that does not was overtaken by compaction, which
        # only ever drops what is trimmed: nothing older is left.
        if not self._place or position >= self._limit or segments[position].low > self._place:
            return None
        self._limit = position
        return segments[position], self.files.index(segments[position])

    def follow(self, previous: int) -> None:
        self._place = previous


@attrs.frozen
class View:
    """One session at one moment: what was durable then, and where to find it. ``recents`` are
    the segments indexed in memory, newest first, the active one being durable to ``end``;
    ``in_memory`` are those of them that hold the session, by number, with its blocks: the index
    forgets them when the session is deleted, and a thread may still be on its way to them."""

    files: Files
    session_id: str
    head: int
    oldest: int
    closed: bool
    recents: tuple[Recent, ...]
    in_memory: tuple[tuple[int, array[int]], ...]
    indexed: tuple[Segment, ...]
    start: int
    end: int

    def chain(self, start: int | None = None) -> Chain:
        return Chain(self.files, self.indexed, self.start if start is None else start)

    def memory_parts(self) -> list[Part]:
        """Where the session's blocks are, as far as memory knows, newest first."""
        return [memory_part(number, blocks) for number, blocks in self.in_memory]

    def newest_part(self) -> Part | None:
        """What the active segment holds of the session."""
        if not self.in_memory:
            return None
        number, blocks = self.in_memory[0]
        return memory_part(number, blocks) if number == self.recents[0].segment.number else None

    def is_recent(self, number: int, offset: int) -> bool:
        """Whether it was just written, and so is surely in the page cache."""
        active = self.recents[0].segment.number
        return number == active and offset >= self.end - INLINE_BYTES_MAX


class State:
    """``segments`` are all of the log, oldest first; the last is the active one, durable up to
    ``end``."""

    def __init__(self, files: Files, segments: tuple[Segment, ...], directory: Directory) -> None:
        self.files = files
        self.segments = segments
        self.directory = directory
        self.active = MemoryIndex()
        self.sealing: Recent | None = None
        self.end = 0
        self._indexed = tuple(segment for segment in segments if segment.index_end)
        files.retain(segments)

    @property
    def active_segment(self) -> Segment:
        return self.segments[-1]

    def apply(self, change: Change, offset: int) -> None:
        """Take over a durable block that lies at ``offset`` of the active segment."""
        self.directory.apply(change, self.segments[-1].high)
        self.active.apply(change, offset)

    def rotate(self, segments: tuple[Segment, ...]) -> None:
        """Go on in a new active segment; the old one keeps its index here until ``sealed``."""
        assert self.sealing is None, "the segment before is still being sealed"
        self.sealing = Recent(segments[-2], self.active)
        self.active = MemoryIndex()
        self.set_segments(segments)

    def sealed(self, segments: tuple[Segment, ...]) -> None:
        """The side file of the segment before the active one is there: forget its index."""
        assert self.sealing is not None, "no segment is being sealed"
        place = self.sealing.segment.high
        entries = self.directory.entries
        for session_id in self.sealing.index.blocks:
            entries[session_id].segment = place  # where it was deleted meanwhile, no harm is done
        self.sealing = None
        self.set_segments(segments)

    def set_segments(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        self._indexed = tuple(segment for segment in segments if segment.index_end)
        self.files.retain(segments)

    def recents(self) -> list[Recent]:
        """The segments indexed in memory, newest first."""
        recents = [Recent(self.segments[-1], self.active)]
        if self.sealing is not None:
            recents.append(self.sealing)
        return recents

    def view(self, session_id: str, entry: Entry) -> View:
        """What a thread may read of a session while the state goes on."""
        recents = tuple(self.recents())
        return View(
            files=self.files,
            session_id=session_id,
            head=entry.head_seq,
            oldest=entry.oldest_seq,
            closed=entry.closed,
            recents=recents,
            in_memory=tuple(
                (recent.segment.number, blocks)
                for recent in recents
                if (blocks := recent.index.blocks.get(session_id)) is not None
            ),
            indexed=self._indexed,
            start=entry.segment,
            end=self.end,
        )
