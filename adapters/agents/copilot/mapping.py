"""From what Copilot's server tells (session.event notifications) to our events. Pure.

Copilot tells much that is about its program and not about the conversation, and it mirrors its
model calls, the whole history among them, in events of their own (``model.*``). Those become
nothing: kept, they would make the log grow with the square of the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..provider.provider_times import time_ns_of
from .session_failures import failure_of_call

if TYPE_CHECKING:
    from ..provider.steering import ReadSteer

PROVIDER = "copilot"

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "user.message": ("message_sent",),
    "assistant.message_delta": ("message_streamed",),
    "assistant.reasoning_delta": ("message_streamed",),
    "assistant.message": ("message_received",),
    "assistant.message.sub_agent": ("provider_event",),
    "assistant.reasoning": (),
    "assistant.usage": ("token_usage_updated",),
    "assistant.turn_retry": ("error_occurred", "error_recovered"),
    "assistant.*": (),
    "tool.execution_start": ("tool_call_started",),
    "tool.execution_complete": ("tool_call_completed", "tool_call_failed"),
    "tool.*": (),
    "permission.requested": (
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    ),
    "permission.*": (),
    "session.error": ("error_occurred",),
    "session.idle": ("turn_completed",),
    "session.start": (),
    "session.resume": (),
    "session.managed_settings_resolved": (),
    "session.skills_loaded": (),
    "session.mcp_servers_loaded": (),
    "session.tools_updated": (),
    "session.title_changed": (),
    "session.usage_info": (),
    "session.background_tasks_changed": (),
    "session.indexed_search": (),
    "system.message": (),
    "pending_messages.modified": (),
    "sandbox.decision": (),
    "model.*": (),
    "*": ("provider_event",),
}
"""Type of Copilot's event -> the types of the events it becomes.

Where it is (), another event that is mapped tells the same, or it is about the program. The
message_sent of a user.message is that of a steer. "*" is everything else.
"""

Mapped = tuple[str, dict[str, Any], dict[str, Any]]
"""(type, data, metadata) of an event. A message_streamed is a delta that is not coalesced yet."""
Found = tuple[str, dict[str, Any]]

_USAGE: Mapping[str, str] = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_tokens",
    "cacheWriteTokens": "cache_write_tokens",
    "reasoningTokens": "reasoning_tokens",
}
_ALWAYS = ("input_tokens", "output_tokens")


def kind_of(event: Mapping[str, Any]) -> str:
    """The key of EVENT_TABLE that an event falls under."""
    kind = str(event.get("type"))
    if kind == "assistant.message" and parent_of(event) is not None:
        return "assistant.message.sub_agent"
    if kind in EVENT_TABLE:
        return kind
    family = f"{kind.partition('.')[0]}.*"
    return family if family in EVENT_TABLE else "*"


def parent_of(event: Mapping[str, Any]) -> str | None:
    """The call that started the sub-agent of which an event tells, None for the main agent."""
    parent = data_of(event).get("parentToolCallId") or event.get("agentId")
    return parent if isinstance(parent, str) else None


def data_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event's own data; an empty map if it has none."""
    data = event.get("data")
    return data if isinstance(data, Mapping) else {}


class SessionReader:
    """Reads the events of one session.

    ``steers`` has what was said to a working session, by the id that the server gave it, until
    the server says that the model gets it; ``said`` has the ids of what the model got. ``turns``
    counts how often the model was asked, and ``asks_again`` says that it called tools and so will
    be asked once more. ``resting`` is set while the model has nothing more to do, and ``idle`` when
    its commands in the background have not either; ``error`` is what failed the session. ``calls``
    has what is known of each call by its id.
    """

    def __init__(self) -> None:
        self.steers: dict[str, ReadSteer] = {}
        self.said: set[str] = set()
        self.calls: dict[str, dict[str, Any]] = {}
        self.asks_again = False
        self.stop_reason: str | None = None
        self.turns = 0
        self.resting = False
        self.idle = False
        self.aborted = False
        self.error: Mapping[str, Any] = {}
        self._call_failure: Mapping[str, Any] = {}
        self._retrying: str | None = None

    def read(self, event: Mapping[str, Any]) -> list[Mapped]:
        """The events that an event of Copilot stands for."""
        kind = kind_of(event)
        type = str(event.get("type"))
        if type == "model.call_failure":
            self._call_failure = data_of(event)
        elif type == "assistant.turn_start" and parent_of(event) is None:
            self.resting = False
            self.turns += 1
        elif type == "assistant.idle" and parent_of(event) is None:
            self.resting = True
        metadata = _metadata(event)
        recovered: list[Mapped] = []
        if self._retrying is not None and type in ("assistant.message_start", "assistant.message"):
            code, self._retrying = self._retrying, None
            message = "Copilot goes on after an error"
            recovered = [("error_recovered", {"code": code, "message": message}, metadata)]
        if EVENT_TABLE[kind] == ("provider_event",):
            found = [("provider_event", {"provider": PROVIDER, "original": dict(event)})]
        else:
            reading = _READINGS.get(kind)
            found = [] if reading is None else reading(self, event)
        assert all(type in EVENT_TABLE[kind] for type, _ in found), f"{kind} became {found}"
        return [*recovered, *((type, data, metadata) for type, data in found)]

    def _said(self, event: Mapping[str, Any]) -> list[Found]:
        self.resting = self.idle = False
        self.error = {}
        id = str(data_of(event).get("messageId"))
        self.said.add(id)
        steer = self.steers.pop(id, None)
        return [] if steer is None else [steer.sent()]

    def _streamed(self, event: Mapping[str, Any]) -> list[Found]:
        if parent_of(event) is not None:
            return []
        return [("message_streamed", {"delta": _text(event, "deltaContent")})]

    def _thought(self, event: Mapping[str, Any]) -> list[Found]:
        if parent_of(event) is not None:
            return []
        return [("message_streamed", {"delta": "", "thinking": _text(event, "deltaContent")})]

    def _message(self, event: Mapping[str, Any]) -> list[Found]:
        data, text = data_of(event), _text(event, "content")
        told: dict[str, Any] = {"content": text, "message_id": _text(event, "messageId")}
        if isinstance(data.get("model"), str):
            told["model"] = data["model"]
        calls = _calls(data.get("toolRequests"))
        self.asks_again = bool(calls)
        if calls:
            told["tool_calls"] = calls
        if thought := _text(event, "reasoningText"):
            told["blocks"] = [{"type": "thinking", "text": thought}]
            if text:
                told["blocks"].append({"type": "text", "text": text})
        return [("message_received", told)]

    def _used(self, event: Mapping[str, Any]) -> list[Found]:
        counts = {ours: data_of(event).get(theirs) for theirs, ours in _USAGE.items()}
        known = {name: count for name, count in counts.items() if type(count) is int}
        cached = known.get("cache_read_tokens", 0) + known.get("cache_write_tokens", 0)
        if "input_tokens" in known:  # Copilot counts what came from a cache, ours do not
            known["input_tokens"] = max(0, known["input_tokens"] - cached)
        told = {name: count for name, count in known.items() if count or name in _ALWAYS}
        return [("token_usage_updated", told)] if told else []

    def _call_started(self, event: Mapping[str, Any]) -> list[Found]:
        call = _call(data_of(event), "toolName")
        self.calls[call["tool_call_id"]] = call
        return [("tool_call_started", call)]

    def _call_ended(self, event: Mapping[str, Any]) -> list[Found]:
        data = data_of(event)
        id = str(data.get("toolCallId"))
        name = self.calls[id]["tool_name"] if id in self.calls else str(data.get("toolName"))
        told: dict[str, Any] = {"tool_call_id": id, "tool_name": name}
        if data.get("success") is True:
            result = data.get("result")
            content = result.get("content") if isinstance(result, Mapping) else result
            return [("tool_call_completed", {**told, "tool_output": content})]
        error = data.get("error")
        error = error if isinstance(error, Mapping) else {"message": str(error)}
        code, message = str(error.get("code") or "failed"), str(error.get("message"))
        return [("tool_call_failed", {**told, "error": {"code": code, "message": message}})]

    def _retried(self, event: Mapping[str, Any]) -> list[Found]:
        failure = failure_of_call(self._call_failure)
        self._retrying = failure.code
        return [("error_occurred", failure.event())]

    def _failed(self, event: Mapping[str, Any]) -> list[Found]:
        self.error = data_of(event)
        return []  # the run fails of it, and the agent tells that

    def _idled(self, event: Mapping[str, Any]) -> list[Found]:
        self.idle = True
        self.aborted = data_of(event).get("aborted") is True
        reason = "interrupted" if self.aborted else "failed" if self.error else "end_turn"
        self.stop_reason = reason
        return [("turn_completed", {"stop_reason": reason, "turns": self.turns})]


_READINGS: Mapping[str, Any] = {
    "user.message": SessionReader._said,
    "assistant.message_delta": SessionReader._streamed,
    "assistant.reasoning_delta": SessionReader._thought,
    "assistant.message": SessionReader._message,
    "assistant.usage": SessionReader._used,
    "assistant.turn_retry": SessionReader._retried,
    "tool.execution_start": SessionReader._call_started,
    "tool.execution_complete": SessionReader._call_ended,
    "session.error": SessionReader._failed,
    "session.idle": SessionReader._idled,
}


def _metadata(event: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if (time_ns := time_ns_of(event.get("timestamp"))) is not None:
        metadata["provider_time_ns"] = time_ns
    if (parent := parent_of(event)) is not None:
        metadata["parent_tool_call_id"] = parent
    return metadata


def _calls(requests: object) -> list[dict[str, Any]]:
    if not isinstance(requests, list):
        return []
    return [_call(request, "name") for request in requests if isinstance(request, Mapping)]


def _call(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "tool_call_id": str(data.get("toolCallId")),
        "tool_name": str(data.get(name)),
        "tool_input": data.get("arguments"),
    }


def _text(event: Mapping[str, Any], key: str) -> str:
    text = data_of(event).get(key)
    return text if isinstance(text, str) else ""
