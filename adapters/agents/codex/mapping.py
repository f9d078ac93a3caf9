"""From what Codex's app server tells (notifications) to our events. Pure.

Codex tells of items (a message, a command, a change of files) that start, stream and complete. Only
what belongs to our own turn is mapped: when a thread is resumed the server repeats the last usage
of the turn before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .tool_items import TOOL_ITEMS, started_call, tool_result
from .turn_failures import failure_of_error

if TYPE_CHECKING:
    from ..provider.steering import ReadSteer

PROVIDER = "codex"

_CALL_ENDED = ("tool_call_started", "tool_call_completed", "tool_call_failed")
_APPROVAL = ("tool_approval_requested", "tool_approval_granted", "tool_approval_denied")

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "thread/started": (),
    "thread/status/changed": (),
    "thread/tokenUsage/updated": ("token_usage_updated",),
    "turn/started": (),
    "turn/completed": ("turn_completed",),
    "error.retrying": ("error_occurred", "error_recovered"),
    "error": ("error_occurred",),
    "item/agentMessage/delta": ("message_streamed",),
    "item/reasoning/summaryTextDelta": ("message_streamed",),
    "item/reasoning/textDelta": ("message_streamed",),
    "item/reasoning/summaryPartAdded": (),
    "item/started.userMessage": ("message_sent",),
    "item/started.agentMessage": (),
    "item/started.reasoning": (),
    "item/started.commandExecution": ("tool_call_started",),
    "item/started.fileChange": ("tool_call_started",),
    "item/started.mcpToolCall": ("tool_call_started",),
    "item/started.dynamicToolCall": ("tool_call_started",),
    "item/started.collabAgentToolCall": ("tool_call_started",),
    "item/started.webSearch": ("tool_call_started",),
    "item/started": (),
    "item/completed.userMessage": (),
    "item/completed.agentMessage": ("message_received",),
    "item/completed.reasoning": ("message_received",),
    "item/completed.commandExecution": _CALL_ENDED,
    "item/completed.fileChange": _CALL_ENDED,
    "item/completed.mcpToolCall": _CALL_ENDED,
    "item/completed.dynamicToolCall": _CALL_ENDED,
    "item/completed.collabAgentToolCall": _CALL_ENDED,
    "item/completed.webSearch": _CALL_ENDED,
    "item/commandExecution/outputDelta": (),
    "item/commandExecution/requestApproval": _APPROVAL,
    "item/fileChange/requestApproval": _APPROVAL,
    "item/fileChange/outputDelta": (),
    "item/fileChange/patchUpdated": (),
    "item/mcpToolCall/progress": (),
    "item/plan/delta": (),
    "serverRequest/resolved": (),
    "turn/diff/updated": (),
    "account/rateLimits/updated": (),
    "remoteControl/status/changed": (),
    "*": ("provider_event",),
}
"""What Codex tells, the type of an item behind a dot -> the types of the events it becomes.

Where it is (), another notification that is mapped tells the same, or it is about the program and
not about the conversation. Reasoning is a block of the next message_received, and the message_sent
of a userMessage is that of a steer. "*" is everything else.
"""

Mapped = tuple[str, dict[str, Any], dict[str, Any]]
"""(type, data, metadata) of an event. A message_streamed is a delta that is not coalesced yet."""
Found = tuple[str, dict[str, Any]]

_USAGE: Mapping[str, str] = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cachedInputTokens": "cache_read_tokens",
    "cacheWriteInputTokens": "cache_write_tokens",
    "reasoningOutputTokens": "reasoning_tokens",
}
_STOP_REASONS: Mapping[str, str] = {"completed": "end_turn"}


def kind_of(method: str, params: Mapping[str, Any]) -> str:
    """The key of EVENT_TABLE that a notification falls under."""
    special = method
    if method in ("item/started", "item/completed"):
        special = f"{method}.{mapping_at(params, 'item').get('type')}"
    elif method == "error" and params.get("willRetry") is True:
        special = "error.retrying"
    if special in EVENT_TABLE:
        return special
    return method if method in EVENT_TABLE else "*"


def mapping_at(value: object, key: str) -> Mapping[str, Any]:
    """``value[key]`` where both are maps, else an empty one: a server's data may lack anything."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


class TurnReader:
    """Reads the notifications of one turn after the other in one thread.

    ``steers`` has what was said to a running turn, by the id that was sent with it, until the
    server says that the model gets it. ``turns`` counts how often the model has answered, and
    ``asks_again`` says that it called tools and so will be asked once more. ``calls`` and
    ``actions`` have what is known of each call by its id.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.turn_id: str | None = None
        self.model: str | None = None
        self.turns = 0
        self.status: str | None = None
        self.stop_reason: str | None = None
        self.error: Mapping[str, Any] = {}
        self.steers: dict[str, ReadSteer] = {}
        self.asks_again = False
        self.calls: dict[str, dict[str, Any]] = {}
        self.actions: dict[str, Any] = {}
        self._counted: Mapping[str, int] | None = None
        self._thinking: list[str] = []
        self._retrying: str | None = None
        self._called = False

    def read(self, method: str, params: Mapping[str, Any]) -> list[Mapped]:
        """The events that a notification stands for."""
        kind = kind_of(method, params)
        if method == "turn/started" and params.get("threadId") == self.thread_id:
            self.turn_id = str(mapping_at(params, "turn").get("id"))
            self.error = {}
        if kind == "thread/tokenUsage/updated":
            return self._events(kind, self._used(params), params)
        if self._foreign(params):
            return []
        if kind == "*":
            data = {"provider": PROVIDER, "original": {"method": method, "params": dict(params)}}
            return self._events(kind, [("provider_event", data)], params)
        reading = _READINGS.get(kind.partition(".")[0])
        found = [] if reading is None or not EVENT_TABLE[kind] else reading(self, params)
        if self._retrying is not None and method.startswith("item/"):
            recovered = {"code": self._retrying, "message": "Codex goes on after an error"}
            self._retrying = None
            return [("error_recovered", recovered, {}), *self._events(kind, found, params)]
        return self._events(kind, found, params)

    def _foreign(self, params: Mapping[str, Any]) -> bool:
        turn = params.get("turnId", mapping_at(params, "turn").get("id"))
        thread = params.get("threadId", self.thread_id)
        return thread != self.thread_id or (turn is not None and turn != self.turn_id)

    def _events(self, kind: str, found: list[Found], params: Mapping[str, Any]) -> list[Mapped]:
        assert all(type in EVENT_TABLE[kind] for type, _ in found), f"{kind} became {found}"
        metadata = _times(params)
        return [(type, data, metadata) for type, data in found]

    def _used(self, params: Mapping[str, Any]) -> list[Found]:
        """Codex tells the sum over the thread, and repeats it; we tell what was added."""
        usage = mapping_at(params, "tokenUsage")
        total = {name: _count(mapping_at(usage, "total"), name) for name in _USAGE}
        before, self._counted = self._counted, total
        if self._foreign(params):
            return []
        if before is None:
            before = {n: total[n] - _count(mapping_at(usage, "last"), n) for n in _USAGE}
        added = {ours: total[name] - before.get(name, 0) for name, ours in _USAGE.items()}
        if not any(added.values()):
            return []
        cached = added["cache_read_tokens"] + added["cache_write_tokens"]
        added["input_tokens"] = max(0, added["input_tokens"] - cached)  # as ours count
        self.turns += 1
        self.asks_again, self._called = self._called, False
        optional = {name for name in added if name not in ("input_tokens", "output_tokens")}
        data = {name: n for name, n in added.items() if n or name not in optional}
        return [("token_usage_updated", data)]

    def _streamed(self, params: Mapping[str, Any]) -> list[Found]:
        return [("message_streamed", {"delta": _text(params, "delta")})]

    def _thought(self, params: Mapping[str, Any]) -> list[Found]:
        return [("message_streamed", {"delta": "", "thinking": _text(params, "delta")})]

    def _item_started(self, params: Mapping[str, Any]) -> list[Found]:
        item = mapping_at(params, "item")
        if item.get("type") == "userMessage":
            steer_id = item.get("clientId")
            if steer_id not in self.steers:
                return []
            return [self.steers.pop(steer_id).sent()]
        self._called = True
        call = self.calls[str(item.get("id"))] = started_call(item)
        self.actions[call["tool_call_id"]] = item.get("commandActions")
        return [("tool_call_started", call)]

    def _item_completed(self, params: Mapping[str, Any]) -> list[Found]:
        item = mapping_at(params, "item")
        if item.get("type") == "reasoning":
            parts = item.get("summary") or item.get("content") or []
            self._thinking += [part for part in parts if isinstance(part, str)]
            return []
        if item.get("type") == "agentMessage":
            return [("message_received", self._message(item))]
        self._called = True
        # told as started again: some items only complete, and the report leaves out the second
        return [("tool_call_started", started_call(item)), tool_result(item)]

    def _message(self, item: Mapping[str, Any]) -> dict[str, Any]:
        text = _text(item, "text")
        thoughts, self._thinking = self._thinking, []
        data: dict[str, Any] = {"content": text, "message_id": _text(item, "id")}
        if self.model is not None:
            data["model"] = self.model
        if thoughts:
            data["blocks"] = [{"type": "thinking", "text": "\n\n".join(thoughts)}]
            data["blocks"].append({"type": "text", "text": text})
        return data

    def _error(self, params: Mapping[str, Any]) -> list[Found]:
        error = mapping_at(params, "error")
        if params.get("willRetry") is True:
            failure = failure_of_error(error)
            self._retrying = failure.code
            return [("error_occurred", failure.event())]
        self.error = error
        return []  # the run fails of it, and the agent tells that

    def _turn_completed(self, params: Mapping[str, Any]) -> list[Found]:
        turn = mapping_at(params, "turn")
        self.status = str(turn.get("status"))
        failed = self.status == "failed"
        self.error = (mapping_at(turn, "error") or self.error) if failed else {}
        self.stop_reason = _STOP_REASONS.get(self.status, self.status)
        return [("turn_completed", {"stop_reason": self.stop_reason, "turns": self.turns})]


_READINGS: Mapping[str, Any] = {
    "item/agentMessage/delta": TurnReader._streamed,
    "item/reasoning/summaryTextDelta": TurnReader._thought,
    "item/reasoning/textDelta": TurnReader._thought,
    "item/started": TurnReader._item_started,
    "item/completed": TurnReader._item_completed,
    "error": TurnReader._error,
    "turn/completed": TurnReader._turn_completed,
}

assert all(f"item/completed.{kind}" in EVENT_TABLE for kind in TOOL_ITEMS)


def _times(params: Mapping[str, Any]) -> dict[str, Any]:
    """The server's own time of an item, in the words of our metadata."""
    time_ms = params.get("completedAtMs", params.get("startedAtMs"))
    return {"provider_time_ns": time_ms * 1_000_000} if type(time_ms) is int else {}


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if type(value) is int else 0


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""
