"""Which session is meant, and where it lives.

A session belongs to the working directory that it was begun in, by a tag; what else a conversation
has to find again is in its metadata, under the names below.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from moorage.runtime import SessionState, StoreFailed

from ..frame import CommandFailed
from ..sources import reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime import Reader, SessionInfo, Supervisor

    from ..chosen_source import Choice
    from ..sources import Source

DIRECTORY_TAG = "directory"
DIRECTORY_BYTES_MAX = 200
"""Of the tag's text: a longer path is cut in front, and told from others by a digest."""
AGENT_KEY = "chat.agent"
MODEL_KEY = "chat.model"
PERMISSION_KEY = "chat.permission_mode"
LISTED_MAX = 20
"""Sessions that ``/resume`` lists."""


def directory_tag(path: str) -> str:
    """The text of the tag for a directory: its path, without what nobody can print."""
    printable = "".join(part if part.isprintable() else "?" for part in path)
    encoded = printable.encode("utf-8", "replace")
    if printable == path and len(encoded) <= DIRECTORY_BYTES_MAX:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    kept = encoded[-(DIRECTORY_BYTES_MAX - len(digest) - 4) :].decode("utf-8", "ignore")
    return f"{digest} ...{kept}"


def here() -> str:
    """The tag's text for the working directory. Raises CommandFailed if that is gone."""
    try:
        return directory_tag(os.getcwd())
    except OSError as error:
        raise CommandFailed(
            f"the working directory cannot be told: {error.strerror}: change to another one"
        ) from error


async def find_session(source: Source, session_id: str | None) -> SessionInfo | None:
    """What a store or a server has of a session, or without an id of the one of this directory
    that changed last and is not closed; None if there is none. A store is read beside whoever owns
    it."""
    tags = {DIRECTORY_TAG: here()} if session_id is None else None
    with suppress(StoreFailed):  # no store yet, or what opening it will say, too
        async with (
            reading(source) as reader,
            aclosing(_listing(reader, prefix=session_id or "", tags=tags)) as sessions,
        ):
            async for info in sessions:
                if info.id == session_id or (session_id is None and _is_open(info)):
                    return info
    return None


async def has_others(source: Source) -> bool:
    """Whether there is any session that could be gone on with, of whatever directory."""
    with suppress(StoreFailed):  # no store is there yet
        async with reading(source) as reader, aclosing(_listing(reader)) as sessions:
            async for info in sessions:
                if _is_open(info):
                    return True
    return False


def _listing(reader: Reader | Supervisor, **filter: Any) -> AsyncGenerator[SessionInfo]:
    listing: Any = reader.sessions(**filter)  # a generator, though it only promises an iterator
    return listing  # type: ignore[no-any-return]


async def list_here(supervisor: Supervisor) -> list[SessionInfo]:
    """The sessions of this directory that are not closed, the newest change first."""
    found: list[SessionInfo] = []
    async with aclosing(_listing(supervisor, tags={DIRECTORY_TAG: here()})) as listed:
        async for info in listed:
            if _is_open(info):
                found.append(info)
            if len(found) == LISTED_MAX:
                break
    return found


def _is_open(info: SessionInfo) -> bool:
    return info.state is not SessionState.CLOSED


def resume_command(choice: Choice, session_id: str) -> str:
    """What to type to go on with a session, from any directory."""
    return shlex.join(["moorage", "chat", *choice.arguments, "--session", session_id])
