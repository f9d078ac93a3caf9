"""What all dialects share: the steps that a stream is played in, JSON, ids, estimates of tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .replies import Cut, HttpError, Part, Stall, Stop, Text, Thinking, ToolUse, Usage, split
from .twin_request import TwinRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Step = bytes | Stall | Cut
"""Bytes of a body, a silence, or the end of the connection."""

CHARACTERS_PER_TOKEN = 4


class Dialect(Protocol):
    """How one API writes a reply.

    ``whole`` is the JSON of a response that is not streamed, ``stream`` the steps of one that is,
    ``error`` the JSON of an error.
    """

    def whole(self, told: Told) -> dict[str, Any]: ...

    def stream(self, told: Told) -> Iterator[Step]: ...

    def error(self, error: HttpError) -> dict[str, Any]: ...


@attrs.frozen(kw_only=True)
class Told:
    """A reply together with what it answers. ``token`` makes ids unique beyond this server."""

    request: TwinRequest
    parts: tuple[Part, ...]
    token: str
    created: int

    @property
    def model(self) -> str:
        """The model that answers is the one that was asked."""
        return self.request.model or "twin"

    def id(self, prefix: str, index: int | None = None) -> str:
        """An id such as ``msg_twin_3fa9_0007``, with ``index`` where a reply has several."""
        end = "" if index is None else f"_{index}"
        return f"{prefix}_twin_{self.token}_{self.request.number:04}{end}"

    @property
    def stop_reason(self) -> str:
        """In Anthropic's words."""
        reason = "end_turn"
        for part in self.parts:
            if isinstance(part, Stop):
                return part.reason
            if isinstance(part, ToolUse):
                reason = "tool_use"
        return reason

    @property
    def usage(self) -> Usage:
        """What the script says; what it leaves open is estimated from the lengths."""
        given = next((part for part in self.parts if isinstance(part, Usage)), Usage())
        said = sum(
            len(part.arguments) if isinstance(part, ToolUse) else len(part.text)
            for part in self.parts
            if isinstance(part, Text | Thinking | ToolUse)
        )
        asked = len(self.request.body_bytes)
        return attrs.evolve(
            given,
            input_tokens=tokens(asked) if given.input_tokens is None else given.input_tokens,
            output_tokens=tokens(said) if given.output_tokens is None else given.output_tokens,
        )


def tokens(characters: int) -> int:
    """About how many tokens so many characters are, at least 1."""
    return max(1, characters // CHARACTERS_PER_TOKEN)


def dumps(value: Any) -> bytes:
    """JSON, compact, as bytes of UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


def event(name: str | None, value: Any) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + dumps(value) + b"\n\n"


def pieces(part: Text | Thinking | ToolUse, text: str) -> Iterator[str | Stall]:
    """The pieces that a part's text or arguments are streamed in, with the silences between."""
    for index, piece in enumerate(split(text, part.pieces)):
        if index and part.seconds_between:
            yield Stall(part.seconds_between)
        yield piece


def framed(found: Iterable[str | Stall], before: bytes, after: bytes) -> Iterator[Step]:
    """Each piece as a JSON string between the same bytes: what a fast stream is made of."""
    quoted = json.encoder.encode_basestring_ascii
    for piece in found:
        if isinstance(piece, str):
            yield before + quoted(piece).encode("ascii") + after
        else:
            yield piece
