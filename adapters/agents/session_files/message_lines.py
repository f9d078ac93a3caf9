"""Conversations as JSON lines: one message a line, role and content at the top.

::

    {"role":"user","content":"look at this"}
    {"role":"assistant","content":[{"type":"tool_call",...}],"seq":7,"run_id":"run_..."}

A line needs a role and content alone, so files of other programs in this shape can be read. Bytes
and numbers that JSON does not have are written as ``moorage.runtime.reversible_json`` does.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, message_from_plain, message_to_plain
from moorage.runtime.reversible_json import dump_line, from_json, to_json

from .imported import ImportedConversation
from .json_lines import JsonLines

if TYPE_CHECKING:
    from collections.abc import Iterable


def message_line(message: Message) -> str:
    """A message as a line of JSON, with its line feed."""
    return dump_line(to_json(message_to_plain(message)))


def write_messages(path: str | os.PathLike[str], messages: Iterable[Message]) -> int:
    """Write messages to a file, which is there whole or not at all; returns how many.

    An older file of that name is replaced. It can be read and written by its owner alone. Raises
    OSError.
    """
    count = 0
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".messages-")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            for message in messages:
                file.write(message_line(message))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return count


def read_messages(
    path: str | os.PathLike[str], *, skip_damaged: bool = False
) -> ImportedConversation:
    """The messages of a file that ``write_messages`` or another program wrote.

    Raises SessionFileInvalid, naming the line, and OSError.
    """
    lines = JsonLines(path, skip_damaged=skip_damaged)
    messages: list[Message] = []
    for line in lines:
        try:
            messages.append(message_from_plain(from_json(line.value)))
        except InvalidArgument as error:
            raise lines.invalid(line.number, str(error)) from error
    return ImportedConversation(
        provider="messages",
        messages=messages,
        torn_line=lines.torn_line,
        damaged_lines=lines.damaged_lines,
    )
