"""Stores with a history, made through the public interface like any other."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import together

if TYPE_CHECKING:
    from pathlib import Path

LONG = "long"
"""The id of the session with the long history."""
AT_ONCE = 200


async def emitting_agent(request: RunRequest, context: RunContext) -> object:
    """Emits as many deltas as the input says."""
    for index in range(request.input["events"]):
        await context.emit("message_streamed", {"delta": "some words of an answer ", "i": index})
    return None


async def _build(path: Path, events: int, sessions: int, events_each: int, kill: bool) -> None:
    limits = SupervisorLimits(idle_seconds=1.0, runs_running_max=AT_ONCE)
    async with open_supervisor(JournalStore(path), emitting_agent, limits=limits) as supervisor:

        async def grow_long() -> None:
            session = await supervisor.session(LONG)
            for _ in range(100):
                (await session.execute({"events": events // 100})).unwrap()

        async def grow(number: int) -> None:
            session = await supervisor.session(f"user-{number:06}")
            if events_each:
                # run_submitted, run_started and run_completed count as well
                (await session.execute({"events": events_each - 4})).unwrap()

        async with trio.open_nursery() as nursery:
            if events:
                nursery.start_soon(grow_long)
            await together(grow, range(sessions), at_once=AT_ONCE)
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)


def build_store(
    path: Path, *, events: int = 0, sessions: int = 0, events_each: int = 0, kill: bool = False
) -> None:
    """Fill a new store: ``events`` in one long session, ``events_each`` (0, or 4 and more) in each
    of ``sessions`` others, interleaved. With ``kill`` the process then ends by SIGKILL."""
    trio.run(_build, path, events, sessions, events_each, kill)
