"""``moorage delete`` and ``undelete``: forget a session, or hide it and bring it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from moorage.runtime import UnknownSession

from .exporting import check_new_file, export_to_new_file
from .frame import CommandFailed, note
from .key_file import is_sealed
from .listing import describe_runs
from .sources import reading, removing

if TYPE_CHECKING:
    from pathlib import Path

    from .sources import Source


async def delete_session(
    source: Source,
    session_id: str,
    *,
    sure: bool,
    soft: bool = False,
    export: Path | None = None,
) -> None:
    """Delete it, after asking unless ``sure``; its last seq is kept, so that numbers never come
    twice. ``soft`` only hides it. With ``export`` it is written to that new file first, and
    deleted only if that is all there is of it.

    Raises UnknownSession, SessionHeld if another process owns the store, SessionChanged if
    something was added meanwhile, and CommandFailed for a file that is there.
    """
    if export is not None:
        check_new_file(export)
    if not sure:
        await _ask(source, session_id, soft)
    async with removing(source, "delete") as removal:
        info = await removal.reader.info(session_id)
        if info is None:
            raise UnknownSession(session_id)
        seen = None
        if export is not None:
            seen = await export_to_new_file(removal.reader, session_id, export)
            note(f"exported session {session_id!r}: {seen} events in {str(export)!r}")
        changed = await removal.delete_session(session_id, soft=soft, expected_seq=seen)
    if soft and not changed:
        note(f"session {session_id!r} was deleted already")
    elif soft:
        note(f"session {session_id!r} is hidden; moorage undelete brings it back")
    else:
        note(f"deleted session {session_id!r}: {info.head_seq} events")
        if is_sealed(info):
            note("its key is left in the vault: it goes when a deletion has --keys FILE")


async def undelete_session(source: Source, session_id: str) -> None:
    """Bring back a session that was softly deleted. Raises UnknownSession, and SessionHeld if
    another process owns the store."""
    async with removing(source, "undelete") as removal:
        changed = await removal.restore_session(session_id)
    done = "is back" if changed else "was not deleted"
    note(f"session {session_id!r} {done}")


async def _ask(source: Source, session_id: str, soft: bool) -> None:
    async with reading(source) as reader:
        info = await reader.session(session_id).info()
    runs = describe_runs(info.runs) or "no runs"
    what = "Hide" if soft else "Delete"
    confirm(f"{what} session {session_id!r} with {info.head_seq} events ({runs})?")


def confirm(question: str) -> None:
    """Raises CommandFailed unless the answer is yes."""
    try:
        answer = typer.confirm(question, err=True)
    except typer.Abort:
        raise CommandFailed("nothing was deleted: say yes, or give --yes") from None
    if not answer:
        raise CommandFailed("nothing was deleted")
