"""What is said to Claude Code: messages as lines for its standard input. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import InvalidArgument

from ..provider.text_prompts import transcript_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moorage.runtime.messages import Message


def user_message(content: object, uuid: str) -> dict[str, Any]:
    """The line by which a user says ``content`` (a text or Claude's blocks)."""
    return {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
        "session_id": "default",
        "uuid": uuid,
    }


def prompt_content(earlier: Sequence[Message], said: Sequence[Message]) -> str | list[Any]:
    """Claude's content for what is ``said`` now, behind a replay of ``earlier`` as text.

    Messages in ``said`` before the last one of an assistant are told as text too, since Claude
    Code takes only what users say. Raises InvalidArgument if nobody asks anything at the end, and
    for a block that a user cannot say.
    """
    last = max((n for n, m in enumerate(said) if m.role in ("assistant", "tool")), default=-1)
    asked = [message for message in said[last + 1 :] if message.role == "user"]
    if not any(message.blocks for message in asked):
        raise InvalidArgument(
            "the last of the input's messages must be of the role user: Claude Code is asked by "
            "users only"
        )
    told = [message for message in [*earlier, *said[: last + 1]] if message.role != "system"]
    blocks = [claude_block(block) for message in asked for block in message.blocks]
    if told:
        blocks.insert(0, {"type": "text", "text": transcript_text(told)})
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return str(blocks[0]["text"])
    return blocks


def instructions(said: Iterable[Message]) -> str:
    """The system messages, joined."""
    return "\n\n".join(message.text for message in said if message.role == "system")


def claude_block(block: dict[str, Any]) -> dict[str, Any]:
    """Claude's content block for one of ours."""
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    if block["type"] == "image":
        data = base64.b64encode(block["data"]).decode("ascii")
        source = {"type": "base64", "media_type": block["media_type"], "data": data}
        return {"type": "image", "source": source}
    raise InvalidArgument(
        f"a user's message cannot have a {block['type']} block: Claude Code takes text and images"
    )
