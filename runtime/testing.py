"""A test kit for programs that use Moorage: virtual time, and what a session's events must obey.

It needs no test framework. With pytest-trio a test reads::

    async def test_a_slow_run_times_out(autojump_clock):
        clock = VirtualClock(autojump_clock)
        async with open_supervisor(MemoryStore(), agent, time_ns=clock.time_ns) as supervisor:
            session = await supervisor.session("user-42")
            outcome = await session.execute("slow", timeout_seconds=3600)
            events = await session.events()

        assert outcome.state == "timed_out"
        assert_history(events)

Scripted agents are in ``moorage.adapters.agents``, stores that fail on demand in
``moorage.stores``. Virtual time and threads do not mix: use it with a MemoryStore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from .events import RUN_TERMINAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .events import Event

WALL_START_NS = 1_700_000_000 * 1_000_000_000
"""Where a VirtualClock's wall clock starts, in nanoseconds since 1970."""
POLL_SECONDS = 0.01


class VirtualClock:
    """Two clocks that agree: trio's, which drives every timer, and the wall clock.

    ``trio.run(main, clock=clock.trio_clock)`` and ``open_supervisor(..., time_ns=clock.time_ns)``.
    Without an argument trio's clock jumps to the next timer as soon as all tasks wait.
    """

    def __init__(
        self, trio_clock: trio.testing.MockClock | None = None, *, start_ns: int = WALL_START_NS
    ) -> None:
        if trio_clock is None:
            trio_clock = trio.testing.MockClock(autojump_threshold=0)
        self.trio_clock = trio_clock
        self._start_ns = start_ns

    def time_ns(self) -> int:
        """Wall-clock time in nanoseconds since 1970."""
        return self._start_ns + round(self.trio_clock.current_time() * 1e9)

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once, on both clocks."""
        self.trio_clock.jump(seconds)

    def set_wall_back(self, seconds: float) -> None:
        """Set the wall clock back (forward, if negative); timers are not touched by it."""
        self._start_ns -= round(seconds * 1e9)


async def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 60) -> None:
    """Return when ``condition()`` is true. Raises trio.TooSlowError, on trio's clock.

    For what has no event of its own; prefer ``run.wait`` and ``session.subscribe``.
    """
    with trio.fail_after(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - any condition, also one outside trio
            await trio.sleep(POLL_SECONDS)


def assert_contiguous(events: Iterable[Event], *, after: int = 0) -> None:
    """Assert that these are all events behind ``after`` in order: no gap and no repeat."""
    seqs = [event.seq for event in events]
    assert seqs == list(range(after + 1, after + 1 + len(seqs))), (
        f"seqs behind {after} have gaps or repeats: {seqs}"
    )


def assert_one_outcome_per_run(events: Iterable[Event], *, unfinished: Iterable[str] = ()) -> None:
    """Assert that each run that was submitted has one terminal event and nothing behind it.

    ``events`` is a session's whole history; runs in ``unfinished`` must have none yet.
    """
    outcomes: dict[str, list[str]] = {}
    for event in events:
        run_id = event.run_id
        if event.type == "run_submitted":
            assert run_id not in outcomes, f"{run_id} was submitted twice"
            outcomes[str(run_id)] = []
        elif run_id is not None:
            assert run_id in outcomes, f"{event.type} of {run_id}, which was never submitted"
            assert not outcomes[run_id], f"{event.type} of {run_id} behind {outcomes[run_id]}"
            if event.type in RUN_TERMINAL_TYPES:
                outcomes[run_id].append(event.type)
    open_runs = {run_id for run_id, ends in outcomes.items() if not ends}
    assert open_runs == set(unfinished), f"runs without an outcome: {sorted(open_runs)}"


def assert_fifo(events: Iterable[Event]) -> None:
    """Assert that no run started while one that was accepted earlier stood in the queue."""
    queued: dict[str, int] = {}
    accepted: dict[str, int] = {}
    for event in events:
        run_id = str(event.run_id)
        if event.type == "run_submitted":
            accepted[run_id] = queued[run_id] = event.seq
        elif event.type in ("run_requeued", "run_resumed"):
            queued[run_id] = accepted[run_id]
        elif event.type == "run_started":
            assert run_id in queued, f"{run_id} started at seq {event.seq} without being queued"
            first = min(queued, key=lambda run_id: queued[run_id])
            assert first == run_id, f"{run_id} started at seq {event.seq} in front of {first}"
            del queued[run_id]
        elif event.type in RUN_TERMINAL_TYPES:
            queued.pop(run_id, None)


def assert_slots(events: Iterable[Event], slots: int) -> None:
    """Assert that never more than ``slots`` runs were running at once."""
    running: set[str] = set()
    for event in events:
        run_id = str(event.run_id)
        if event.type == "run_started":
            running.add(run_id)
            assert len(running) <= slots, f"{len(running)} of {slots} slots at seq {event.seq}"
        elif event.type in RUN_TERMINAL_TYPES or event.type in ("run_requeued", "run_waiting"):
            running.discard(run_id)


def assert_history(events: Iterable[Event], *, unfinished: Iterable[str] = ()) -> None:
    """Assert all that a session's whole, untrimmed history must obey, slots excepted."""
    history = list(events)
    assert_contiguous(history)
    assert_one_outcome_per_run(history, unfinished=unfinished)
    assert_fifo(history)
