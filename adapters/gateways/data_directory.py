"""The directory that commands work on."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moorage.runtime import AdmissionClosed
from moorage.stores import JournalStore

from .frame import CommandFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Store

DEFAULT = Path("moorage-data")
"""Of commands that no configuration file speaks for: in the current directory."""
VARIABLE = "MOORAGE_DATA"


def platform_directory(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where this platform wants an application's data of this user: the default of what a
    configuration file speaks for. It need not be there."""
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Application Support" / "moorage"
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "moorage"
    said = environ.get("XDG_DATA_HOME", "")
    # the specification wants a relative path to be ignored
    return (Path(said) if said.startswith("/") else home / ".local" / "share") / "moorage"


def existing(directory: Path) -> JournalStore:
    """The journal in a directory that must be there already.

    Raises CommandFailed; nothing is ever created.
    """
    where = f"{str(directory)!r} (--data DIR, --store journal:DIR or {VARIABLE} says where to look)"
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


async def refusing(session_id: str, command: Command, letter: str | None = None) -> Answer:
    """The door of a command that owns a store without supervising it. Where a store is shared,
    what comes is left to a process that does."""
    raise AdmissionClosed("this command", reason="closed")


@asynccontextmanager
async def owned(store: Store, purpose: str, *, may_create: bool = False) -> AsyncIterator[Store]:
    """Open the store for writing without supervising it: no run is started or recovered.

    Raises SessionHeld if it takes one process at a time and has one, and StoreFailed if there is
    none and it may not be created.
    """
    if not may_create:
        async with store.reading():
            pass
    async with store.opened(owner=f"moorage {purpose}", deliver=refusing):
        yield store
