"""On the real clock: what blocks a loop takes real time."""

from __future__ import annotations

import math
import threading
import time

import pytest
import trio
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.runtime.watchdog import Watchdog
from moorage.stores import MemoryStore


def block_the_loop(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


async def blocks_the_loop(request, context):
    block_the_loop(request.input)
    await trio.sleep(0.05)
    return "done"


async def test_an_agent_that_blocks_the_loop_is_reported_with_its_run():
    limits = SupervisorLimits(loop_blocked_seconds=0.04)
    async with open_supervisor(MemoryStore(), blocks_the_loop, limits=limits) as supervisor:
        session = await supervisor.session("s")
        quick = await session.execute(0)
        blocking = await session.execute(0.3)
        events = await session.events()
        statistics = supervisor.statistics()

    (told,) = [event for event in events if event.type == "error_occurred"]
    assert (quick.state, blocking.state) == ("completed", "completed")
    assert told.run_id == blocking.run_id
    assert told.data["code"] == "loop_blocked"
    assert 0.04 <= told.data["blocked_seconds"] < 5
    assert statistics.loop_blocked == 1


async def test_a_loop_that_somebody_else_blocks_is_counted_for_no_run():
    reports = []
    watchdog = Watchdog(0.02, lambda execution, seconds: reports.append((execution, seconds)))
    watchdog.start()
    while not reports:
        block_the_loop(0.1)
        await trio.sleep(0.01)
    watchdog.stop()

    assert reports[0][0] is None
    assert reports[0][1] >= 0.02


async def test_a_watchdog_that_is_stopped_is_gone_at_once():
    threads = set(threading.enumerate())

    for _ in range(20):
        watchdog = Watchdog(0.01, lambda execution, seconds: pytest.fail("nothing was blocked"))
        watchdog.start()
        await trio.sleep(0.005)
        watchdog.stop()

    assert set(threading.enumerate()) == threads


async def test_stopping_just_when_the_watchdog_looks_does_not_hang():
    """stop() blocks the loop, so the thread must not wait for a sign of life from it."""
    watchdog = Watchdog(0.02, lambda execution, seconds: None)

    class Alive(threading.Event):
        """Has stop() come between the thread's two looks."""

        def clear(self):
            watchdog._stopping.set()
            self.set()
            super().clear()

    watchdog._alive = Alive()
    watchdog.start()
    await trio.sleep(0.05)
    thread = watchdog._thread
    assert thread is not None
    thread.join(timeout=5)

    assert not thread.is_alive()
    watchdog.stop()


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2 * threading.TIMEOUT_MAX])
async def test_a_time_without_end_turns_the_watchdog_off(seconds):
    threads = set(threading.enumerate())
    limits = SupervisorLimits(loop_blocked_seconds=seconds)
    async with open_supervisor(MemoryStore(), blocks_the_loop, limits=limits) as supervisor:
        outcome = await supervisor.run_once(0.05)
        started = set(threading.enumerate()) - threads
        statistics = supervisor.statistics()

    assert outcome.state == "completed"
    assert started == set()
    assert statistics.loop_blocked == 0


async def test_a_virtual_clock_has_no_watchdog(autojump_clock, sleeper):
    threads = threading.active_count()
    async with open_supervisor(MemoryStore(), sleeper):
        assert threading.active_count() == threads
