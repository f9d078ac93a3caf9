"""From the bytes of a child's standard output to events. Pure: no I/O, no clock.

``feed`` takes what one read returned and gives the events of all lines that it ended.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from typing import Protocol

from moorage.runtime.events import AGENT_TYPES, Data

LineEvent = tuple[str, Data, str | None]
"""(type, data, line): ``line`` is the text to fall back to if data turns out not to be plain."""

LineFunction = Callable[[str], tuple[str, Data] | None]
"""A line without its newline -> (type, data), or None for no event."""

RESULT_TYPE = "result"
"""No event, but the output of the run; the last one counts."""
NO_RESULT = object()


class Lines(Protocol):
    """One child's standard output. ``content`` and ``result`` are what the run returns."""

    @property
    def content(self) -> str | None: ...
    @property
    def content_truncated(self) -> bool: ...
    @property
    def result(self) -> object: ...

    def feed(self, chunk: bytes) -> list[LineEvent]: ...

    def finish(self) -> list[LineEvent]:
        """The events of a last line without newline."""
        ...


class LineSplitter:
    """Cuts bytes at newlines, and pieces of at most ``bytes_max`` out of longer lines."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()

    def feed(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """Pieces, and whether each ends its line. Newlines are kept, so that nothing is lost."""
        pieces: list[tuple[bytes, bool]] = []
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            if self._held or len(line) > self._bytes_max:
                self._hold(line, pieces)
                line = bytes(self._held)
                self._held.clear()
            pieces.append((line + b"\n", True))
        if rest:
            self._hold(rest, pieces)
        return pieces

    def finish(self) -> list[tuple[bytes, bool]]:
        last = bytes(self._held)
        self._held.clear()
        return [(last, True)] if last else []

    def _hold(self, part: bytes, pieces: list[tuple[bytes, bool]]) -> None:
        self._held += part
        while len(self._held) > self._bytes_max:
            pieces.append((bytes(self._held[: self._bytes_max]), False))
            del self._held[: self._bytes_max]


class TextLines:
    """Every line is a ``message_streamed`` whose delta ends with the newline that the line had.

    A line over the limit becomes several, all but the last marked ``partial``. The deltas joined
    are the whole output as text, invalid UTF-8 replaced; ``content`` is its beginning.
    """

    result: object = NO_RESULT

    def __init__(self, *, line_bytes_max: int, content_bytes_max: int) -> None:
        self._splitter = LineSplitter(line_bytes_max)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._kept: list[str] = []
        self._room_bytes = content_bytes_max
        self.content_truncated = False

    @property
    def content(self) -> str:
        return "".join(self._kept)

    def feed(self, chunk: bytes) -> list[LineEvent]:
        return [
            self._event(self._decode(piece), ended) for piece, ended in self._splitter.feed(chunk)
        ]

    def finish(self) -> list[LineEvent]:
        last = b"".join(piece for piece, _ in self._splitter.finish())
        text = self._decode(last, final=True)
        return [self._event(text, True)] if text else []

    def _event(self, text: str, ended: bool) -> LineEvent:
        if not self.content_truncated:
            self._keep(text)
        data = {"delta": text} if ended else {"delta": text, "partial": True}
        return "message_streamed", data, None

    def _keep(self, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode())
        if size > self._room_bytes:
            self.content_truncated = True
            text = text.encode()[: self._room_bytes].decode("utf-8", "ignore")
        self._room_bytes -= size
        self._kept.append(text)


class ParsedLines:
    """Every line is parsed by ``parse``; one over the limit is cut and kept as provider_event."""

    content: str | None = None
    content_truncated = False

    def __init__(self, parse: Callable[[str], LineEvent | None], *, line_bytes_max: int) -> None:
        self._parse = parse
        self._splitter = LineSplitter(line_bytes_max)
        self._long: bytes | None = None
        self._long_bytes = 0
        self.result: object = NO_RESULT

    def feed(self, chunk: bytes) -> list[LineEvent]:
        return self._events(self._splitter.feed(chunk))

    def finish(self) -> list[LineEvent]:
        # a line whose end was cut off right behind a piece still has to be told
        return self._events(self._splitter.finish() or ([(b"", True)] if self._long else []))

    def _events(self, pieces: list[tuple[bytes, bool]]) -> list[LineEvent]:
        events = (self._event(piece, ended) for piece, ended in pieces)
        return [event for event in events if event is not None]

    def _event(self, piece: bytes, ended: bool) -> LineEvent | None:
        if ended and self._long is None:
            line = piece.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            return self._kept(self._parse(line)) if line and not line.isspace() else None
        if self._long is None:
            self._long = piece
        self._long_bytes += len(piece)
        if not ended:
            return None
        data = {
            "line": self._long.decode("utf-8", "replace"),
            "truncated": True,
            "line_bytes": self._long_bytes,
        }
        self._long, self._long_bytes = None, 0
        return "provider_event", data, None

    def _kept(self, event: LineEvent | None) -> LineEvent | None:
        if event is not None and event[0] == RESULT_TYPE:
            self.result = event[1]
            return None
        return event


def json_lines(types: Mapping[str, str], *, line_bytes_max: int) -> ParsedLines:
    """JSON lines. ``types`` maps the child's types to ours, beside those that are ours already."""

    def parse(line: str) -> LineEvent | None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return "provider_event", {"line": line}, None
        if type(value) is dict and type(value.get("type")) is str:
            kind = value["type"]
            if kind in types:
                rest = {key: item for key, item in value.items() if key != "type"}
                return types[kind], value.get("data", rest), line
            if "data" in value and (kind == RESULT_TYPE or kind in AGENT_TYPES):
                return kind, value["data"], line
        return "provider_event", {"original": value}, line

    return ParsedLines(parse, line_bytes_max=line_bytes_max)


def function_lines(function: LineFunction, *, line_bytes_max: int) -> ParsedLines:
    """Lines through a function of the user's; what it returns is emitted as it is."""

    def parse(line: str) -> LineEvent | None:
        event = function(line)
        return None if event is None else (event[0], event[1], None)

    return ParsedLines(parse, line_bytes_max=line_bytes_max)
