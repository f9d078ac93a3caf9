from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from moorage.adapters.agents.conformance import child_processes
from moorage.adapters.agents.watcher import WATCHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

SECONDS_MAX = 60.0
"""Nothing here takes a second; a machine that is busy may take its time."""
STEP_SECONDS = 0.05
ROUNDS = 10
SETTLED_SECONDS, SETTLED_STEPS = 0.1, 3


def running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def wait_gone() -> Callable[..., object]:
    """Wait until none of the processes runs; TooSlowError after SECONDS_MAX."""

    async def wait(*pids: int) -> None:
        with trio.fail_after(SECONDS_MAX):
            while any(running(pid) for pid in pids):
                await trio.sleep(0.005)

    return wait


class Pace(trio.abc.Clock):
    """A test's clock, which it can hold: what our code waits for of its own accord takes time by
    it, what a busy machine needs for its work does not. Until then it is an ordinary one."""

    def __init__(self) -> None:
        self._clock = trio.testing.MockClock(rate=1.0)

    def start_clock(self) -> None:
        self._clock.start_clock()

    def current_time(self) -> float:
        return self._clock.current_time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return self._clock.deadline_to_sleep_time(deadline)

    def skip(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._clock.jump(seconds)

    async def programs_had_time(self) -> None:
        """Wait until the programs we talk to have read what they were told. They do not say when
        they have, but it is long ago where nobody has had anything to say for a while."""
        for _ in range(SETTLED_STEPS):  # short ones, as a supervisor's watchdog wakes everybody
            await trio.testing.wait_all_tasks_blocked(SETTLED_SECONDS)

    async def ends_within(
        self, seconds: float, ended: Callable[[], bool], *, slowness: float = 0.5
    ) -> None:
        """Return once ``ended``, for which less than ``seconds`` by trio's clock may pass.

        Each second is given ``slowness`` real ones: a program that is to do something in its time
        needs more than one that does nothing in it. AssertionError where it does not end.
        """
        left = round(seconds / STEP_SECONDS) - 1
        self._clock.rate = 0.0
        try:
            for _ in range(left + round(SECONDS_MAX / STEP_SECONDS / slowness)):
                # by the world's clock, in which programs do their work; then ours do theirs
                await trio.to_thread.run_sync(threading.Event().wait, STEP_SECONDS * slowness)
                for _ in range(ROUNDS):
                    await trio.lowlevel.checkpoint()
                if ended():
                    return
                if left > 0:
                    self._clock.jump(STEP_SECONDS)
                    left -= 1
        finally:
            self._clock.rate = 1.0
        raise AssertionError(f"it has not ended within {seconds:g} seconds")


@pytest.fixture
def pace() -> Pace:
    """Ask for it in the test itself: pytest-trio takes its clock from there alone."""
    return Pace()


@pytest.fixture
async def leaves_nothing() -> AsyncIterator[None]:
    """The test must leave no descriptor, no child, no zombie and no watcher."""
    descriptors, children = set(os.listdir("/proc/self/fd")), child_processes()

    yield

    assert descriptors == set(os.listdir("/proc/self/fd"))
    assert children == child_processes()
    assert WATCHER.pid is None


PREAMBLE = """
import os, signal, subprocess, sys, threading, time, trio
from moorage.adapters.agents import ProcessAgent
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.watcher import WATCHER

told = []

class Telling(RecordingContext):
    async def emit(self, type, data, **more):
        await super().emit(type, data, **more)
        told.append(data["delta"])
        os.write(1, data["delta"].encode())  # in one piece, whoever else writes

async def wait_told(count):
    while len(told) < count: await trio.sleep(0.01)

async def run(agent, name="run"):
    context = Telling(run_id=name)
    await execute(agent, context.request(), context)

STUBBORN = '''
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
'''
stubborn = ProcessAgent([sys.executable, "-c", STUBBORN])
"""


class Parent:
    """A process of its own that uses agents, and that tells pids on its standard output."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + code], stdout=subprocess.PIPE
        )

    async def line(self) -> str:
        assert self.process.stdout is not None
        with trio.fail_after(SECONDS_MAX):
            line = await trio.to_thread.run_sync(
                self.process.stdout.readline, abandon_on_cancel=True
            )
        assert line, "the parent ended"
        return str(line.decode().strip())

    async def pids(self) -> list[int]:
        return [int(word) for word in (await self.line()).split()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def parent() -> Iterator[Callable[[str], Parent]]:
    parents: list[Parent] = []

    def start(code: str) -> Parent:
        parents.append(Parent(code))
        return parents[-1]

    yield start

    for one in parents:
        one.kill()
        assert one.process.stdout is not None
        one.process.stdout.close()
