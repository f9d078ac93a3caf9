"""A service whose sessions have artifacts and go by a policy, to be killed in the middle of it.

    python retention_service.py DIRECTORY [STOPS_AFTER]

It prints ``deleted ID`` as it goes, and ``done`` when nothing is left to be done. After as many
lines as STOPS_AFTER says it does nothing more, and waits to be killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import structlog
import trio
from moorage.runtime import RetentionPolicy, RetentionRule, SupervisorLimits, open_supervisor
from moorage.stores import JournalStore
from moorage.stores.artifacts import (
    FileArtifacts,
    put_artifact,
    remove_artifacts_of,
    sweep_artifacts,
)

POLICY = RetentionPolicy(
    rules=[
        RetentionRule(action="soft_delete", prefix="soft-", older_than_seconds=0),
        RetentionRule(prefix="old-", older_than_seconds=0),
    ],
    exempt_tags=["hold"],
)


async def agent(request, context):
    return request.input


async def fill(directory, count):
    """Every third session is on hold, every third is only hidden."""
    store, artifacts = JournalStore(directory / "data"), FileArtifacts(directory / "artifacts")
    async with open_supervisor(store, agent) as supervisor:
        for number in range(count):
            kind, tags = [("old", {}), ("old", {"hold": "yes"}), ("soft", {})][number % 3]
            session = await supervisor.session(f"{kind}-{number}", tags=tags)
            await session.execute(number)
            await put_artifact(session, artifacts, f"artifact of {session.id}".encode())


async def prune(directory):
    store, artifacts = JournalStore(directory / "data"), FileArtifacts(directory / "artifacts")
    over = trio.Event()

    async def removed(report):
        if report.problems:
            raise RuntimeError(str(report.problems))
        await remove_artifacts_of(artifacts, store, report.ids("delete"))
        if not report.entries:
            await sweep_artifacts(artifacts, store, older_than_seconds=0)
            over.set()

    async with open_supervisor(
        store,
        agent,
        limits=SupervisorLimits(
            retention_sessions_per_second_max=100, retention_sessions_at_once_max=3
        ),
        retention=POLICY,
        retention_interval_seconds=0.01,
        on_retention=removed,
    ):
        await over.wait()
    say("done")


def say(line):
    """In one write: a process that is killed leaves no part of a line."""
    os.write(1, f"{line}\n".encode())


def telling(stops_after):
    """Each deletion as a line, as soon as it is done."""
    told = 0

    def tell(_, method, event):
        nonlocal told
        if event["event"] == "retention":
            say(f"deleted {event['session_id']}")
            told += 1
            if told == stops_after:
                signal.pause()
        raise structlog.DropEvent

    return tell


if __name__ == "__main__":
    structlog.configure(processors=[telling(int(sys.argv[2]) if sys.argv[2:] else None)])
    trio.run(prune, Path(sys.argv[1]))
