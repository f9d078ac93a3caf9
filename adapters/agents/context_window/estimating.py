"""Estimating tokens: four characters make about one, and the provider's own count corrects it.

How a model counts is known to its provider alone. What it last reported for a request also has
what is in no message: the system prompt, the descriptions of tools. So the difference between its
count and the estimate for the same messages is added to every estimate until the next report.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.messages import Block, Message

CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4
"""Around each message: its role and where it ends."""
IMAGE_CHARACTERS = 4_800


def message_characters(message: Message) -> int:
    """Characters of a message, tool inputs and outputs as if they were written as JSON."""
    return sum(_block_characters(block) for block in message.blocks)


def _block_characters(block: Block) -> int:
    kind = block["type"]
    if kind == "image":
        return IMAGE_CHARACTERS
    if kind == "tool_call":
        return len(block["tool_name"]) + payload_characters(block["tool_input"])
    if kind == "tool_result":
        return payload_characters(block["tool_output"])
    return len(block["text"])


def payload_characters(value: Any) -> int:
    """About how many characters plain data has when it is written as JSON."""
    if type(value) is str:
        return len(value)
    if type(value) is bytes:
        return -(-len(value) // 3) * 4  # base64
    if type(value) is dict:
        return 2 + sum(len(key) + 4 + payload_characters(item) for key, item in value.items())
    if type(value) is list:
        return 2 + sum(1 + payload_characters(item) for item in value)
    return len(str(value))


def message_tokens(message: Message) -> int:
    """About how many tokens a message has, rounded up."""
    return MESSAGE_TOKENS - (-message_characters(message) // CHARACTERS_PER_TOKEN)


class TokenGauge:
    """Estimates that the provider corrects. ``overhead`` is what they were last wrong by; it may
    be below 0, though never by more than half of what was estimated."""

    def __init__(self, overhead: int = 0) -> None:
        self.overhead = overhead

    def tokens(self, messages: Iterable[Message]) -> int:
        """About how many tokens a request with these messages has."""
        return max(0, sum(map(message_tokens, messages)) + self.overhead)

    def report(self, prompt_tokens: int, messages: Iterable[Message]) -> None:
        """The provider counted ``prompt_tokens``, cached ones included, for these messages."""
        estimate = sum(map(message_tokens, messages))
        self.overhead = max(prompt_tokens - estimate, -estimate // 2)


class GaugeCache:
    """The gauges of the sessions that were used last: what is in one conversation, and in which
    language, says nothing of another."""

    def __init__(self, *, sessions_max: int = 1_024) -> None:
        self._sessions_max = sessions_max
        self._kept: OrderedDict[str, TokenGauge] = OrderedDict()

    def of(self, session_id: str, *, overhead: int) -> TokenGauge:
        """The session's gauge; a new one begins with ``overhead``."""
        gauge = self._kept.pop(session_id, None) or TokenGauge(overhead)
        self._kept[session_id] = gauge
        if len(self._kept) > self._sessions_max:
            self._kept.popitem(last=False)
        return gauge
