"""The service that the kill loop kills: a supervisor on a journal, driven by a seeded client.

    python kill_service.py DIRECTORY SEED [finish]

Everything that was acknowledged is written to standard output as a JSON line, in one write each,
after the acknowledgement and never before. Lines that were written survive this process.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import trio
from moorage.runtime import (
    AdmissionClosed,
    Event,
    QueueFull,
    RunContext,
    RunRequest,
    Session,
    Supervisor,
    SupervisorLimits,
    UnknownRun,
    open_supervisor,
)
from moorage.stores import JournalStore

sys.path.insert(0, str(Path(__file__).parent))
from kill_checks import SCRATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSIONS = [("one", 2), ("two", 3), ("three", 2), ("four", 1), ("five", 4)]
QUIET_SESSIONS = [("six", 1), ("seven", 1)]
"""Sessions without runs, so that they are often idle."""
SEGMENT_BYTES = 64 * 1024
SESSIONS_RESIDENT_MAX = len(SESSIONS) + 1
"""The quiet ones, and SCRATCH, can only take turns in memory."""
PIPE_BUF = 4_096
"""Writes of up to this many bytes into a pipe are atomic (POSIX)."""


def say(**facts: Any) -> None:
    line = json.dumps(facts).encode() + b"\n"
    assert len(line) <= PIPE_BUF
    os.write(1, line)


async def agent(request: RunRequest, context: RunContext) -> object:
    say(kind="began", run=request.run_id, attempt=request.attempt)
    plan = request.input
    for index in range(plan["events"]):
        await context.emit("message_streamed", {"delta": f"{request.run_id}/{index}"})
        if plan["pause"]:
            await trio.sleep(plan["pause"])
    if plan["end"] == "fail":
        raise ValueError("as planned")
    if plan["end"] == "hang":
        await trio.sleep(plan["pause"] * 40 + 0.2)
    return {"events": plan["events"]}


class Client:
    """Does random things to one session, and says what was acknowledged."""

    def __init__(self, session: Session, dice: random.Random, *, quiet: bool) -> None:
        self.session = session
        self.quiet = quiet
        self.dice = dice
        self.runs: list[str] = []
        self.serial = 0

    async def work(self) -> None:
        actions = [self.submit, self.cancel, self.append, self.rest]
        weights = (0, 0, 2, 2) if self.quiet else (6, 3, 2, 2)
        while True:
            await self.dice.choices(actions, weights)[0]()

    async def submit(self) -> None:
        dice = self.dice
        plan = {
            "events": dice.randrange(6),
            "pause": dice.choice([0, 0, 0.001, 0.01]),
            "end": dice.choices(["return", "fail", "hang"], (8, 1, 2))[0],
        }
        self.serial += 1
        key = f"{os.getpid()}-{self.serial}" if dice.random() < 0.5 else None
        policy = dice.choice(["fail", "requeue"])
        try:
            run = await self.session.submit(plan, key=key, on_interrupt=policy, attempts_max=3)
        except (QueueFull, AdmissionClosed):
            await trio.sleep(0.01)
            return
        say(kind="accepted", session=self.session.id, run=run.id, key=key, policy=policy)
        self.runs.append(run.id)

    async def cancel(self) -> None:
        if not self.runs:
            return
        run_id = self.dice.choice(self.runs[-8:])
        try:
            took_effect = await self.session.cancel(run_id)
        except UnknownRun:
            say(kind="broken", reason=f"{run_id} was accepted and is unknown")
            return
        if took_effect:
            say(kind="cancelled", session=self.session.id, run=run_id)

    async def append(self) -> None:
        event = await self.session.append("note", {"text": f"note {self.dice.random()}"})
        say(kind="event", session=self.session.id, seq=event.seq, type=event.type)

    async def rest(self) -> None:
        await trio.sleep(self.dice.choice([0.0, 0.001, 0.02]))


async def follow(session: Session, name: str, dice: random.Random) -> None:
    """A named subscriber: says what it gets, acknowledges now and then."""
    async with session.subscribe(name=name) as events:
        first = True
        async for event in events:
            say_event(session.id, name, event, first)
            first = False
            if dice.random() < 0.2:
                say(kind="acking", session=session.id, name=name, seq=event.seq)
                await events.ack(event)
                say(kind="acked", session=session.id, name=name, seq=event.seq)


def say_event(session_id: str, name: str, event: Event, first: bool) -> None:
    say(
        kind="delivered",
        session=session_id,
        name=name,
        seq=event.seq,
        type=event.type,
        run=event.run_id,
        first=first,
    )


async def finish(supervisor: Supervisor) -> None:
    """Let everything that was accepted come to its end."""
    for session_id, _ in SESSIONS:
        session = await supervisor.session(session_id)
        await session.resume()
        await session.wait_idle(timeout_seconds=120)


async def main(directory: str, seed: int, finishing: bool) -> None:
    limits = SupervisorLimits(
        idle_seconds=0.05,
        sessions_resident_max=SESSIONS_RESIDENT_MAX,
        runs_running_max=6,
        runs_queued_max=60,
        snapshot_events_max=40,
        drain_seconds=0.05,
        cancel_grace_seconds=2.0,
    )
    store = JournalStore(directory, segment_bytes=SEGMENT_BYTES)
    dice = random.Random(seed)
    with trio.open_signal_receiver(signal.SIGTERM) as signals, trio.CancelScope() as everything:
        async with (
            trio.open_nursery() as nursery,
            open_supervisor(store, agent, limits=limits) as supervisor,
        ):
            nursery.start_soon(_until_signalled, signals, everything)
            say(kind="ready", pid=os.getpid(), resident_max=SESSIONS_RESIDENT_MAX)
            if finishing:
                await finish(supervisor)
                everything.cancel()
            async with trio.open_nursery() as clients:
                for session_id, slots in SESSIONS + QUIET_SESSIONS:
                    session = await supervisor.session(session_id, slots=slots)
                    quiet = (session_id, slots) in QUIET_SESSIONS
                    client = Client(session, random.Random(dice.random()), quiet=quiet)
                    clients.start_soon(client.work)
                    for name in ("left", "right"):
                        clients.start_soon(follow, session, name, random.Random(dice.random()))
                clients.start_soon(_compact, supervisor, store, dice)


async def _until_signalled(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
    async for _ in signals:
        everything.cancel()


async def _compact(supervisor: Supervisor, store: JournalStore, dice: random.Random) -> None:
    """Fill a segment with what is then deleted, and compact, again and again."""
    while True:
        await trio.sleep(dice.uniform(0, 0.05))
        scratch = await supervisor.session(SCRATCH)
        for _ in range(8):
            await scratch.append("note", {"text": "x" * (SEGMENT_BYTES // 8)})
        await supervisor.delete_session(SCRATCH)
        report = await store.compact()
        if report.bytes_after < report.bytes_before:
            say(kind="compacted", freed=report.bytes_before - report.bytes_after)


if __name__ == "__main__":
    # standard output carries acknowledgements
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main, sys.argv[1], int(sys.argv[2]), len(sys.argv) > 3)
