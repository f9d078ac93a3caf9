"""What a program is told that takes one prompt: text and images, with a conversation before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.messages import Message

HEAD = (
    "The conversation between the tags below took place before, and you took part in it as the "
    "assistant. Continue it with what comes behind it, and do not comment on these tags."
)


@attrs.frozen
class TextPrompt:
    """``text`` for the model; ``images`` as our blocks; ``instructions`` are the system messages
    that came with it, joined, or empty."""

    text: str
    images: Sequence[Mapping[str, Any]] = ()
    instructions: str = ""


def text_prompt(earlier: Iterable[Message], said: Sequence[Message]) -> TextPrompt:
    """The prompt for what is ``said`` now, behind ``earlier`` as text.

    Messages in ``said`` that come before the last one of an assistant are told as text too. Raises
    InvalidArgument if it does not end with a message of a user that says something.
    """
    last = max((n for n, m in enumerate(said) if m.role in ("assistant", "tool")), default=-1)
    asked = [message for message in said[last + 1 :] if message.role == "user"]
    if not any(message.blocks for message in asked):
        raise InvalidArgument(
            "messages must end with one of the role user that says something: only users ask"
        )
    before = [m for m in [*earlier, *said[: last + 1]] if m.role != "system" and m.blocks]
    texts = [transcript_text(before)] if before else []
    texts += [message.text for message in asked if message.text]
    images = [block for message in asked for block in message.blocks if block["type"] == "image"]
    instructions = "\n\n".join(message.text for message in said if message.role == "system")
    return TextPrompt("\n\n".join(texts), tuple(images), instructions)


def instructed(prompt: TextPrompt, *instructions: str | None) -> TextPrompt:
    """``prompt`` behind instructions, for a program that has no place of its own for them."""
    told = "\n\n".join(text for text in instructions if text)
    if not told:
        return prompt
    text = f"<instructions>\n{told}\n</instructions>\n\n{prompt.text}"
    return attrs.evolve(prompt, text=text)


def transcript_text(messages: Iterable[Message]) -> str:
    """A conversation as text for a model that does not remember it. Calls of tools and what they
    gave are told; thinking is not, and images are only mentioned."""
    lines = [HEAD, "<conversation>"]
    for message in messages:
        told = [text for block in message.blocks if (text := _told(block))]
        if told:
            lines.append(f"{message.role}: " + "\n".join(told))
    return "\n".join([*lines, "</conversation>"])


def _told(block: Mapping[str, Any]) -> str:
    kind = block["type"]
    if kind == "text":
        return str(block["text"])
    if kind == "image":
        return f"(an image, {block['media_type']})"
    if kind == "tool_call":
        return f"(called {block['tool_name']}: {_written(block.get('tool_input'))})"
    if kind == "tool_result":
        how = "failed" if block.get("is_error") else "gave"
        return f"({block.get('tool_name') or 'it'} {how}: {_written(block.get('tool_output'))})"
    return ""


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
