"""Named cursors of a server's sessions: asking where one is, and moving it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.identifiers import check_name

from .decoding import member
from .transport import path_of

if TYPE_CHECKING:
    from .transport import Transport


async def stored_cursor(transport: Transport, session_id: str, name: str) -> int | None:
    """The seq that is stored under the name, None if there is none. Raises UnknownSession."""
    document = await transport.call("GET", _path(session_id, name), repeatable=True)
    seq: int | None = member(document, "seq")
    return seq


async def move_cursor(transport: Transport, session_id: str, name: str, seq: int) -> int:
    """Where the cursor is when it was moved to ``seq``, unless it was further. Raises CursorHeld,
    and InvalidArgument for a seq beyond the head."""
    document = await transport.call(
        "PUT", _path(session_id, name), body={"seq": seq}, repeatable=True
    )
    return int(member(document, "seq"))


def _path(session_id: str, name: str) -> str:
    return path_of("sessions", session_id, "cursors", check_name("cursor name", name))
