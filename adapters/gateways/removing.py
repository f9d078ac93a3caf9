"""``moorage delete``: forget a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from moorage.runtime import UnknownSession, open_reader

from .data_directory import owned
from .frame import CommandFailed, note
from .listing import describe_runs

if TYPE_CHECKING:
    from moorage.stores import JournalStore


async def delete_session(store: JournalStore, session_id: str, *, sure: bool) -> None:
    """Delete it, after asking unless ``sure``; its last seq is kept, so that numbers never come
    twice. Raises UnknownSession, and SessionHeld if another process owns the journal."""
    if not sure:
        await _ask(store, session_id)
    async with owned(store, "delete"):
        claim = await store.claim(session_id)
        if claim.info is None:
            raise UnknownSession(session_id)
        await store.delete(claim)
    note(f"deleted session {session_id!r}: {claim.head_seq} events")


async def _ask(store: JournalStore, session_id: str) -> None:
    async with open_reader(store) as reader:
        info = await reader.session(session_id).info()
    runs = describe_runs(info.runs) or "no runs"
    try:
        answer = typer.confirm(
            f"Delete session {session_id!r} with {info.head_seq} events ({runs})?", err=True
        )
    except typer.Abort:
        raise CommandFailed("nothing was deleted: say yes, or give --yes") from None
    if not answer:
        raise CommandFailed("nothing was deleted")
