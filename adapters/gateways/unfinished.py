"""Unfinished runs that a journal has when it is opened: a supervisor recovers all of them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from moorage.runtime import InvalidArgument, StoreFailed
from moorage.runtime.ports import shared

from .data_directory import owned, refusing
from .frame import note

if TYPE_CHECKING:
    from moorage.runtime import SessionReader
    from moorage.runtime.ports import Store


async def unfinished_runs(store: Store) -> dict[str, int]:
    """Unfinished runs by session, as they were left. Where a store is shared by leases, of those
    sessions alone that no live process has."""
    found: dict[str, int] = {}
    with suppress(StoreFailed):  # no store yet, or what opening it will say, too
        async with store.reading() as reader:
            found = {info.id: info.active async for info in reader.sessions(needs_worker=True)}
        nodes = shared(store)
        if found and nodes is not None:
            async with owned(store, "run"):
                left = {session.session_id for session in await nodes.unheld(len(found))}
            found = {session_id: count for session_id, count in found.items() if session_id in left}
    return found


async def refuse_others(store: Store, others: list[str]) -> None:
    """Raises InvalidArgument that names other sessions which this agent would work for, or
    SessionHeld if another process owns the store, and serves what is in it."""
    async with store.opened(owner=f"pid {os.getpid()}", deliver=refusing):
        pass
    raise InvalidArgument(
        "other sessions have unfinished runs, which this agent would finish too: "
        f"{_first_of(others)}; "
        "--recover-others if it should, or the service that they belong to, or another store"
    )


def tell_of(unfinished: dict[str, int], session_id: str | None) -> None:
    """Say which runs go on besides those that were asked for."""
    others = [id for id in unfinished if id != session_id]
    if mine := unfinished.get(session_id or "", 0):
        runs, go = ("run", "goes") if mine == 1 else ("runs", "go")
        note(f"{mine} unfinished {runs} of session {session_id!r} {go} on first")
    if others:
        sessions = "session has" if len(others) == 1 else "sessions have"
        note(
            f"{len(others)} other {sessions} unfinished runs, which go on too: {_first_of(others)}"
        )


def _first_of(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


async def starts_nothing(session: SessionReader) -> bool:
    """Whether recovering a session only notes how its runs have ended, and calls no agent."""
    status = await session.status()
    info = await session.info()
    if status.queued or info.timed_waits:
        return False
    for run_id in status.running:
        submitted = await session.events(
            before=status.head_seq + 1, types={"run_submitted"}, run_id=run_id, limit=1
        )
        if not submitted or submitted[0].data.get("on_interrupt") == "requeue":
            return False
    return True
