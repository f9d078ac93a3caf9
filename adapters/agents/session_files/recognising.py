"""Whose session file is it? Told by what its first lines say."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import trio

from .claude_code import is_claude_code, read_claude_code
from .codex import is_codex, read_codex
from .json_lines import JsonLines
from .message_lines import read_messages
from .pi import is_pi, read_pi

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from .imported import ImportedConversation

FIRST_LINES = 20


def _is_message(value: dict[str, Any]) -> bool:
    return "role" in value and "content" in value


SessionFormat = Literal["pi", "codex", "claude", "messages"]

_READERS: Mapping[
    SessionFormat, tuple[Callable[[dict[str, Any]], bool], Callable[..., ImportedConversation]]
]
_READERS = {
    "pi": (is_pi, read_pi),
    "codex": (is_codex, read_codex),
    "claude": (is_claude_code, read_claude_code),
    "messages": (_is_message, read_messages),
}


def read_session_file(
    path: str | os.PathLike[str],
    *,
    format: SessionFormat | None = None,
    skip_damaged: bool = False,
) -> ImportedConversation:
    """The conversation in a session file of Claude Code, Codex or pi, or in one of messages.

    ``format`` None tells by the first lines whose it is. It reads the whole file and may take a
    second for tens of MiB: ``load_session_file`` does it in a thread. Raises SessionFileInvalid,
    naming the line, and OSError.
    """
    if format is not None:
        return _READERS[format][1](path, skip_damaged=skip_damaged)
    lines = JsonLines(path, skip_damaged=skip_damaged)
    first = list(islice(lines, FIRST_LINES))
    for line in first:
        for is_theirs, read in _READERS.values():
            if is_theirs(line.value):
                return read(path, skip_damaged=skip_damaged)
    number = first[0].number if first else lines.torn_line or 1
    raise lines.invalid(
        number, "this is no session file of Claude Code, Codex or pi, and has no messages"
    )


async def load_session_file(
    path: str | os.PathLike[str],
    *,
    format: SessionFormat | None = None,
    skip_damaged: bool = False,
) -> ImportedConversation:
    """``read_session_file`` in a thread."""
    return await trio.to_thread.run_sync(
        lambda: read_session_file(path, format=format, skip_damaged=skip_damaged)
    )
