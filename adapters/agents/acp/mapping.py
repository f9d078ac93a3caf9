"""What an agent says over the Agent Client Protocol, as our events. Pure: no program, no clock.

The protocol streams pieces and never says that a message is whole, so a message ends where a call
of a tool, a message of another id or the end of the turn comes. It has no names of tools either:
their kinds ("execute", "read", ...) stand in for them, or their titles where a kind says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

Emitted = tuple[str, dict[str, Any]]
"""(type, data) of an event to emit; ``delta`` and ``thinking`` have {"text"} for the stream."""

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "agent_message_chunk": ("message_streamed", "message_received"),
    "agent_thought_chunk": ("message_streamed", "message_received"),
    "user_message_chunk": (),  # what we sent, or what session/load repeats
    "tool_call": ("message_received", "tool_call_started"),
    "tool_call_update": (
        "message_received",
        "tool_call_started",
        "tool_call_completed",
        "tool_call_failed",
    ),
    "usage_update": ("token_usage_updated", "provider_event"),
    "plan": ("provider_event",),
    "available_commands_update": ("provider_event",),
    "current_mode_update": ("provider_event",),
    "config_option_update": ("provider_event",),
    "session_info_update": ("provider_event",),
    "session/request_permission": (
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    ),
    "session/prompt result": ("message_received", "token_usage_updated", "turn_completed"),
    "*": ("provider_event",),
}
"""Kind of an update, method or answer -> types of our events."""

NAMELESS = (None, "", "other")


@attrs.define
class Call:
    """A tool call as far as it is known."""

    id: str
    title: str = ""
    kind: str | None = None
    input: Any = None
    content: list[Any] = attrs.field(factory=list)
    output: Any = None
    told: bool = False
    ended: bool = False

    @property
    def name(self) -> str:
        """What stands for the tool's name."""
        return self.title or "other" if self.kind in NAMELESS else str(self.kind)

    def learn(self, update: Mapping[str, Any]) -> None:
        """Take what an update says; what it leaves out stays."""
        # the first title is the nearest to a name: later ones describe what is being done
        self.title = self.title or str(update.get("title") or "")
        self.kind = update.get("kind") or self.kind
        if update.get("rawInput") is not None:
            self.input = update["rawInput"]
        if isinstance(update.get("content"), list):
            self.content = update["content"]
        if update.get("rawOutput") is not None:
            self.output = update["rawOutput"]

    def facts(self) -> dict[str, Any]:
        """What events of this call begin with."""
        return {"tool_call_id": self.id, "tool_name": self.name}

    def result(self) -> Any:
        """What it gave: its text, else its raw output, else its content as it came."""
        texts = [_text(_map(part).get("content")) for part in self.content]
        if texts and all(text is not None for text in texts):
            return "\n".join(text for text in texts if text is not None)
        return self.content if self.output is None else self.output


class AcpMapping:
    """Follows the updates of one turn and says what to emit for each, in order."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.turns = 0
        """How often the model has begun to speak, as far as can be told from outside."""
        self._calls: dict[str, Call] = {}
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._message_id: str | None = None
        self._speaking = False
        self._cost: float | None = 0.0

    def cost_unknown(self) -> None:
        """The session is continued: what its first cost contains of earlier runs is not known."""
        self._cost = None

    def call(self, call_id: str) -> Call | None:
        """What is known of a tool call."""
        return self._calls.get(call_id)

    def update(self, update: Mapping[str, Any]) -> list[Emitted]:
        """What to emit for the ``update`` of a ``session/update`` notification."""
        kind = update.get("sessionUpdate")
        if kind in ("agent_message_chunk", "agent_thought_chunk"):
            return self._chunk(update, thinking=kind == "agent_thought_chunk")
        if kind in ("tool_call", "tool_call_update"):
            return self._tool(update)
        if kind == "usage_update":
            return [*self._usage(update), self._kept(update)]
        return [] if kind == "user_message_chunk" else [self._kept(update)]

    def asked(self, tool_call: Mapping[str, Any]) -> list[Emitted]:
        """What to emit before the approval of ``tool_call`` is asked for: that it began."""
        call = self._known(tool_call)
        return self._begin(call)

    def finish(self, answer: Mapping[str, Any]) -> list[Emitted]:
        """What to emit when ``session/prompt`` was answered, without the turn's end."""
        events = self._begin_all()
        reason = answer.get("stopReason")
        events += self._message(stop_reason=reason if isinstance(reason, str) else None)
        if usage := usage_of(answer.get("usage")):
            events.append(("token_usage_updated", usage))
        return events

    def cut(self) -> list[Emitted]:
        """What to emit when the turn ended without an answer: what was said so far."""
        return self._begin_all() + self._message()

    def _chunk(self, update: Mapping[str, Any], *, thinking: bool) -> list[Emitted]:
        content = _map(update.get("content"))
        text = content.get("text")
        if not isinstance(text, str):
            return [self._kept(update)]
        events = self._begin_all()
        message_id = update.get("messageId")
        if message_id is not None and self._message_id not in (None, message_id):
            events += self._message()
        self._message_id = message_id if isinstance(message_id, str) else self._message_id
        self._speak()
        (self._thinking if thinking else self._text).append(text)
        return [*events, ("thinking" if thinking else "delta", {"text": text})]

    def _tool(self, update: Mapping[str, Any]) -> list[Emitted]:
        call = self._known(update)
        status = update.get("status")
        # Its first notice may come before its input is whole: it is told with the next one.
        waits = update.get("sessionUpdate") == "tool_call" and status in (None, "pending")
        self._speak()
        events = [] if waits else self._begin(call)
        if status not in ("completed", "failed") or call.ended:
            return events
        call.ended = True
        self._speaking = False
        if status == "completed":
            return [
                *events,
                ("tool_call_completed", {**call.facts(), "tool_output": call.result()}),
            ]
        message = call.result()
        error = {
            "code": "tool_failed",
            "message": message if isinstance(message, str) else "failed",
        }
        return [*events, ("tool_call_failed", {**call.facts(), "error": error})]

    def _known(self, update: Mapping[str, Any]) -> Call:
        call_id = str(update.get("toolCallId"))
        call = self._calls.setdefault(call_id, Call(call_id))
        call.learn(update)
        return call

    def _begin(self, call: Call) -> list[Emitted]:
        if call.told:
            return []
        call.told = True
        facts = {**call.facts(), "tool_input": {} if call.input is None else call.input}
        started = {**facts, **({"title": call.title} if call.title else {})}
        return [*self._message(calls=[facts]), ("tool_call_started", started)]

    def _begin_all(self) -> list[Emitted]:
        return [event for call in self._calls.values() for event in self._begin(call)]

    def _message(
        self, calls: Sequence[Mapping[str, Any]] = (), *, stop_reason: str | None = None
    ) -> list[Emitted]:
        text, thinking = "".join(self._text), "".join(self._thinking)
        self._text.clear()
        self._thinking.clear()
        message_id, self._message_id = self._message_id, None
        if not text and not thinking and not calls:
            return []
        data: dict[str, Any] = {"content": text}
        if stop_reason is not None:
            data["stop_reason"] = stop_reason
        if thinking or calls:
            data["blocks"] = [
                *([{"type": "thinking", "text": thinking}] if thinking else []),
                *([{"type": "text", "text": text}] if text else []),
                *({"type": "tool_call", **call} for call in calls),
            ]
        if calls:
            data["tool_calls"] = [dict(call) for call in calls]
        if message_id is not None:
            data["message_id"] = message_id
        return [("message_received", data)]

    def _speak(self) -> None:
        if not self._speaking:
            self._speaking = True
            self.turns += 1

    def _usage(self, update: Mapping[str, Any]) -> list[Emitted]:
        cost = _map(update.get("cost"))
        amount = cost.get("amount")
        if not isinstance(amount, int | float) or cost.get("currency") != "USD":
            return []
        before, self._cost = self._cost, float(amount)
        if before is None or amount <= before:
            return []
        return [("token_usage_updated", {"cost_usd": amount - before})]

    def _kept(self, update: Mapping[str, Any]) -> Emitted:
        return "provider_event", {"provider": self.provider, "original": dict(update)}


def usage_of(usage: object) -> dict[str, Any]:
    """Data of token_usage_updated for the usage in an answer, or an empty map without one."""
    counts = _map(usage)
    told = {
        "input_tokens": counts.get("inputTokens"),
        "output_tokens": counts.get("outputTokens"),
        "cache_read_tokens": counts.get("cachedReadTokens"),
        "cache_write_tokens": counts.get("cachedWriteTokens"),
        "reasoning_tokens": counts.get("thoughtTokens"),
    }
    known = {name: n for name, n in told.items() if type(n) is int and n >= 0}
    return known if any(known.values()) else {}


def _text(content: object) -> str | None:
    block = _map(content)
    text = block.get("text")
    return text if block.get("type") == "text" and isinstance(text, str) else None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
