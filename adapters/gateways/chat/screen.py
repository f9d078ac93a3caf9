"""The screen: what a conversation looks like. Events in, text out. Pure."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moorage.adapters.sinks.rendering import describe_output
from moorage.adapters.sinks.text import block, one_line, pretty, shorten, summary
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.messages import readable_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from moorage.runtime import Event
    from moorage.runtime.messages import Message

    from .situation import Question

WIDTH = 100
"""Of one line about a tool, where no terminal says another."""
INPUT_LINES_MAX = 20
"""Of a tool's input that is shown when somebody has to judge it."""
HISTORY_CHARS_MAX = 2_000
"""Of one message in a history."""
_SECOND_NS = 1_000_000_000

DIM, BOLD, RED, GREEN, YELLOW, CYAN = "2", "1", "31", "32", "33", "36"

USAGE_NAMES = {
    "input_tokens": "in",
    "output_tokens": "out",
    "reasoning_tokens": "reasoning",
    "cache_read_tokens": "read from cache",
    "cache_write_tokens": "written to cache",
}


class Screen:
    """Remembers whether a line is open, and what was streamed already."""

    def __init__(self, *, color: bool = False, width: int | None = None) -> None:
        self._color = color
        self._width = width or WIDTH
        self._open: tuple[str | None, str] | None = None
        self._said: Counter[str] = Counter()
        self._streamed: set[str] = set()
        self._typed = 0
        self._inputs: dict[str, Any] = {}

    @contextmanager
    def typed(self) -> Iterator[None]:
        """What is submitted within this block stands on the screen already, as it was typed."""
        self._typed += 1
        try:
            yield
        except BaseException:
            self._typed -= 1
            raise

    def show(self, events: Iterable[Event]) -> str:
        """The text of these events, which follow those of the last call."""
        parts: list[str] = []
        for event in events:
            inside = bool(event.metadata and event.metadata.get("parent_tool_call_id"))
            show = _SHOWS.get(event.type)
            if show is None or type(event.data) is not dict:
                continue
            if not inside:
                parts.append(show(self, event))
            elif event.type.startswith("tool_call_"):
                parts.append(self.close())
                lines = show(self, event).splitlines(keepends=True)
                parts += [f"  {line}" for line in lines]
        return "".join(parts)

    def line(self, text: str, style: str | None = None) -> str:
        """A line, or several, below whatever was open."""
        return self.close() + "".join(
            f"{self._paint(style, part)}\n" for part in block(text).split("\n")
        )

    def moved(self, *, open: bool) -> None:
        """The terminal itself has written: what was typed and ended with Enter, or, with the line
        left ``open``, the sign of a Ctrl-C."""
        self._open = (None, "") if open else None

    def close(self) -> str:
        """What ends an open line."""
        end = "" if self._open is None else "\n"
        self._open = None
        return end

    def _paint(self, style: str | None, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._color and style and text else text

    # ---- what is said ----

    def _submitted(self, event: Event) -> str:
        if self._typed:
            self._typed -= 1
        else:
            self._inputs[event.run_id or ""] = event.data.get("input")
        return ""

    def _started(self, event: Event) -> str:
        """A run that was typed before, or elsewhere, has its turn."""
        if event.run_id not in self._inputs:
            return ""
        said = readable_input(self._inputs.pop(event.run_id))
        text = said[-1].text if said else ""
        return self.line(f"> {shorten(text, HISTORY_CHARS_MAX)}", CYAN)

    def _sent(self, event: Event) -> str:
        if "steer_id" not in event.data:
            return ""
        content = event.data.get("content")
        return self.line(f"(told: {summary(content, self._width)})", DIM)

    def _delta(self, event: Event) -> str:
        text, style = event.data.get("delta"), None
        if not text:
            text, style = event.data.get("thinking"), DIM
        if type(text) is not str or not text:
            return ""
        kind = (event.run_id, style or "")
        before = self.close() if self._open not in (None, kind) else ""
        if style is None:
            self._streamed.add(event.run_id or "")
            self._said[event.run_id or ""] += 1
        head, newline, tail = block(text).rpartition("\n")
        shown = f"{self._paint(style, head)}{newline}{self._paint(style, tail)}"
        self._open = kind if tail else None
        return before + shown

    def _received(self, event: Event) -> str:
        """A whole message; what was streamed of it is there already."""
        run_id = event.run_id or ""
        text = event.data.get("content")
        streamed = run_id in self._streamed
        self._streamed.discard(run_id)
        if streamed or type(text) is not str or not text:
            return self.close()
        self._said[run_id] += 1
        return self.line(text)

    # ---- tools ----

    def _called(self, event: Event) -> str:
        data = event.data
        name = one_line(str(data.get("tool_name", "")))
        room = max(self._width - len(name) - 4, 20)
        given = summary(data.get("tool_input"), room)
        return self.close() + f"{self._paint(CYAN, f'* {name}')} {given}".rstrip() + "\n"

    def _returned(self, event: Event) -> str:
        seconds = event.data.get("duration_seconds")
        took = f" ({seconds:.1f} s)" if isinstance(seconds, float) and seconds >= 1 else ""
        result = self._shortened(event.data.get("tool_output"))
        return self.line(f"  = {result}{took}", DIM)

    def _shortened(self, value: Any) -> str:
        if type(value) is not str:
            return summary(value, self._width)
        lines = value.strip().split("\n")
        more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
        return summary(lines[0], self._width) + more

    def _problem(self, event: Event) -> str:
        problem = event.data.get("error", event.data)
        return self.line(f"  ! {describe_problem(problem, self._width)}", RED)

    def _recovered(self, event: Event) -> str:
        return self.line(f"  ({describe_problem(event.data, self._width)})", DIM)

    def _granted(self, event: Event) -> str:
        return self.line(f"  approved{_by(event.data)}", GREEN)

    def _denied(self, event: Event) -> str:
        reason = event.data.get("reason")
        why = f": {summary(reason, self._width)}" if reason else ""
        return self.line(f"  denied{_by(event.data)}{why}", YELLOW)

    def question(self, question: Question) -> str:
        """What has to be answered, in full as far as that is bearable."""
        data = question.data if isinstance(question.data, dict) else {}
        if question.request_id is None:
            asked = f"? {one_line(question.name)}"
            given = question.data
        else:
            asked = f"? may {one_line(str(data.get('tool_name', 'a tool')))} be used"
            given = data.get("tool_input")
        if given in (None, {}, ""):
            return self.line(asked, YELLOW)
        lines = (block(given) if isinstance(given, str) else pretty(given)).split("\n")
        if len(lines) > INPUT_LINES_MAX:
            left = len(lines) - INPUT_LINES_MAX
            lines = [*lines[:INPUT_LINES_MAX], f"... {left} more lines"]
        return self.line(asked, YELLOW) + "".join(f"  {line}\n" for line in lines)

    # ---- ends ----

    def _ended(self, event: Event) -> str:
        run_id = event.run_id or ""
        data = event.data
        self._inputs.pop(run_id, None)
        self._streamed.discard(run_id)
        said = self._said.pop(run_id, 0)
        text = self.close()
        if event.type != "run_completed":
            how = event.type.removeprefix("run_").replace("_", " ")
            problem = _describe_end(how, data.get("error"), 10 * self._width)
            style = RED if event.type in ("run_failed", "run_timed_out") else YELLOW
            text += self.line(f"{how}: {problem}" if problem else how, style)
        elif not said:
            text += self._output(data.get("output"))
        return text + self.line(f"({_usage(event)})", DIM)

    def _output(self, output: Any) -> str:
        """Of an agent that has said nothing by itself."""
        if isinstance(output, dict) and isinstance(output.get("content"), str):
            return self.line(output["content"].strip("\n")) if output["content"] else ""
        if isinstance(output, str):
            return self.line(output)
        shown = describe_output(output, 10 * self._width)
        return self.line(shown) if shown else ""

    def _requeued(self, event: Event) -> str:
        self._streamed.discard(event.run_id or "")
        return self.line("(interrupted; it starts again)", YELLOW)

    def _compacted(self, event: Event) -> str:
        return self.line("(what was said before is summed up for the model from here on)", DIM)

    # ---- history ----

    def history(self, messages: Iterable[Message]) -> str:
        """What was said, whole messages shortened to what a screen can take."""
        parts: list[str] = []
        for message in messages:
            for piece in message.blocks:
                parts.append(self._piece(message.role, piece))
        return "".join(parts)

    def _piece(self, role: str, piece: Mapping[str, Any]) -> str:
        kind = piece.get("type")
        if kind == "text":
            text = shorten(str(piece.get("text", "")), HISTORY_CHARS_MAX)
            if role in ("user", "system"):
                return self.line(f"> {text}", CYAN)
            return self.line(text)
        if kind == "tool_call":
            given = summary(piece.get("tool_input"), self._width)
            return self.line(f"* {piece.get('tool_name')} {given}".rstrip(), CYAN)
        if kind == "tool_result":
            sign = "!" if piece.get("is_error") else "="
            return self.line(f"  {sign} {self._shortened(piece.get('tool_output'))}", DIM)
        if kind == "thinking":
            return self.line(shorten(str(piece.get("text", "")), self._width), DIM)
        return self.line(f"[{kind}]", DIM)


def describe_problem(problem: Any, width: int) -> str:
    """``code: message`` of an error, as far as it has them."""
    if not isinstance(problem, dict):
        return summary(problem, width)
    known = [problem[name] for name in ("code", "message") if problem.get(name)]
    return summary(": ".join(map(str, known)), width)


def _describe_end(how: str, problem: Any, width: int) -> str:
    """Without a code that says no more than how the run ended."""
    if isinstance(problem, dict) and problem.get("code") in (how, f"run_{how}"):
        problem = {"message": problem.get("message")}
    return describe_problem(problem, width)


def _by(data: Mapping[str, Any]) -> str:
    by = data.get("by")
    return f" by {summary(by, 40)}" if by else ""


def _usage(event: Event) -> str:
    """How long it took, and what was used."""
    data = event.data
    facts: list[str] = []
    started = data.get("started_at_ns")
    if isinstance(started, int):
        facts.append(f"{(event.time_ns - started) / _SECOND_NS:.1f} s")
    usage = data.get("usage")
    if isinstance(usage, dict):
        facts += [
            f"{usage[name]:,} {what}" for name, what in USAGE_NAMES.items() if _counts(usage, name)
        ]
        if _counts(usage, "cost_usd"):
            facts.append(f"${usage['cost_usd']:.4f}")
    return ", ".join(facts) or "never started"


def _counts(usage: Mapping[str, Any], name: str) -> bool:
    return isinstance(usage.get(name), int | float) and usage[name] > 0


_SHOWS: Mapping[str, Callable[[Screen, Event], str]] = {
    "run_submitted": Screen._submitted,
    "run_started": Screen._started,
    "run_requeued": Screen._requeued,
    **dict.fromkeys(RUN_TERMINAL_TYPES, Screen._ended),
    "message_sent": Screen._sent,
    "message_streamed": Screen._delta,
    "message_received": Screen._received,
    "tool_call_started": Screen._called,
    "tool_call_completed": Screen._returned,
    "tool_call_failed": Screen._problem,
    "tool_approval_granted": Screen._granted,
    "tool_approval_denied": Screen._denied,
    "error_occurred": Screen._problem,
    "error_recovered": Screen._recovered,
    "context_compacted": Screen._compacted,
}
