"""What a model is asked for a summary of a conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .truncating import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.messages import Message

OUTPUT_CHARACTERS_MAX = 2_000
"""Of a tool's output in the request; its middle is left out."""

_ORDER = """\
Sum up the conversation below for an assistant that will go on with it and sees nothing else of it.
Keep what is needed for that: what the user wants and has decided, facts and names that were told,
what was done and found (files, commands, results), what is still to be done, and what failed.
Write only the summary, in short plain sentences or lists."""
_UPDATE = """\
There is a summary of what was said before. Write one summary of both, in which what is still true
of the earlier one is kept."""


def summary_prompt(messages: Sequence[Message], previous_summary: str | None = None) -> str:
    """One prompt that asks for a summary of ``messages``, and of what was summed up before."""
    parts = [_ORDER]
    if previous_summary is not None:
        parts += [_UPDATE, f"<summary>\n{previous_summary}\n</summary>"]
    lines = [line for message in messages for line in _lines(message)]
    parts.append("<conversation>\n" + "\n".join(lines) + "\n</conversation>")
    return "\n\n".join(parts)


def _lines(message: Message) -> list[str]:
    lines: list[str] = []
    for block in shortened(message, OUTPUT_CHARACTERS_MAX).blocks:
        kind = block["type"]
        if kind == "text":
            lines.append(f"{message.role}: {block['text']}")
        elif kind == "image":
            lines.append(f"{message.role}: [an image, {block['media_type']}]")
        elif kind == "tool_call":
            lines.append(f"call of {block['tool_name']}: {_json(block['tool_input'])}")
        elif kind == "tool_result":
            error = " (error)" if block["is_error"] else ""
            lines.append(f"result of {block['tool_name']}{error}: {_json(block['tool_output'])}")
    return lines


def _json(value: Any) -> str:
    return value if type(value) is str else json.dumps(value, default=str, ensure_ascii=False)
