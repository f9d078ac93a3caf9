"""What a ModelTwin answers with: the parts of a reply, as data.

A reply is a sequence of parts, one part, or a str (which is ``Text``). Parts are played in order;
several ``ToolUse`` in one reply are parallel calls. Seconds are trio's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

STOP_REASONS = ("end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "pause_turn")
"""In Anthropic's words; the other dialects say the same in theirs."""

GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is no HTTP \x00\xff\r\n\r\n"


def _check_seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise InvalidArgument(
            f"{attribute.name} must be a finite number of seconds of at least 0, not {value!r}"
        )


def _check_text(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not str:
        raise InvalidArgument(f"{attribute.name} must be a str, not {value!r}")


def _check_name(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not str or not value:
        raise InvalidArgument(f"{attribute.name} must be a str that is not empty, not {value!r}")


def _check_bytes(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not bytes:
        raise InvalidArgument(f"{attribute.name} must be bytes, not {value!r}")


def _check_pieces(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidArgument(
            f"{attribute.name} must be None (by words) or a whole number of at least 1, "
            f"not {value!r}"
        )


def _check_tokens(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise InvalidArgument(
            f"{attribute.name} must be a whole number of tokens of at least 0, not {value!r}"
        )


def _check_status(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not int or not 400 <= value <= 599:
        raise InvalidArgument(f"{attribute.name} must be an HTTP error, 400 to 599, not {value!r}")


def _check_stop(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in STOP_REASONS:
        raise InvalidArgument(
            f"{attribute.name} must be one of {', '.join(STOP_REASONS)}, not {value!r}"
        )


def _check_input(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"{attribute.name} must be a map, not {value!r}; "
            "raw_arguments= takes arguments that are malformed on purpose"
        )
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{attribute.name} cannot be written as JSON: {error}") from error


def split(text: str, pieces: int | None) -> list[str]:
    """``text`` in so many pieces of about one length, or by words; joined they are the text.

    A text of fewer characters than ``pieces`` comes in one piece per character.
    """
    if pieces is None:
        return _words(text)
    length = len(text)
    count = min(pieces, length)
    return [text[i * length // count : (i + 1) * length // count] for i in range(count)]


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in text.split(" "):
        words.append(word + " ")
    words[-1] = words[-1][:-1]
    return [word for word in words if word]


@attrs.frozen
class Text:
    """Text of the assistant, streamed in ``pieces`` (None: by words), ``seconds_between`` apart.

    Raises InvalidArgument, as every part does, for a value outside of its range.
    """

    text: str = attrs.field(validator=_check_text)
    pieces: int | None = attrs.field(default=None, kw_only=True, validator=_check_pieces)
    seconds_between: float = attrs.field(default=0, kw_only=True, validator=_check_seconds)


@attrs.frozen
class Thinking:
    """Reasoning of the model before its answer: a thinking block, a reasoning summary, or
    ``reasoning_content``, by dialect; ``signature`` is given where the dialect has one."""

    text: str = attrs.field(validator=_check_text)
    signature: str = attrs.field(default="twin-signature", kw_only=True, validator=_check_text)
    pieces: int | None = attrs.field(default=None, kw_only=True, validator=_check_pieces)
    seconds_between: float = attrs.field(default=0, kw_only=True, validator=_check_seconds)


@attrs.frozen
class ToolUse:
    """The model calls the tool ``name``; ``id`` None makes one up.

    ``raw_arguments`` are sent instead of ``input``, as they are: also what is no JSON. A tool that
    the request declares as free text ("custom") is called with ``raw_arguments`` or, without
    those, with the one value of ``input``.
    """

    name: str = attrs.field(validator=_check_name)
    input: Mapping[str, Any] = attrs.field(factory=dict, validator=_check_input)
    id: str | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_name)
    )
    raw_arguments: str | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_text)
    )
    pieces: int | None = attrs.field(default=1, kw_only=True, validator=_check_pieces)
    seconds_between: float = attrs.field(default=0, kw_only=True, validator=_check_seconds)

    @property
    def arguments(self) -> str:
        """What goes over the wire."""
        if self.raw_arguments is not None:
            return self.raw_arguments
        return json.dumps(self.input, ensure_ascii=False)

    @property
    def free_text(self) -> str:
        """What goes over the wire to a tool that takes text instead of JSON."""
        if self.raw_arguments is None and len(self.input) == 1:
            (value,) = self.input.values()
            if isinstance(value, str):
                return value
        return self.arguments


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens that the reply tells of, instead of an estimate from the lengths of the texts.

    ``input_tokens`` are those outside of any cache; OpenAI's dialects are told the sum with
    ``cache_read_tokens`` and ``cache_write_tokens``, as they count.
    """

    input_tokens: int | None = attrs.field(default=None, validator=_check_tokens)
    output_tokens: int | None = attrs.field(default=None, validator=_check_tokens)
    cache_read_tokens: int = attrs.field(default=0, validator=_check_tokens)
    cache_write_tokens: int = attrs.field(default=0, validator=_check_tokens)
    reasoning_tokens: int = attrs.field(default=0, validator=_check_tokens)


@attrs.frozen
class Stop:
    """Why the model stopped, if not for its calls ("tool_use") or its end ("end_turn")."""

    reason: str = attrs.field(validator=_check_stop)


@attrs.frozen
class HttpError:
    """An error of the provider, in the dialect's own body.

    First in a reply (behind stalls at most) it is the response's status; later it is the error
    event of a stream (``[Usage(), HttpError(529)]`` is a stream of nothing but the error).

    ``kind`` is the provider's word for it (Anthropic's ``error.type``, OpenAI's ``error.code``);
    None takes the usual one of the status. "context_overflow" is special: each dialect then says
    in its own words that the prompt is too long. ``retry_after`` (seconds) and ``headers`` go into
    the head; ``body`` replaces the dialect's body.
    """

    status: int = attrs.field(validator=_check_status)
    message: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_check_text)
    )
    kind: str | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_name)
    )
    retry_after: float | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_seconds)
    )
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    body: bytes | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_check_bytes)
    )


@attrs.frozen
class Stall:
    """Silence: for ``seconds``, or, with None, until the client leaves."""

    seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_check_seconds)
    )


@attrs.frozen
class Cut:
    """The connection ends here: before the head if it comes first, else in mid-stream.

    ``reset`` makes it a TCP reset; without it the connection is closed as if all had been said.
    """

    reset: bool = attrs.field(default=True, kw_only=True)


@attrs.frozen
class Garbage:
    """Bytes that are no protocol: instead of HTTP if they come first (then the connection is
    closed), else as they are in the middle of the body."""

    data: bytes = attrs.field(default=GARBAGE, validator=_check_bytes)


Part = Text | Thinking | ToolUse | Usage | Stop | HttpError | Stall | Cut | Garbage
Reply = str | Part | Sequence["str | Part"]
PARTS = (Text, Thinking, ToolUse, Usage, Stop, HttpError, Stall, Cut, Garbage)


def parts_of(reply: object) -> tuple[Part, ...]:
    """The parts of a reply in any of its forms. Raises InvalidArgument if it is none."""
    if isinstance(reply, str):
        return (Text(reply),)
    if isinstance(reply, PARTS):
        return (reply,)
    if isinstance(reply, Sequence) and not isinstance(reply, bytes | bytearray):
        return tuple(_part(item) for item in reply)
    raise InvalidArgument(
        f"a reply must be a str, a part such as Text, or a sequence of those, not {reply!r}"
    )


def _part(item: object) -> Part:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, PARTS):
        return item
    raise InvalidArgument(
        f"a part of a reply must be a str or one of {', '.join(p.__name__ for p in PARTS)}, "
        f"not {item!r}"
    )
