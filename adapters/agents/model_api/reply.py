"""A model's whole answer, and what every decoder of a stream looks like."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from ..provider.failures import AgentFailure

Piece = tuple[Literal["text", "thinking", "event"], Any]
"""What a batch of a provider's events says that one wants to see at once: a piece of text, a piece
of thinking, or an event that has no counterpart, as plain data."""

TOKEN_KINDS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
"""Names in a usage map. The first, third and fourth add up to all of the input; reasoning is a part
of the output."""

CUT_REASONS = frozenset(
    {"max_tokens", "length", "max_output_tokens", "model_context_window_exceeded"}
)
"""Reasons to stop in the middle of what a model is saying, in the providers' words."""


@attrs.frozen(kw_only=True)
class Reply:
    """One whole answer.

    ``blocks`` are ours (text, thinking, tool_call), in the model's order. ``stop_reason`` is in the
    provider's own words. ``original`` is what the provider wants to see when the conversation is
    sent again: ``{"provider": name, "content": [...]}``. ``usage`` has numbers under TOKEN_KINDS.
    ``time_ns`` is when the provider says it began, since 1970.
    """

    blocks: Sequence[Mapping[str, Any]]
    stop_reason: str
    original: Mapping[str, Any]
    usage: Mapping[str, int]
    model: str | None = None
    message_id: str | None = None
    time_ns: int | None = None

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls that the model asks for, as maps with tool_call_id, tool_name, tool_input.

        ``tool_input`` is a map, or a str where the model's arguments are no JSON object.
        """
        return [
            {key: value for key, value in block.items() if key != "type"}
            for block in self.blocks
            if block["type"] == "tool_call"
        ]

    def with_new_ids(self, used: Container[str], prefix: str) -> Reply:
        """This answer with ids of its own for calls that have none, or one that is in ``used``.

        Some endpoints number calls from 0 in every answer, and an approval or a result must not
        be taken for that of another call. What the provider said is then left out of it.
        """
        calls = [block for block in self.blocks if block["type"] == "tool_call"]
        ids = [call["tool_call_id"] for call in calls]
        if len(set(ids)) == len(ids) and not any(not id or id in used for id in ids):
            return self
        numbers = itertools.count()
        blocks = [
            {**block, "tool_call_id": f"{prefix}:{next(numbers)}"}
            if block["type"] == "tool_call"
            else block
            for block in self.blocks
        ]
        return attrs.evolve(self, blocks=blocks, original={})

    def data(self) -> dict[str, Any]:
        """The data of the event ``message_received``."""
        data: dict[str, Any] = {"content": self.text}
        if any(block["type"] != "text" for block in self.blocks):
            data["blocks"] = [dict(block) for block in self.blocks]
        if self.tool_calls:
            data["tool_calls"] = self.tool_calls
        if self.model:
            data["model"] = self.model
        data["stop_reason"] = self.stop_reason
        if self.message_id:
            data["message_id"] = self.message_id
        if self.original:
            data["original"] = dict(self.original)
        return data


def cut_call(data: Mapping[str, Any]) -> str | None:
    """The id of the call that an answer was cut off in, of the data of ``message_received``.

    At its limit of tokens a model stops wherever it is. Arguments that did not come at all would
    look like those of a call without any, and it may delete everything by default.
    """
    calls = data.get("tool_calls")
    if data.get("stop_reason") not in CUT_REASONS or not calls:
        return None
    blocks, last = data.get("blocks"), calls[-1]
    if blocks and blocks[-1]["type"] != "tool_call":
        return None
    whole = last["tool_input"] and isinstance(last["tool_input"], dict)
    return None if whole else last["tool_call_id"]


class ReplyStream(Protocol):
    """A decoder of one streamed answer: pure, fed with a provider's events as they come."""

    @property
    def failure(self) -> AgentFailure | None:
        """Why the stream failed; then nothing more is to be fed."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the provider said that the answer is whole."""
        ...

    def feed(self, batch: Sequence[Mapping[str, Any]]) -> list[Piece]:
        """Take events in order; return what to show, neighbours of one kind joined."""
        ...

    def reply(self) -> Reply:
        """The whole answer, once ``finished``."""
        ...


class Pieces:
    """Collects pieces, joining neighbours of one kind."""

    def __init__(self) -> None:
        self._done: list[Piece] = []
        self._parts: list[str] = []
        self._kind: Literal["text", "thinking"] = "text"

    def add(self, kind: Literal["text", "thinking"], text: str) -> None:
        if kind != self._kind:
            self._join()
            self._kind = kind
        self._parts.append(text)

    def event(self, original: Mapping[str, Any]) -> None:
        self._join()
        self._done.append(("event", dict(original)))

    def take(self) -> list[Piece]:
        self._join()
        return self._done

    def _join(self) -> None:
        if self._parts:
            self._done.append((self._kind, "".join(self._parts)))
            self._parts = []
