"""Freeing the space of what was trimmed, deleted or superseded, in sealed segments.

A pass measures every sealed segment, then rewrites those that are mostly dead together with small
neighbours. The manifest is switched when the new file is complete and durable, then the old files
go; whoever reads them at that moment looks again. A crash leaves the old files or the new ones,
and orphans, which the next opening removes.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import attrs
import structlog
import trio
from moorage.runtime.errors import StoreFailed

from .disk import SyncFailed
from .maintenance import in_thread
from .manifest import Segment
from .rewriting import live_bytes, rewrite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .commits import CommitLoop
    from .maintenance import Maintenance
    from .opening import Opened
    from .rewriting import Rewritten

DEAD_RATIO = 0.5
"""A segment with more than this share dead is rewritten in the background."""
DEAD_RATIO_ASKED = 0.05
"""The same for a pass that somebody asked for."""
SMALL_SHARE = 0.25
"""A segment below this share of ``segment_bytes`` is joined with such neighbours."""
SOURCES_MAX = 32
"""This many segments at most are rewritten into one: all of them are open at once."""
INTERVAL_SECONDS = 30.0
"""At least this long between two background passes."""
PAUSE_RATIO = 10
"""And this many times as long as the last pass took: a long log takes long to look at."""
WORK_SECONDS = 0.002
REST_SECONDS = 0.006
"""Background copying works and rests in turn: a thread that computes delays the event loop."""

_log = structlog.get_logger("moorage.journal")


@attrs.frozen
class CompactionReport:
    """Segment files before and after, in number and in bytes."""

    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int


class _Pace:
    """Rests between bits of work, and ends the work when it is stopped."""

    def __init__(self, stop: threading.Event, *, resting: bool) -> None:
        self._stop = stop
        self._resting = resting
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self._resting and time.perf_counter() - self._since > WORK_SECONDS:
            self._stop.wait(REST_SECONDS)
            self._since = time.perf_counter()


class _Stopped(Exception):
    """The journal is closing."""


class Compactor:
    """Runs beside the commit loop of one open journal."""

    def __init__(
        self,
        opened: Opened,
        maintenance: Maintenance,
        commits: CommitLoop,
        *,
        segment_bytes: int,
    ) -> None:
        self._opened = opened
        self._maintenance = maintenance
        self._commits = commits
        self._segment_bytes = segment_bytes
        self._wanted = trio.Event()
        self._wanted.set()  # nobody counted what was dead when the journal was closed
        self._passing = trio.Lock()
        self._stop = threading.Event()
        self.compactions = 0
        self.dead_bytes = 0
        maintenance.sealed = self.note_dead  # what is in it may supersede what is in others

    def note_dead(self) -> None:
        """Something may have been trimmed, deleted or superseded: look at it some time."""
        self._wanted.set()

    async def stop(self) -> None:
        """End a pass that is under way, and wait for that."""
        self._stop.set()
        async with self._passing:
            pass

    async def run(self) -> None:
        """Compact in the background until cancelled."""
        took = 0.0
        while self._commits.poison is None:
            await self._wanted.wait()
            await trio.sleep(max(INTERVAL_SECONDS, PAUSE_RATIO * took))
            self._wanted = trio.Event()
            began = trio.current_time()
            try:
                await self._pass(DEAD_RATIO, resting=True)
            except _Stopped:
                return
            except (OSError, StoreFailed) as error:
                # nothing is lost: the old segments stay as they are
                _log.warning("journal compaction failed", error=repr(error))
            took = trio.current_time() - began

    async def compact(self) -> CompactionReport:
        """Free what can be freed now. Raises StoreFailed and CorruptLog."""
        before = self._sizes()
        self._check_poison()
        try:
            await self._maintenance.seal_active()
            await self._pass(DEAD_RATIO_ASKED, resting=False)
        except _Stopped:
            raise StoreFailed("the journal was closed during compaction") from None
        except OSError as error:
            raise StoreFailed(f"compaction failed: {error}; nothing was lost") from error
        after = self._sizes()
        return CompactionReport(len(before), len(after), sum(before), sum(after))

    def _sizes(self) -> list[int]:
        opened = self._opened
        return [segment.end or opened.target.end for segment in opened.manifest.segments]

    def _check_poison(self) -> None:
        poison = self._commits.poison
        if poison is not None:
            raise StoreFailed(poison.message, written=False, poisoned=True)

    async def _pass(self, ratio: float, *, resting: bool) -> None:
        async with self._passing:
            self._check_poison()
            pace = _Pace(self._stop, resting=resting)
            opened = self._opened
            state = opened.state
            # what recovery still has to replay stays: the frames behind the replay position
            manifest = opened.manifest
            sealed = [one for one in manifest.segments if one.high < manifest.replay_place]
            live = await in_thread(
                lambda: [
                    live_bytes(state.files, segment, state.directory, pace) for segment in sealed
                ]
            )
            sizes = [segment.end or 0 for segment in sealed]
            self.dead_bytes = sum(sizes) - sum(live)
            for start, end in plan(sizes, live, ratio=ratio, segment_bytes=self._segment_bytes):
                await self._replace(sealed[start:end], pace)

    async def _replace(self, sources: Sequence[Segment], pace: _Pace) -> None:
        opened = self._opened
        state = opened.state
        number = opened.take_number()
        try:
            new = await in_thread(
                lambda: rewrite(state.files, sources, number, state.directory, pace)
            )
            made = [opened.layout.segment(number), opened.layout.index(number, new.end)]
            async with self._maintenance.discarding(made if new.end else []):
                # with BUFFERED durability the trim that freed it may not be on the disk yet
                await in_thread(opened.target.file.sync)
                await self._switch(sources, number, new)
        except SyncFailed as error:
            raise self._maintenance.poisoned(error) from error
        await self._forget(sources, new)

    async def _switch(self, sources: Sequence[Segment], number: int, new: Rewritten) -> None:
        opened = self._opened
        async with self._maintenance.changing:
            manifest = opened.manifest
            first, last = sources[0], sources[-1]
            if last not in manifest.segments or last.high >= manifest.replay_place:
                raise StoreFailed("the segments changed while they were rewritten; nothing is lost")
            at = manifest.segments.index(first)
            replacement: tuple[Segment, ...] = ()
            if new.end:
                replacement = (Segment(number, first.low, last.high, new.end, index_end=new.end),)
            segments = (
                *manifest.segments[:at],
                *replacement,
                *manifest.segments[at + len(sources) :],
            )
            await self._maintenance.store(attrs.evolve(manifest, segments=segments))
            opened.state.set_segments(segments)

    async def _forget(self, sources: Sequence[Segment], new: Rewritten) -> None:
        layout = self._opened.layout
        self.compactions += 1
        freed = sum(segment.end or 0 for segment in sources) - new.end
        self.dead_bytes = max(0, self.dead_bytes - freed)
        paths: list[Path] = []
        for segment in sources:
            paths.append(layout.segment(segment.number))
            paths.append(layout.index(segment.number, segment.index_end))
        await self._maintenance.unlink(paths)


def plan(
    sizes: Sequence[int], live: Sequence[int], *, ratio: float, segment_bytes: int
) -> list[tuple[int, int]]:
    """Which neighbouring segments to rewrite into one: ranges, oldest first.

    A group has at least one segment that is dead enough, or two that are small, and what is
    live in it fits into ``segment_bytes`` (a single segment may be larger). It has SOURCES_MAX
    segments at most.
    """
    groups: list[tuple[int, int]] = []
    start = 0
    while start < len(sizes):
        if not _worth(sizes[start], live[start], ratio, segment_bytes):
            start += 1
            continue
        end, total = start + 1, live[start]
        while (
            end < min(len(sizes), start + SOURCES_MAX)
            and _worth(sizes[end], live[end], ratio, segment_bytes)
            and total + live[end] <= segment_bytes
        ):
            total += live[end]
            end += 1
        dead = any(_is_dead(sizes[at], live[at], ratio) for at in range(start, end))
        if dead or end - start > 1:
            groups.append((start, end))
        start = end
    return groups


def _is_dead(size: int, live: int, ratio: float) -> bool:
    return size - live > ratio * size


def _worth(size: int, live: int, ratio: float, segment_bytes: int) -> bool:
    return _is_dead(size, live, ratio) or size < SMALL_SHARE * segment_bytes
