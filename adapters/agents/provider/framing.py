"""Messages in a stream of bytes: a JSON object per line, or each behind a header of its length.

Pure: bytes in, events out. What is no JSON object becomes the event "garbage", like in
``process_lines``.
"""

from __future__ import annotations

import json
import re
from typing import Protocol

from ..process_lines import LineEvent, ParsedLines

HEADER_BYTES_MAX = 8_192
"""A header beyond that is none."""


class Framing(Protocol):
    """How messages are put into bytes, and found in them."""

    def frame(self, text: str) -> bytes:
        """The bytes of one message; ``text`` is JSON without newlines."""
        ...

    def feed(self, chunk: bytes) -> list[LineEvent]:
        """The messages that are whole with this chunk: ("message", object, None), or ("garbage",
        {"line": text, ...}, None)."""
        ...

    def finish(self) -> list[LineEvent]:
        """What is left at the end of the stream."""
        ...


class JsonLines:
    """A JSON object per line, of at most ``bytes_max`` bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._lines = ParsedLines(_parsed, line_bytes_max=bytes_max)

    def frame(self, text: str) -> bytes:
        return text.encode() + b"\n"

    def feed(self, chunk: bytes) -> list[LineEvent]:
        return self._lines.feed(chunk)

    def finish(self) -> list[LineEvent]:
        return self._lines.finish()


class LengthHeaders:
    """Each object behind ``Content-Length: N`` and an empty line, of at most ``bytes_max`` bytes.

    A message that is longer is passed over and told as garbage, and so is a line that is no header.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._announced: int | None = None
        self._missing: int | None = None
        self._skip = 0

    def frame(self, text: str) -> bytes:
        body = text.encode()
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    def feed(self, chunk: bytes) -> list[LineEvent]:
        self._buffer += chunk
        events: list[LineEvent] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> list[LineEvent]:
        rest, self._buffer = bytes(self._buffer), bytearray()
        return [_garbage(rest)] if rest.strip() else []

    def _step(self, events: list[LineEvent]) -> bool:
        """Take one line of a header, or one body. False if it is not whole yet."""
        if self._skip:
            count = min(self._skip, len(self._buffer))
            del self._buffer[:count]
            self._skip -= count
            return self._skip == 0
        if self._missing is None:
            return self._take_line(events)
        if len(self._buffer) < self._missing:
            return False
        body = bytes(self._buffer[: self._missing])
        del self._buffer[: self._missing]
        self._missing = None
        events.append(_parsed(body.decode("utf-8", "replace")))
        return True

    def _take_line(self, events: list[LineEvent]) -> bool:
        end = self._buffer.find(b"\n", 0, HEADER_BYTES_MAX)
        if end < 0 and len(self._buffer) < HEADER_BYTES_MAX:
            return False
        end = HEADER_BYTES_MAX if end < 0 else end + 1
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[:end]
        length = _HEADER.fullmatch(line)
        if length is not None:
            self._announced = int(length[1])
        elif not line and self._announced is not None:
            self._begin_body(self._announced, events)
        elif line and self._announced is None:
            events.append(_garbage(line))
        return True

    def _begin_body(self, length: int, events: list[LineEvent]) -> None:
        self._announced = None
        if length <= self._bytes_max:
            self._missing = length
            return
        self._skip = length
        events.append(("garbage", {"line": "", "truncated": True, "line_bytes": length}, None))


_HEADER = re.compile(rb"content-length:\s*(\d{1,12})", re.I)


def _parsed(text: str) -> LineEvent:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "garbage", {"line": text}, None
    if type(value) is not dict:
        return "garbage", {"line": text}, None
    return "message", value, None


def _garbage(line: bytes) -> LineEvent:
    return "garbage", {"line": line.decode("utf-8", "replace")}, None
