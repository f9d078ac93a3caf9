"""Truncation: the newest messages that fit, never a call without its result.

What is always kept: system messages, summaries, the last thing a user said, and the newest message
together with the calls and results it belongs to. Of a tool's output that alone would take a large
part of the room the middle is left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.agents.provider.failures import ContextOverflow

from .estimating import (
    CHARACTERS_PER_TOKEN,
    TokenGauge,
    message_characters,
    message_tokens,
    payload_characters,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.messages import Block, Message

    from .window import ContextWindow

OUTPUT_SHARE = 4
"""A single tool output may take one part in so many of the room for characters."""
OUTPUT_CHARACTERS_MIN = 200
LEFT_OUT = "\n[... {count} characters left out ...]\n"


def together(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages in groups that must not be parted: calls with their results."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.tool_results and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def truncate(
    messages: Sequence[Message], window: ContextWindow, *, gauge: TokenGauge | None = None
) -> list[Message]:
    """The newest messages within the window's limits, in order; see the module's head.

    ``messages_max`` alone gives way to what is always kept. Raises ContextOverflow if that does
    not fit into the others.
    """
    characters_max = _characters_max(window)
    if characters_max is not None:
        allowance = max(OUTPUT_CHARACTERS_MIN, characters_max // OUTPUT_SHARE)
        messages = [shortened(message, allowance) for message in messages]
    groups = together(messages)
    if not groups:
        return []
    kept = _always_kept(groups)
    room = _Room.of(window, gauge)
    for index in kept:
        room.take(groups[index])
    if room.missing_characters():
        room.give_back(groups[-1])
        groups[-1] = _squeezed(groups[-1], room)
        room.take(groups[-1])
    for index in range(len(groups) - 1, -1, -1):
        if index not in kept:
            if not room.has_room_for(groups[index]):
                break
            room.take(groups[index])
            kept.add(index)
    return [message for index in sorted(kept) for message in groups[index]]


def _always_kept(groups: list[list[Message]]) -> set[int]:
    kept = {len(groups) - 1}
    asked: int | None = None
    for index, (first, *_) in enumerate(groups):
        if first.role == "system" or first.is_summary:
            kept.add(index)
        elif first.role == "user":
            asked = index
    return kept if asked is None else kept | {asked}


@attrs.define
class _Room:
    """What is left of each limit; None for none. What must be kept may bring it below 0."""

    messages: int | None
    characters: int | None
    tokens: int | None

    @classmethod
    def of(cls, window: ContextWindow, gauge: TokenGauge | None) -> _Room:
        overhead = 0 if gauge is None else gauge.overhead
        tokens = None if window.tokens_max is None else window.tokens_max - overhead
        return cls(window.messages_max, window.characters_max, tokens)

    def has_room_for(self, group: list[Message]) -> bool:
        messages, characters, tokens = _size(group)
        return (
            (self.messages is None or messages <= self.messages)
            and (self.characters is None or characters <= self.characters)
            and (self.tokens is None or tokens <= self.tokens)
        )

    def take(self, group: list[Message], times: int = 1) -> None:
        messages, characters, tokens = _size(group)
        if self.messages is not None:
            self.messages -= times * messages
        if self.characters is not None:
            self.characters -= times * characters
        if self.tokens is not None:
            self.tokens -= times * tokens

    def give_back(self, group: list[Message]) -> None:
        self.take(group, -1)

    def left_characters(self) -> int:
        """How many characters fit, by whichever limit is the stricter one."""
        limits = [] if self.characters is None else [self.characters]
        if self.tokens is not None:
            limits.append(self.tokens * CHARACTERS_PER_TOKEN)
        return min(limits, default=0)

    def missing_characters(self) -> bool:
        return self.left_characters() < 0


def _size(group: list[Message]) -> tuple[int, int, int]:
    return len(group), sum(map(message_characters, group)), sum(map(message_tokens, group))


def _squeezed(group: list[Message], room: _Room) -> list[Message]:
    """The group with its outputs made to fit. Raises ContextOverflow if that cannot be done."""
    results = [block for message in group for block in message.tool_results]
    outputs = sum(payload_characters(block["tool_output"]) for block in results)
    _, characters, tokens = _size(group)
    rest = max(characters, tokens * CHARACTERS_PER_TOKEN) - outputs
    allowance = (room.left_characters() - rest) // max(1, len(results))
    if not results or allowance < OUTPUT_CHARACTERS_MIN:
        raise ContextOverflow(
            "what must be sent of this conversation is longer than the context window allows: "
            "raise its limits, or begin a new conversation",
            provider="moorage",
        )
    return [shortened(message, allowance) for message in group]


def _characters_max(window: ContextWindow) -> int | None:
    limits = [] if window.characters_max is None else [window.characters_max]
    if window.tokens_max is not None:
        limits.append(window.tokens_max * CHARACTERS_PER_TOKEN)
    return min(limits, default=None)


def shortened(message: Message, characters_max: int) -> Message:
    """The message with each tool output of at most so many characters; of a longer one the middle
    is left out, and it says so."""
    blocks = [_shortened(block, characters_max) for block in message.blocks]
    if blocks == message.blocks:
        return message
    return attrs.evolve(message, blocks=blocks, original=None)


def _shortened(block: Block, characters_max: int) -> Block:
    if block["type"] != "tool_result":
        return block
    output: Any = block["tool_output"]
    if payload_characters(output) <= characters_max:
        return block
    text = output if type(output) is str else json.dumps(output, default=str, ensure_ascii=False)
    room = max(0, characters_max - len(LEFT_OUT.format(count=len(text))))
    head, tail = text[: room - room // 3], text[len(text) - room // 3 :]
    note = LEFT_OUT.format(count=len(text) - len(head) - len(tail))
    return {**block, "tool_output": head + note + tail}
