"""Runs of sessions that this process owns, as the log had them a moment ago.

Waiting for a run is the most frequent read there is. A worker tells here, after each durable
append, which runs were accepted and which ended; a wait finds the terminal event, or parks until
it is told, without asking the store. What is not here (older, trimmed, owned elsewhere) is read
from the log. Outcomes are kept encoded, which is a tenth of what they take decoded and gives each
who waits a copy of his own, and bounded by their bytes; the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .codec import decode_event
from .events import RUN_TERMINAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .events import Event
    from .turns import Batch

Tasks = dict[trio.lowlevel.Task, None]


@attrs.frozen
class RecentRunsStatistics:
    unfinished: int
    outcomes: int
    bytes: int
    bytes_max: int


class RecentRuns:
    """Unfinished runs by session, and outcomes up to ``bytes_max`` encoded bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._unfinished: dict[str, dict[str, Tasks | None]] = {}
        self._ended: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()
        """Seq and encoded terminal event by session and run."""

    def own(self, session_id: str, unfinished: Iterable[str]) -> None:
        """A worker owns the session from now on; these runs are unfinished."""
        self._unfinished[session_id] = dict.fromkeys(unfinished)

    def disown(self, session_id: str) -> None:
        """The worker is gone; whoever waits looks into the log."""
        for tasks in self._unfinished.pop(session_id, {}).values():
            _wake(tasks or ())

    def forget(self, session_id: str) -> None:
        """The session was trimmed or deleted: let the log say what is left."""
        for key in [key for key in self._ended if key[0] == session_id]:
            self._bytes -= len(self._ended.pop(key)[1])

    def note(self, session_id: str, batch: Batch) -> None:
        """Tell what a durable batch made of runs."""
        for event in batch.events:
            if event.type == "run_submitted":
                self.accepted(session_id, event.run_id or "")
            elif event.type in RUN_TERMINAL_TYPES:
                body = batch.records[event.seq - batch.first_seq].body
                self.ended(session_id, event.run_id or "", event.seq, body)

    def accepted(self, session_id: str, run_id: str) -> None:
        """run_submitted is durable."""
        self._unfinished[session_id][run_id] = None

    def ended(self, session_id: str, run_id: str, seq: int, body: bytes) -> None:
        """A run's terminal event, encoded as ``body``, is durable."""
        tasks = self._unfinished[session_id].pop(run_id, None)
        if len(body) <= self._bytes_max:
            self._ended[session_id, run_id] = seq, body
            self._bytes += len(body)
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._ended.popitem(last=False)[1][1])
        if tasks is not None:
            _wake(tasks)

    def outcome(self, session_id: str, run_id: str) -> Event | None:
        """The run's terminal event, if it is here."""
        found = self._ended.get((session_id, run_id))
        return None if found is None else decode_event(session_id, *found)

    async def wait(self, session_id: str, run_id: str) -> bool:
        """Return True when the run has ended or its worker is gone; False, at once, if nothing
        is known about it here."""
        runs = self._unfinished.get(session_id)
        if runs is None or run_id not in runs:
            return False
        tasks = runs[run_id]
        if tasks is None:
            tasks = runs[run_id] = {}
        task = trio.lowlevel.current_task()
        tasks[task] = None
        await trio.lowlevel.wait_task_rescheduled(_Leave(tasks, task))
        return True

    def statistics(self) -> RecentRunsStatistics:
        unfinished = sum(len(runs) for runs in self._unfinished.values())
        return RecentRunsStatistics(unfinished, len(self._ended), self._bytes, self._bytes_max)


class _Leave:
    """Takes a cancelled task out of those that wait: one object where a closure is six, which the
    garbage collector would visit for every run that somebody waits for."""

    __slots__ = ("task", "tasks")

    def __init__(self, tasks: Tasks, task: trio.lowlevel.Task) -> None:
        self.tasks = tasks
        self.task = task

    def __call__(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        del self.tasks[self.task]
        return trio.lowlevel.Abort.SUCCEEDED


def _wake(tasks: Iterable[trio.lowlevel.Task]) -> None:
    for task in tasks:
        trio.lowlevel.reschedule(task)
