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
from structlog.testing import capture_logs


def block_the_loop(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


async def blocks_the_loop(request, context):
    block_the_loop(request.input)
    await trio.sleep(0.05)
    return "done"


def watchdogs():
    return [thread for thread in threading.enumerate() if thread.name == "moorage watchdog"]


class PatientEvent(threading.Event):
    """Whose time runs out only while ``impatient``: a machine that is busy blocks loops, too."""

    impatient = threading.Event()

    def wait(self, timeout=None):
        if timeout is None:
            return super().wait()
        while not self.impatient.is_set():
            if super().wait(0.001):
                return True
        return super().wait(timeout)


async def test_an_agent_that_blocks_the_loop_is_reported_with_its_run(monkeypatch):
    start, find, found = Watchdog.start, Watchdog._find_and_log, threading.Event()

    def start_patiently(self):
        self._alive = PatientEvent()
        start(self)

    def find_and_tell(self, frame):
        execution = find(self, frame)
        found.set()
        return execution

    async def blocks_the_loop(request, context):
        if request.input == "block":
            PatientEvent.impatient.set()
            assert found.wait(60)
            PatientEvent.impatient.clear()
        await trio.sleep(0.05)
        return "done"

    monkeypatch.setattr(Watchdog, "start", start_patiently)
    monkeypatch.setattr(Watchdog, "_find_and_log", find_and_tell)
    limits = SupervisorLimits(loop_blocked_seconds=0.04)
    async with open_supervisor(MemoryStore(), blocks_the_loop, limits=limits) as supervisor:
        session = await supervisor.session("s")
        quick = await session.execute("go on")
        blocking = await session.execute("block")
        events = await session.events()
        statistics = supervisor.statistics()

    (told,) = [event for event in events if event.type == "error_occurred"]
    assert (quick.state, blocking.state) == ("completed", "completed")
    assert told.run_id == blocking.run_id
    assert told.data["code"] == "loop_blocked"
    assert 0.04 <= told.data["blocked_seconds"] < 120
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


async def test_a_process_that_stood_still_is_no_loop_that_is_blocked():
    class Once(threading.Event):
        """Not yet set at the first look, whatever it is to wait for, and set at the second."""

        def __init__(self):
            super().__init__()
            self.looks = 0

        def wait(self, timeout=None):
            self.looks += 1
            return self.looks > 1

    class StoodStill(Once):
        """Of the loop, which is alive when it goes on."""

        def wait(self, timeout=None):
            return super().wait() and threading.Event.wait(self, timeout)

    watchdog = Watchdog(60, lambda execution, seconds: pytest.fail("nothing was blocked"))
    watchdog._alive, watchdog._stopping = StoodStill(), Once()
    token = trio.lowlevel.current_trio_token()
    with capture_logs() as logs:
        await trio.to_thread.run_sync(watchdog._watch, token, threading.get_ident())
        await trio.lowlevel.checkpoint()

    assert logs == []
    assert watchdog._alive.looks == 2


async def test_a_watchdog_that_is_stopped_is_gone_at_once():
    for _ in range(20):
        watchdog = Watchdog(0.01, lambda execution, seconds: None)
        watchdog.start()
        assert watchdogs() == [watchdog._thread]
        await trio.sleep(0.005)
        watchdog.stop()
        assert watchdogs() == []


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
    thread.join(timeout=60)

    assert not thread.is_alive()
    watchdog.stop()


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2 * threading.TIMEOUT_MAX])
async def test_a_time_without_end_turns_the_watchdog_off(seconds):
    limits = SupervisorLimits(loop_blocked_seconds=seconds)
    async with open_supervisor(MemoryStore(), blocks_the_loop, limits=limits) as supervisor:
        outcome = await supervisor.run_once(0.05)
        started = watchdogs()
        statistics = supervisor.statistics()

    assert outcome.state == "completed"
    assert started == []
    assert statistics.loop_blocked == 0


async def test_a_virtual_clock_has_no_watchdog(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper):
        assert watchdogs() == []
