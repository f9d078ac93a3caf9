"""Runs, read from the log: their requests and their ends, without what they took and gave.

A session's counts of runs by state say whether it is read at all. An end is found in the same
stretch as its request as a rule, and else through the store's index of runs; what an unfinished run
does is in the session's image.
"""

from __future__ import annotations

import heapq
from contextlib import aclosing
from typing import TYPE_CHECKING

import attrs

from .errors import InvalidArgument
from .events import RUN_TERMINAL_TYPES
from .query_pages import RunEnding, RunRequested, RunSummary, larger_usage, summary_of
from .recall import check_readable, recall_session
from .runs import RunState, added_usage
from .scanning import (
    END,
    LISTED_WORK,
    READ_WORK,
    Work,
    finished,
    read_stretch,
    sessions_from,
)
from .session_search import SessionSequence, each_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .events import Event
    from .image import SessionImage
    from .ports import StoreReader
    from .query_filters import RunFilter, SessionFilter
    from .runs import Usage
    from .sessions import SessionInfo

REQUESTS_AND_ENDS = RUN_TERMINAL_TYPES | {"run_submitted"}
NEWEST_WORK_MAX = 100_000
"""Of a page of the newest runs over all sessions, which cannot come back short everywhere."""
NewestKey = tuple[int, str, int]
"""When a run was submitted, its session, and the seq of its request."""


def may_have(info: SessionInfo, filter: RunFilter) -> bool:
    """Whether a session can have runs that match, by its listing facts alone."""
    counts = info.runs
    if filter.states is None:
        wanted = any(counts.values())
    else:
        wanted = any(counts.get(state.value) for state in filter.states)
    if not wanted:
        return False
    for before in (filter.submitted_before_ns, filter.ended_before_ns):
        if before is not None and info.created_at_ns >= before:
            return False
    if info.active:  # its last event may be an agent's, which stamps its own as it likes
        return True
    afters = (filter.submitted_after_ns, filter.ended_after_ns)
    return all(after is None or info.modified_at_ns >= after for after in afters)


class RunReading:
    """One session's runs, in the direction of reading."""

    def __init__(
        self,
        store: StoreReader,
        info: SessionInfo,
        filter: RunFilter,
        *,
        descending: bool,
        work: Work,
    ) -> None:
        self._store = store
        self._info = info
        self._filter = filter
        self._descending = descending
        self._work = work
        self._ends: dict[str, RunEnding] = {}
        self._image: SessionImage | None = None

    async def runs(self, position: int) -> AsyncGenerator[tuple[int, RunSummary | None]]:
        """Each run behind ``position`` that matches, with the position of its request; and, with
        None, the position of each point up to which there is no more. Raises StoreFailed if the
        session is encrypted and the store has no keys."""
        check_readable(self._info)
        while True:
            stretch = await read_stretch(
                self._store,
                self._info.id,
                position=position,
                descending=self._descending,
                work=self._work,
                types=REQUESTS_AND_ENDS,
            )
            if stretch is None:
                return
            requested = self._requested(stretch.events)
            position, whole = stretch.position, stretch.whole
            del stretch  # inputs and outputs may be large
            for run in requested:
                now = self._ends.pop(run.run_id, None) or await self._look_up(run.run_id)
                if now is not None and self._filter.matches_end(now.state, now.ended_at_ns):
                    yield run.seq, await self._summary(run, now)
            if not self._descending:
                self._ends.clear()  # of requests in front of where the reading began
            if whole:
                return
            yield position, None

    def _requested(self, events: list[Event]) -> list[RunRequested]:
        """The requests among them that match; ends are kept for these and those to come."""
        requested: list[RunRequested] = []
        for event in events:
            run_id = event.run_id or ""
            if event.type != "run_submitted":
                self._ends[run_id] = RunEnding.of(event)
            elif self._filter.matches_request(event):
                requested.append(RunRequested.of(event))
            elif self._descending:
                self._ends.pop(run_id, None)
        return requested

    async def _look_up(self, run_id: str) -> RunEnding | None:
        """Where a run is now; None if it was trimmed away meanwhile."""
        if self._image is None and _unfinished(self._info):
            self._image = (await recall_session(self._store, self._info.id)).image
        record = None if self._image is None else self._image.runs.get(run_id)
        if record is not None:
            return RunEnding.so_far(record)
        self._work.add(READ_WORK)
        stored = await self._store.find_run(self._info.id, run_id)
        if stored is None:
            return None
        if stored.ended is not None:
            return RunEnding.of(stored.ended)
        # submitted since the image, or the info, was read
        self._image = (await recall_session(self._store, self._info.id)).image
        record = self._image.runs.get(run_id)
        return None if record is None else RunEnding.so_far(record)

    async def _summary(self, run: RunRequested, now: RunEnding) -> RunSummary:
        summary = summary_of(run, now)
        if not summary.ended or now.started_at_ns is None:
            return summary
        if now.may_lack_usage:
            usage = larger_usage(now.usage, await self._told_usage(run))
            summary = attrs.evolve(summary, usage=usage)
        if summary.usage and summary.model is None and summary.state is not RunState.COMPLETED:
            summary = attrs.evolve(summary, model=await self._told_model(run))
        return summary

    async def _told_usage(self, run: RunRequested) -> Usage | None:
        """What a run's own events add up to."""
        usage: Usage | None = None
        position = run.seq - 1
        while True:
            stretch = await read_stretch(
                self._store,
                run.session_id,
                position=position,
                descending=False,
                work=self._work,
                types=frozenset({"token_usage_updated"}),
                run_id=run.run_id,
            )
            if stretch is None:
                return usage
            for event in stretch.events:
                if type(event.data) is dict:
                    usage = added_usage(usage, event.data)
            if stretch.whole:
                return usage
            position = stretch.position

    async def _told_model(self, run: RunRequested) -> str | None:
        """The model of a run's last message, if it is near the run's end."""
        stretch = await read_stretch(
            self._store,
            run.session_id,
            position=END,
            descending=True,
            work=self._work,
            types=frozenset({"message_received"}),
            run_id=run.run_id,
            limit=1,
        )
        data = stretch.events[0].data if stretch is not None and stretch.events else None
        model = data.get("model") if type(data) is dict else None
        return model if type(model) is str else None


def _unfinished(info: SessionInfo) -> bool:
    return info.active > 0 or info.runs.get(RunState.WAITING.value, 0) > 0


async def runs_by_session(
    store: StoreReader,
    sessions: SessionFilter,
    filter: RunFilter,
    *,
    session_id: str | None,
    descending: bool,
    position: tuple[str, int] | None,
    limit: int,
) -> tuple[list[RunSummary], tuple[str, int] | None]:
    """Runs in the order of sessions' ids and, in each, of acceptance; and the position behind
    them, or None if that was the end."""
    items: list[RunSummary] = []
    work = Work()
    last = position
    source = sessions_from(
        store, sessions, session_id=session_id, descending=descending, position=position
    )
    async with aclosing(source):
        async for info, start in source:
            work.add(LISTED_WORK)
            if may_have(info, filter):
                reading = RunReading(store, info, filter, descending=descending, work=work)
                async with aclosing(reading.runs(start)) as runs:
                    async for seq, run in runs:
                        if run is not None:
                            if len(items) == limit:
                                return items, last
                            items.append(run)
                        last = (info.id, seq)
                        if work.spent:
                            return items, last
            last = (info.id, finished(descending=descending))
            if work.spent:
                return items, last
    return items, None


async def newest_runs(
    store: StoreReader,
    sessions: SessionFilter,
    filter: RunFilter,
    *,
    after: NewestKey | None,
    limit: int,
) -> tuple[list[RunSummary], NewestKey | None]:
    """The runs of all sessions that were submitted last, before those up to ``after``; and the
    position behind them, or None if that was the end.

    Sessions are read from the one that changed last: what a session has was submitted before its
    last change, so that one that changed before all that was found has nothing newer. Raises
    InvalidArgument where that takes more work than a page may.
    """
    work = Work(NEWEST_WORK_MAX)
    best: list[tuple[NewestKey, RunSummary]] = []  # a heap, the oldest on top
    source = each_session(store, sessions, SessionSequence("modified", descending=True))
    async with aclosing(source):
        async for info in source:
            if len(best) > limit and info.modified_at_ns < best[0][0][0]:
                break
            work.add(LISTED_WORK)
            is_older = after is None or info.created_at_ns <= after[0]
            if is_older and may_have(info, filter):
                reading = RunReading(store, info, filter, descending=True, work=work)
                await _take_newest(reading, best, after, limit, work)
            if work.spent:
                return _certain(best, info.modified_at_ns, after, limit)
    return _newest(best, limit)


async def _take_newest(
    reading: RunReading,
    best: list[tuple[NewestKey, RunSummary]],
    after: NewestKey | None,
    limit: int,
    work: Work,
) -> None:
    """Put a session's newest runs among the best; it is left when what comes is older than these
    or when the work is spent."""
    async with aclosing(reading.runs(END)) as runs:
        async for _, run in runs:
            if run is None:
                if work.spent:
                    return
                continue
            key = (run.submitted_at_ns, run.session_id, run.seq)
            if after is not None and key >= after:
                continue
            if len(best) <= limit:
                heapq.heappush(best, (key, run))
            elif key > best[0][0]:
                heapq.heapreplace(best, (key, run))
            else:
                return


def _newest(
    best: list[tuple[NewestKey, RunSummary]], limit: int
) -> tuple[list[RunSummary], NewestKey | None]:
    found = sorted(best, key=lambda entry: entry[0], reverse=True)
    return [run for _, run in found[:limit]], found[limit - 1][0] if len(found) > limit else None


def _certain(
    best: list[tuple[NewestKey, RunSummary]],
    modified_at_ns: int,
    after: NewestKey | None,
    limit: int,
) -> tuple[list[RunSummary], NewestKey | None]:
    """What is known although only sessions that changed after a time were read."""
    frontier = (modified_at_ns + 1, "", 0)
    items, position = _newest([entry for entry in best if entry[0] >= frontier], limit)
    if position is not None:
        return items, position
    if after is not None and frontier >= after:
        raise InvalidArgument(
            "the runs before this page are spread over more sessions than one page may read "
            f"({NEWEST_WORK_MAX} events and equivalents): narrow them down by prefix, tags, states "
            "or submitted_after_ns and submitted_before_ns, or search with order='session'"
        )
    return items, frontier
