"""Server-sent events whose data is JSON, read from chunks of bytes as the network brings them.

All that one chunk completes is parsed at once: a fast model sends dozens of events in a chunk, and
one call for all of them costs a third of one call each.
"""

from __future__ import annotations

import json
from typing import Any

from moorage.runtime.limits import MEBIBYTE

EVENT_BYTES_MAX = 16 * MEBIBYTE
"""How large one event may become before the stream is given up."""

QUOTED_CHARACTERS = 200
"""How much of unreadable data an error quotes."""

_END = b"[DONE]"


class UnreadableEvents(ValueError):
    """The stream is not what it claims to be; the message says why and quotes its beginning."""


class ServerEvents:
    """A parser that is fed chunks and returns the data of the events that they complete.

    Lines end with LF or CRLF. Names, ids and comments are passed over: everything that matters to
    the model APIs is in the data. ``[DONE]`` is no event: it says that all was said (``done``).

    ``failure`` says why the stream cannot be read on: data that is no JSON object, or an event that
    is larger than ``event_bytes_max``. What came before it is returned as ever.
    """

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.failure: UnreadableEvents | None = None
        self.done = False
        self._event_bytes_max = event_bytes_max
        self._rest = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """The events that are complete with this chunk, in order; none behind a failure."""
        if self.failure is not None:
            return []
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        complete: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line)
                self._data_bytes += len(line)
            elif self._data and line in (b"", b"\r"):
                self._finish(complete)
        if len(self._rest) + self._data_bytes > self._event_bytes_max:
            self.failure = UnreadableEvents(
                f"an event has more than {self._event_bytes_max} bytes and no end: "
                f"{_quoted(self._data[0] if self._data else self._rest)}"
            )
        return self._parsed(complete)

    def close(self) -> list[dict[str, Any]]:
        """The event that the end of the stream completes, if its last line came whole."""
        complete: list[bytes] = []
        if self._rest.startswith(b"data:"):
            self._data.append(self._rest)
        self._rest = b""
        if self._data:
            self._finish(complete)
        failure = self.failure
        events = self._parsed(complete)
        self.failure = failure  # cut in the middle of an event: what is missing shows in the reply
        return events

    def _finish(self, complete: list[bytes]) -> None:
        if len(self._data) == 1:
            data = self._data[0][5:].strip()
        else:
            data = b"\n".join(line[5:].strip() for line in self._data)
        self._data.clear()
        self._data_bytes = 0
        if data == _END:
            self.done = True
        elif data:
            complete.append(data)

    def _parsed(self, texts: list[bytes]) -> list[dict[str, Any]]:
        if not texts:
            return []
        try:
            events = json.loads((b"[" + b",".join(texts) + b"]").decode())
        except ValueError:
            events = []
        if len(events) == len(texts) and all(type(event) is dict for event in events):
            return events  # type: ignore[no-any-return]
        # one by one, where a text is no JSON or several in one, to find out which
        good: list[dict[str, Any]] = []
        try:
            for text in texts:
                good.append(_one(text))
        except UnreadableEvents as failure:
            self.failure = failure
            self.done = False  # the mark came behind it
        return good


def _one(text: bytes) -> dict[str, Any]:
    try:
        event = json.loads(text.decode())
    except ValueError as error:
        raise UnreadableEvents(f"an event is no JSON ({error}): {_quoted(text)}") from None
    if type(event) is not dict:
        raise UnreadableEvents(f"an event is no JSON object: {_quoted(text)}")
    return event


def _quoted(text: bytes) -> str:
    return repr(text[:QUOTED_CHARACTERS].decode("utf-8", "replace"))
