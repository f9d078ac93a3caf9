"""Waiting for news of a session: parked tasks, woken after each commit.

Waking a task costs 10 to 15 us of the loop, so who wakes whom when is a matter of arithmetic:

- Up to ``WAKE_AT_ONCE_MAX`` tasks that wait for one session are woken by the commit itself: half a
  millisecond at most, and nobody waits longer than needed. That is nearly every session.
- 1,000 subscribers of one session cost 10 to 15 ms per wake of them all. With a commit every
  millisecond that would be the whole loop, many times over. But a subscriber that is woken reads
  everything new in one batch, so it loses nothing by being woken later, only latency. A larger
  crowd is therefore only marked by the commit (one assignment), and a pump task wakes it in
  slices. Who was woken parks again at the end of the line, so the line goes round: each waits for
  at most one rotation, whatever the commit rate.
- The pump gives itself a budget: one wake per ``interval`` of clock time, over all crowds. A wake
  that costs ``cost`` gets an interval of ``2 * cost``, half of the loop; where a rotation would
  then take longer than ``ROTATION_SECONDS`` it may take two thirds (``1.5 * cost``). With 1,000
  waiters at 12 us that is a rotation of 24 ms, and up to 24 us of work per wake (the reading
  included) a rotation stays at 36 ms. Beyond that the share counts more than the latency.
- ``cost`` is measured: woken tasks note when they run, those of a slice run next to each other, so
  the time from the first to the last of a slice is what their wakes cost, whatever else the loop
  does meanwhile. Under a mock clock that is 0 and the interval ``INTERVAL_SECONDS_MIN``; only
  trio's clock is read, so virtual time gives the same order every time.
- A loop that is late finds a larger budget on its next turn (latency is kept), up to
  ``SLICE_MAX`` wakes, 1.5 ms (everybody else gets a turn between two slices).

Tasks that wait for one run's end, and all tasks on a delete or failure, are woken at once: that
happens once to each.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

WAKE_AT_ONCE_MAX = 32
"""Tasks waiting for one session that a commit wakes itself; the pump wakes larger crowds."""
SLICE_MAX = 128
"""Tasks that the pump wakes in one go."""
PACE_SECONDS = 0.001
"""Between two slices; what epoll can resolve."""
ROTATION_SECONDS = 0.036
"""How long it should at most take until everybody in a crowd was woken."""
INTERVAL_SECONDS_MIN = 20e-6
_COST_FIRST_GUESS = 12e-6
_COST_SECONDS_MAX = 200e-6
_COST_SMOOTHING = 0.125
_SAMPLE_WAKES_MIN = 4


@attrs.frozen
class NewsStatistics:
    """``waiting`` tasks over all ``sessions`` that have any, ``crowds`` still being woken."""

    waiting: int
    sessions: int
    crowds: int


class _Line:
    """The tasks that wait for one session, longest first, with the seq each has seen.

    ``unchecked`` counts those at the front that have not been looked at since ``head_seq`` was
    published; those behind them parked later and had seen it.
    """

    __slots__ = ("crowd", "head_seq", "marked", "session_id", "tasks", "unchecked")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.tasks: OrderedDict[trio.lowlevel.Task, int] = OrderedDict()
        self.head_seq = 0
        self.unchecked = 0
        self.marked = False
        self.crowd = False


class _Leave:
    """Takes a cancelled task out of its line.

    A closure would be ten objects for the garbage collector (a cell for each name), freed in one
    go for a whole slice and made again one by one: enough to start a collection with every slice.
    """

    __slots__ = ("line", "lines", "task")

    def __init__(self, lines: dict[str, _Line], line: _Line, task: trio.lowlevel.Task) -> None:
        self.lines = lines
        self.line = line
        self.task = task

    def __call__(self, _: Any) -> trio.lowlevel.Abort:
        line = self.line
        del line.tasks[self.task]
        if not line.tasks:
            del self.lines[line.session_id]
        return trio.lowlevel.Abort.SUCCEEDED


class NewsBoard:
    """Tasks that wait for news, by session. Holds nothing for sessions nobody waits for.

    A store calls ``publish`` after each durable commit and runs ``run`` in its nursery; while
    that does not run, every wake is immediate. All calls come from the trio thread.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._run_lines: dict[str, dict[str, dict[trio.lowlevel.Task, None]]] = {}
        self._marked: deque[_Line] = deque()
        self._running = False
        self._idle_pump: trio.lowlevel.Task | None = None
        self._budget_at = 0.0
        self._budget = 0.0
        self._cost_seconds = _COST_FIRST_GUESS
        self._slice_size = 0
        self._slice_seen = 0
        self._slice_first_at = 0.0
        self._slice_last_at = 0.0

    @property
    def anybody(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._lines or self._run_lines)

    def session_ids(self) -> set[str]:
        """Of the sessions that anybody waits for."""
        return self._lines.keys() | self._run_lines.keys()

    def run_ids(self, session_id: str) -> list[str]:
        """Of the session's runs whose end anybody waits for."""
        return list(self._run_lines.get(session_id, ()))

    def statistics(self) -> NewsStatistics:
        waiting = sum(len(line.tasks) for line in self._lines.values())
        waiting += sum(len(tasks) for runs in self._run_lines.values() for tasks in runs.values())
        return NewsStatistics(
            waiting=waiting,
            sessions=len(self.session_ids()),
            crowds=len(self._marked),
        )

    async def wait(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        """Return soon after a head above ``after`` is published (with ``run_id``: once that run
        is published as ended), or the session or everybody is woken.

        The caller looks for news before it calls, without a checkpoint in between.
        """
        if run_id is not None:
            await self._wait_run(session_id, run_id)
            return
        line = self._lines.get(session_id)
        if line is None:
            line = self._lines[session_id] = _Line(session_id)
        task = trio.lowlevel.current_task()
        line.tasks[task] = after
        await trio.lowlevel.wait_task_rescheduled(_Leave(self._lines, line, task))
        if line.crowd:
            self._note_resumed()

    async def _wait_run(self, session_id: str, run_id: str) -> None:
        task = trio.lowlevel.current_task()
        runs = self._run_lines.setdefault(session_id, {})
        waiting = runs.setdefault(run_id, {})
        waiting[task] = None

        def leave(_: Any) -> trio.lowlevel.Abort:
            del waiting[task]
            if not waiting:
                del runs[run_id]
                if not runs:
                    del self._run_lines[session_id]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def publish(self, session_id: str, head_seq: int, ended_runs: Iterable[str] = ()) -> None:
        """Wake those who wait for a head above theirs, and those who wait for an ended run."""
        line = self._lines.get(session_id)
        if line is not None:
            line.head_seq = head_seq
            line.unchecked = len(line.tasks)
            if line.unchecked <= WAKE_AT_ONCE_MAX or not self._running:
                self._wake_line(line, line.unchecked)
            else:
                self._mark(line)
        if ended_runs and self._run_lines:
            self._wake_runs(session_id, ended_runs)

    def wake_session(self, session_id: str) -> None:
        """Wake everybody who waits for the session (it was deleted)."""
        line = self._lines.pop(session_id, None)
        if line is not None:
            _wake(line.tasks)
            line.tasks.clear()
        for tasks in self._run_lines.pop(session_id, {}).values():
            _wake(tasks)

    def wake_all(self) -> None:
        """Wake everybody (the store failed or closes)."""
        for session_id in [*self._lines, *self._run_lines]:
            self.wake_session(session_id)

    async def run(self) -> None:
        """Wake crowds in slices until cancelled; then everybody still due is woken at once."""
        if self._running:
            raise RuntimeError("this NewsBoard's pump runs already")
        self._running = True
        self._budget_at = trio.current_time()
        self._budget = SLICE_MAX
        try:
            while True:
                if not self._marked:
                    await self._wait_marked()
                self._wake_slice()
                await trio.sleep(PACE_SECONDS)
        finally:
            self._running = False
            while self._marked:
                line = self._marked.popleft()
                line.marked = False
                self._wake_line(line, len(line.tasks))

    def _mark(self, line: _Line) -> None:
        if not line.marked:
            line.marked = line.crowd = True
            self._marked.append(line)
            if self._idle_pump is not None:
                trio.lowlevel.reschedule(self._idle_pump)
                self._idle_pump = None

    async def _wait_marked(self) -> None:
        self._idle_pump = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._idle_pump = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_slice(self) -> None:
        self._learn_cost()
        now = trio.current_time()
        self._budget += (now - self._budget_at) / self._interval_seconds()
        self._budget = min(self._budget, SLICE_MAX)
        self._budget_at = now
        self._slice_size = 0
        # one turn for each crowd at most: what a full turn leaves over is for the next slice
        for _ in range(len(self._marked)):
            if self._budget < 1:
                break
            line = self._marked.popleft()
            woken = self._wake_line(line, int(self._budget))
            self._budget -= woken
            self._slice_size += woken
            if line.unchecked and line.tasks:
                self._marked.append(line)
            else:
                line.marked = False
        self._slice_seen = 0

    def _interval_seconds(self) -> float:
        due = sum(line.unchecked for line in self._marked)
        cost = self._cost_seconds
        wanted = min(2 * cost, max(1.5 * cost, ROTATION_SECONDS / max(due, 1)))
        return max(INTERVAL_SECONDS_MIN, wanted)

    def _wake_line(self, line: _Line, limit: int) -> int:
        """Wake up to ``limit`` of those who are due; returns how many."""
        woken = 0
        tasks = line.tasks
        line.unchecked = min(line.unchecked, len(tasks))
        while line.unchecked and woken < limit:
            line.unchecked -= 1
            task, after = tasks.popitem(last=False)
            if after < line.head_seq:
                trio.lowlevel.reschedule(task)
                woken += 1
            else:
                tasks[task] = after
        if not tasks and self._lines.get(line.session_id) is line:
            del self._lines[line.session_id]
        return woken

    def _note_resumed(self) -> None:
        if self._slice_seen < self._slice_size:
            self._slice_last_at = trio.current_time()
            if not self._slice_seen:
                self._slice_first_at = self._slice_last_at
            self._slice_seen += 1

    def _learn_cost(self) -> None:
        if self._slice_seen >= _SAMPLE_WAKES_MIN:
            spent = self._slice_last_at - self._slice_first_at
            sample = min(spent / (self._slice_seen - 1), _COST_SECONDS_MAX)
            self._cost_seconds += (sample - self._cost_seconds) * _COST_SMOOTHING

    def _wake_runs(self, session_id: str, ended_runs: Iterable[str]) -> None:
        runs = self._run_lines.get(session_id)
        if runs is None:
            return
        for run_id in ended_runs:
            tasks = runs.pop(run_id, None)
            if tasks is not None:
                _wake(tasks)
        if not runs:
            del self._run_lines[session_id]


def _wake(tasks: Iterable[trio.lowlevel.Task]) -> None:
    for task in tasks:
        trio.lowlevel.reschedule(task)
