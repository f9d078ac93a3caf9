"""The directory that commands work on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moorage.runtime import AdmissionClosed
from moorage.stores import JournalStore

from .frame import CommandFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.commands import Answer, Command

DEFAULT = Path("moorage-data")
VARIABLE = "MOORAGE_DATA"


def existing(directory: Path) -> JournalStore:
    """The journal in a directory that must be there already.

    Raises CommandFailed; nothing is ever created.
    """
    where = f"{str(directory)!r} (--data DIR or {VARIABLE} says where to look)"
    if not directory.exists():
        raise CommandFailed(f"there is no directory {where}")
    if not directory.is_dir():
        raise CommandFailed(f"not a directory: {where}")
    if not any(directory.iterdir()):
        raise CommandFailed(f"there is no journal in the empty directory {where}")
    return JournalStore(directory)


def new_or_existing(directory: Path) -> JournalStore:
    """The journal in a directory that is made when it is opened for writing."""
    return JournalStore(directory)


async def _refuse(session_id: str, command: Command) -> Answer:
    raise AdmissionClosed("this command", reason="not a supervisor")


@asynccontextmanager
async def owned(
    store: JournalStore, purpose: str, *, may_create: bool = False
) -> AsyncIterator[JournalStore]:
    """Own the journal without supervising it: no run is started or recovered.

    Raises SessionHeld if another process has it, and StoreFailed if there is none and it may not
    be created.
    """
    if not may_create:
        async with store.reading():
            pass
    async with store.opened(owner=f"moorage {purpose}", deliver=_refuse):
        yield store
