"""Reading the gateway's server-sent events: bytes in, what they say out. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import BufferFull, InvalidArgument
from moorage.runtime.events import Event
from moorage.runtime.reversible_json import event_from_json

from .errors import not_a_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Led:
    """A heartbeat; everything up to ``cursor`` has been sent, or filtered out."""

    cursor: int | None


@attrs.frozen
class Ended:
    """The server ends the stream, for a ``reason``, behind ``cursor``."""

    reason: str
    cursor: int


@attrs.frozen
class Failed:
    """The server ends the stream with a problem document."""

    document: dict[str, Any]


Item = Event | Led | Ended | Failed


class EventStreamReader:
    """Cuts one stream into what it says; holds the bytes of at most one unfinished event."""

    def __init__(self, *, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._left = bytearray()

    def feed(self, content: bytes) -> list[Item]:
        """What is complete by now, in order. Raises BufferFull for an event that is too large,
        and RequestRefused for what no gateway sends."""
        searched = len(self._left)
        self._left += content
        end = self._left.rfind(b"\n\n", max(0, searched - 1))
        if end < 0:
            if len(self._left) > self._event_bytes_max:
                raise BufferFull(
                    "event_bytes_max",
                    used=len(self._left),
                    limit=self._event_bytes_max,
                    remedy="raise the limit, or leave such events out with types=",
                )
            return []
        complete = bytes(self._left[:end])
        del self._left[: end + 2]
        try:
            return list(_items(complete))
        except (ValueError, KeyError, TypeError, InvalidArgument) as error:
            raise not_a_gateway(f"the stream cannot be read ({error!r:.200})") from error


def _items(content: bytes) -> Iterator[Item]:
    for block in content.split(b"\n\n"):
        name, id, data = "", None, b""
        for line in block.split(b"\n"):
            field, _, value = line.partition(b": ")
            if field == b"data":
                data = value
            elif field == b"id":
                id = int(value)
            elif field == b"event":
                name = value.decode()
        if data and not name:
            yield event_from_json(json.loads(data))
        elif name == "end":
            told = json.loads(data)
            yield Ended(told["reason"], told["after"])
        elif name == "problem":
            yield Failed(json.loads(data))
        elif block.startswith(b": heartbeat"):
            yield Led(id)
