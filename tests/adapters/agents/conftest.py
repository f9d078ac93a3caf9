from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.adapters.agents.conformance import child_processes
from moorage.adapters.agents.watcher import WATCHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def wait_gone() -> Callable[..., object]:
    """Wait until none of the processes runs; TooSlowError after ``seconds``."""

    async def wait(*pids: int, seconds: float = 1.0) -> None:
        with trio.fail_after(seconds):
            while any(running(pid) for pid in pids):
                await trio.sleep(0.005)

    return wait


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

class Telling(RecordingContext):
    async def emit(self, type, data, **more):
        await super().emit(type, data, **more)
        print(data["delta"], end="", flush=True)

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
        with trio.fail_after(20):
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
