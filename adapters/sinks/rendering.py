"""Renderers: events in, text out. They keep no events and never do I/O.

``compact`` is one line per event, streamed text flows together and so do streamed thoughts;
``verbose`` shows all of an event; ``jsonl`` is one reversible JSON object per line,
``jsonl-compact`` the same in less room, and ``text`` passes through what agents say. ``render`` may
leave a line open that the next call continues; ``finish`` closes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import RUN_TERMINAL_TYPES, SESSION_TYPES
from moorage.runtime.reversible_json import dump_line, event_to_json

from .compact_lines import CompactLinesRenderer
from .pass_through import PassThroughRenderer
from .text import clock, flowing, one_line, pretty, shorten, summary, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from moorage.runtime.events import Event

Format = Literal["compact", "verbose", "jsonl", "jsonl-compact", "text"]
FORMATS: tuple[Format, ...] = ("compact", "verbose", "jsonl", "jsonl-compact", "text")
FOR_PROGRAMS: frozenset[Format] = frozenset({"jsonl", "jsonl-compact", "text"})
"""Formats to which nothing may be added."""

_RUN_CHARS = 6
"""Of a run's id, from its random end: enough to tell runs of a screen apart."""
_SUMMARY_CHARS = 200
_PREFIX_CHARS = 48
"""Of a compact line before its summary."""
_SECOND_NS = 1_000_000_000
_THINKS = "thinking: "
"""In front of a thought, which without colours looks like what is said."""


class Renderer(Protocol):
    """Turns events into text."""

    def render(self, events: Iterable[Event]) -> str:
        """The text of these events, which follow those of the last call."""
        ...

    def finish(self) -> str:
        """What is left to write when no more events come."""
        ...


def renderer(
    format: str,
    *,
    color: bool = False,
    zone: tzinfo | None = None,
    width: int | None = None,
    raw: bool = False,
) -> Renderer:
    """A renderer by the name of its format. Times are in ``zone`` (None: local time); compact
    lines are cut to ``width`` characters, except streamed text. ``raw`` leaves in passed-through
    text what a terminal would act upon.

    Raises InvalidArgument for an unknown format.
    """
    if format == "compact":
        return CompactRenderer(color=color, zone=zone, width=width)
    if format == "verbose":
        return VerboseRenderer(color=color, zone=zone)
    if format == "jsonl":
        return JsonLinesRenderer()
    if format == "jsonl-compact":
        return CompactLinesRenderer()
    if format == "text":
        return PassThroughRenderer(raw=raw)
    raise InvalidArgument(f"format must be one of {', '.join(FORMATS)}, not {format!r}")


class JsonLinesRenderer:
    """One object per line, see reversible_json for the keys."""

    def render(self, events: Iterable[Event]) -> str:
        return "".join([dump_line(event_to_json(event)) for event in events])

    def finish(self) -> str:
        return ""


_DIM = "2"
_CODES = {
    "message_streamed": _DIM,
    "run_completed": "32",
    "run_failed": "31",
    "run_timed_out": "31",
    "run_interrupted": "33",
    "run_cancelled": "33",
    "run_cancel_requested": "33",
    "run_requeued": "33",
    "error_occurred": "31",
    "tool_call_failed": "31",
}


class _Paint:
    """Terminal attributes by hand: rich takes ten times as long, and a backlog may be long."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, code: str | None, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and code and text else text

    def type(self, event: Event, text: str) -> str:
        code = _CODES.get(event.type)
        if code is None:
            code = "36" if event.type in SESSION_TYPES else None
        return self(code, text)


class CompactRenderer:
    """``seq time run type summary``; the deltas of a run flow on in one line, and so does what it
    thinks, in a line that says so."""

    def __init__(
        self, *, color: bool = False, zone: tzinfo | None = None, width: int | None = None
    ) -> None:
        self._paint = _Paint(color)
        self._room = _SUMMARY_CHARS if width is None else max(width - _PREFIX_CHARS, 20)
        self._zone = zone
        self._flowing: tuple[str | None, bool] | None = None
        """The run, and whether it thinks."""
        self._open = False

    def render(self, events: Iterable[Event]) -> str:
        parts: list[str] = []
        for event in events:
            if event.type == "message_streamed" and isinstance(event.data, dict):
                delta = event.data.get("delta")
                if isinstance(delta, str):
                    thought = event.data.get("thinking")
                    if isinstance(thought, str):
                        self._flow(event, thought, True, parts)
                    self._flow(event, delta, False, parts)
                    continue
            self._close(parts)
            text = shorten(_describe(event), self._room)
            parts.append(f"{self._begin(event)} {text}".rstrip() + "\n")
        return "".join(parts)

    def finish(self) -> str:
        parts: list[str] = []
        self._close(parts)
        return "".join(parts)

    def _begin(self, event: Event) -> str:
        paint = self._paint
        time = paint(_DIM, clock(event.time_ns, self._zone))
        run_id = one_line(event.run_id or "-")[-_RUN_CHARS:]
        run = paint(_DIM, f"{run_id:>{_RUN_CHARS}}")
        type = paint.type(event, f"{one_line(event.type):<20}")
        return f"{event.seq:>6} {time} {run} {type}"

    def _flow(self, event: Event, text: str, thinks: bool, parts: list[str]) -> None:
        if not text:  # a thought comes with an empty delta, which must not end its line
            return
        kind = (event.run_id, thinks)
        if self._open and self._flowing != kind:
            self._close(parts)
        self._flowing = kind
        style = _DIM if thinks else None
        for number, line in enumerate(text.split("\n")):
            if number:
                self._close(parts)
            if line:
                if not self._open:
                    parts.append(self._begin(event) + " ")
                    parts.append(self._paint(style, _THINKS) if thinks else "")
                    self._open = True
                parts.append(self._paint(style, flowing(line)))

    def _close(self, parts: list[str]) -> None:
        if self._open:
            parts.append("\n")
            self._open = False


class VerboseRenderer:
    """A heading with full id and time, then all of the data."""

    def __init__(self, *, color: bool = False, zone: tzinfo | None = None) -> None:
        self._paint = _Paint(color)
        self._zone = zone

    def render(self, events: Iterable[Event]) -> str:
        parts: list[str] = []
        for event in events:
            type = self._paint.type(event, one_line(event.type))
            facts = [timestamp(event.time_ns, self._zone)]
            if event.run_id is not None:
                facts.append(one_line(event.run_id))
            if event.version != 1:
                facts.append(f"version {event.version}")
            parts.append(f"#{event.seq} {type}  {self._paint(_DIM, '  '.join(facts))}\n")
            if event.data is not None and event.data != {}:
                parts.append(_indented(pretty(event.data)))
            if event.metadata:
                parts.append(_indented("metadata " + pretty(event.metadata)))
        return "".join(parts)

    def finish(self) -> str:
        return ""


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.split("\n"))


def _describe(event: Event) -> str:
    """What happened, in a few words."""
    data = event.data
    if not isinstance(data, dict):
        return summary(data, _SUMMARY_CHARS)
    if event.type == "run_submitted":
        return summary(data.get("input"), _SUMMARY_CHARS)
    if event.type in ("run_started", "run_requeued"):
        return f"attempt {data.get('attempt')}"
    if event.type in RUN_TERMINAL_TYPES:
        return _describe_end(event)
    if event.type == "run_cancel_requested":
        return _problem(data.get("error"))
    if event.type == "error_occurred" and "message" in data:
        return _problem(data)
    for name in ("content", "text"):
        # a message without text has something else: tool calls, or blocks
        text = data.get(name)
        if event.type.startswith("message_") and isinstance(text, str) and text:
            return summary(text, _SUMMARY_CHARS)
    return summary(data, _SUMMARY_CHARS)


def _describe_end(event: Event) -> str:
    data = event.data
    started = data.get("started_at_ns")
    took = f"{(event.time_ns - started) / _SECOND_NS:.2f} s" if isinstance(started, int) else ""
    if event.type == "run_completed":
        what = describe_output(data.get("output"))
    else:
        what = _problem(data.get("error"))
    return "  ".join(part for part in (took, what) if part)


def describe_output(output: object, width: int = _SUMMARY_CHARS) -> str:
    """A run's output in a few words: its text if it has some, without what every run has."""
    if isinstance(output, dict) and isinstance(output.get("content"), str) and output["content"]:
        return summary(output["content"].strip(), width)
    return summary(output, width)


def _problem(problem: object) -> str:
    if not isinstance(problem, dict):
        return summary(problem, _SUMMARY_CHARS)
    return summary(f"{problem.get('code', '')}: {problem.get('message', '')}", _SUMMARY_CHARS)
