"""MessageReader: one run of Claude Code as it is told line by line. No I/O, no clock.

``feed`` takes a parsed line and gives the events it becomes, in order. What the run needs to know
besides is in the reader's attributes: whether it is over, and how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from . import mapping
from .failures import failure_of_error, failure_of_retry
from .mapping import Mapped, mapping_at
from .putting_off import PutOff, put_off_by

if TYPE_CHECKING:
    from ..provider.approvals import ToolCall

MAIN = ""
"""Stands for the conversation itself where others are named by the call that started them."""


@attrs.define
class _Draft:
    """A message of the model of which not all is there yet."""

    message_id: object
    metadata: dict[str, Any]
    model: str | None
    parts: list[dict[str, Any]] = attrs.field(factory=list)
    stop_reason: str | None = None


@attrs.define
class _Call:
    """A tool call that has no result yet."""

    name: str
    metadata: dict[str, Any]
    started: float


class MessageReader:
    """Reads one run. ``baseline`` is what Claude Code has told of usage in earlier runs of its
    session, in the words of ``token_usage_updated``, which its totals include.
    """

    def __init__(self, baseline: Mapping[str, float] | None = None) -> None:
        self.session: str | None = None
        self.model: str | None = None
        self.result: dict[str, Any] | None = None
        """The last result, None before the first."""
        self.error: dict[str, Any] | None = None
        """The last message by which Claude Code told of an error of the model, as it came."""
        self.state: str | None = None
        """running, requires_action or idle; None if this Claude Code does not tell."""
        self.text = ""
        """Of the last message of the conversation itself, whole."""
        self.turns = 0
        self.calls_at_once: list[str] = []
        """Ids of the calls that the last whole message of the conversation itself makes."""
        self.transcribed = False
        """Whether what we said is in Claude Code's transcript, as far as that has been kept."""
        self.waiting: set[str] = set()
        """Ids of messages that we sent and that are not answered yet."""
        self._baseline = dict(baseline or {})
        self._told: dict[str, float] = {}
        self._drafts: dict[str, _Draft] = {}
        self._calls: dict[str, _Call] = {}
        self._begun: set[str] = set()
        self._denied: set[str] = set()
        self._usage: Mapping[str, Any] = {}
        self._retrying: str | None = None

    @property
    def over(self) -> bool:
        """Whether there is a result and Claude Code has nothing left to do for us."""
        return self.result is not None and not self.waiting and self.state in (None, "idle")

    @property
    def put_off(self) -> PutOff | None:
        """The call with which Claude Code has ended, as it was told to."""
        return put_off_by(self.result or {}, self.session)

    def go_on_with(self, call: ToolCall, now: float) -> None:
        """An earlier start has told this call, and its result comes now."""
        self._start(call.data(), self.metadata(), now)

    def feed(self, message: Mapping[str, Any], now: float) -> list[Mapped]:
        """The events of one parsed line; ``now`` in seconds, of any clock."""
        kind = mapping.kind_of(message)
        metadata = mapping.metadata_of(message)
        self.session = metadata.get("provider_session", self.session)
        match kind:
            case "assistant":
                return list(self._assistant(message, metadata, now))
            case "assistant.error":
                return self._assistant_error(message, metadata)
            case "user.tool_result":
                return list(self._tool_results(message, now))
            case "result":
                return list(self._result(message, metadata, now))
            case "system.api_retry":
                return self._retry(message, metadata)
            case "system.session_state_changed":
                self.state = str(message.get("state"))
                return []
            case "system.thinking_tokens":
                return []
            case "command_lifecycle" | "command_lifecycle.started":
                if message.get("state") not in ("queued", "started"):
                    self.waiting.discard(str(message.get("command_uuid")))
                return []
        if message.get("type") == "stream_event":
            return list(self._streamed(message, metadata, now))
        return [mapping.provider_event(dict(message), metadata)]

    def call_started(self, call: Mapping[str, Any], now: float) -> list[Mapped]:
        """A call of which Claude Code asks us before its message is whole."""
        draft = self._drafts.get(MAIN)
        metadata = draft.metadata if draft is not None else self.metadata()
        return self._start(call, metadata, now)

    def transcripted(self, entries: Iterable[object]) -> None:
        """Entries of the transcript have been kept."""
        self.transcribed = self.transcribed or any(
            isinstance(entry, Mapping) and entry.get("type") == "user" for entry in entries
        )

    def call_denied(self, tool_call_id: str) -> None:
        """Its result will be an error, and this is why."""
        self._denied.add(tool_call_id)

    def interrupted(self, reason: str) -> list[Mapped]:
        """The run ends here: what was cut off, and a result for each call that has none."""
        events = list(self._whole(None))
        for call_id, call in self._calls.items():
            error = {"code": "interrupted", "message": reason}
            data = {"tool_call_id": call_id, "tool_name": call.name, "error": error}
            events.append(("tool_call_failed", data, call.metadata))
        self._calls.clear()
        return events

    def _assistant(
        self, message: Mapping[str, Any], metadata: dict[str, Any], now: float
    ) -> Iterator[Mapped]:
        inner = mapping_at(message, "message")
        key = metadata.get("parent_tool_call_id", MAIN)
        model = inner.get("model")
        if key == MAIN and isinstance(model, str) and not model.startswith("<"):
            self.model = model  # in angle brackets: not of a model, but by Claude Code itself
        draft = self._drafts.get(key)
        if draft is None or draft.message_id != inner.get("id"):
            yield from self._whole(key, now)
            draft = _Draft(inner.get("id"), metadata, inner.get("model"))
            self._drafts[key] = draft
        draft.parts += mapping.content_of(message)
        draft.stop_reason = inner.get("stop_reason") or draft.stop_reason
        yield from self._recovered(metadata)

    def _assistant_error(
        self, message: Mapping[str, Any], metadata: dict[str, Any]
    ) -> list[Mapped]:
        self.error = dict(message)
        self._retrying = None
        return [("error_occurred", failure_of_error(message).event(), metadata)]

    def _streamed(
        self, message: Mapping[str, Any], metadata: dict[str, Any], now: float
    ) -> Iterator[Mapped]:
        if "parent_tool_call_id" in metadata:
            return  # a reader could not tell two streams apart; the whole message follows
        event = mapping_at(message, "event")
        delta = mapping_at(event, "delta")
        match event.get("type"):
            case "content_block_delta" if delta.get("type") == "text_delta":
                yield "message_streamed", {"delta": str(delta.get("text", ""))}, metadata
            case "content_block_delta" if delta.get("type") == "thinking_delta":
                thinking = str(delta.get("thinking", ""))
                yield "message_streamed", {"delta": "", "thinking": thinking}, metadata
            case "message_start":
                self._usage = mapping_at(event.get("message"), "usage")
                yield from self._recovered(metadata)
            case "message_delta":
                if (draft := self._drafts.get(MAIN)) is not None:
                    draft.stop_reason = delta.get("stop_reason") or draft.stop_reason
                yield from self._used({**self._usage, **mapping_at(event, "usage")}, metadata)
            case "message_stop":
                yield from self._whole(MAIN, now)

    def _used(self, usage: Mapping[str, Any], metadata: dict[str, Any]) -> Iterator[Mapped]:
        used = mapping.usage_of(usage)
        for name, value in used.items():
            self._told[name] = self._told.get(name, 0) + value
        if used:
            yield "token_usage_updated", dict(used), metadata

    def _whole(self, key: str | None, now: float = 0.0) -> Iterator[Mapped]:
        """The message of that conversation, or of all (None), is told: nothing more will come."""
        for name in list(self._drafts) if key is None else [key]:
            draft = self._drafts.pop(name, None)
            if draft is None:
                continue
            data = mapping.received(
                draft.parts,
                model=draft.model,
                stop_reason=draft.stop_reason,
                message_id=draft.message_id if isinstance(draft.message_id, str) else None,
            )
            if name == MAIN:
                self.text = data["content"]
                self.calls_at_once = [call["tool_call_id"] for call in data.get("tool_calls", ())]
            yield "message_received", data, draft.metadata
            for call in data.get("tool_calls", ()):
                yield from self._start(call, draft.metadata, now)

    def _start(self, call: Mapping[str, Any], metadata: dict[str, Any], now: float) -> list[Mapped]:
        call_id = call["tool_call_id"]
        if call_id in self._begun:
            return []
        self._begun.add(call_id)
        self._calls[call_id] = _Call(call["tool_name"], metadata, now)
        return [("tool_call_started", dict(call), metadata)]

    def _tool_results(self, message: Mapping[str, Any], now: float) -> Iterator[Mapped]:
        metadata = mapping.metadata_of(message)
        yield from self._whole(metadata.get("parent_tool_call_id", MAIN), now)
        for block in mapping.tool_results(message):
            call_id = block["tool_use_id"]
            call = self._calls.pop(call_id, None)
            if call is None:
                yield mapping.provider_event(dict(message), metadata)
                continue
            output = mapping.tool_output(block.get("content"))
            data = {"tool_call_id": call_id, "tool_name": call.name}
            if not block.get("is_error"):
                data |= {"tool_output": output, "duration_seconds": max(0.0, now - call.started)}
                yield "tool_call_completed", data, metadata
                continue
            code = "denied" if call_id in self._denied else "tool_failed"
            text = output if isinstance(output, str) else str(output)
            yield "tool_call_failed", data | {"error": {"code": code, "message": text}}, metadata

    def _retry(self, message: Mapping[str, Any], metadata: dict[str, Any]) -> list[Mapped]:
        failure = failure_of_retry(message)
        self._retrying = failure.code
        data = failure.event() | {"retryable": True}  # it is being retried
        if isinstance(delay := message.get("retry_delay_ms"), int | float):
            data["retry_after_seconds"] = delay / 1000
        return [("error_occurred", data, metadata)]

    def _recovered(self, metadata: dict[str, Any]) -> Iterator[Mapped]:
        if self._retrying is not None:
            data = {"code": self._retrying, "message": "the model answers again"}
            self._retrying = None
            yield "error_recovered", data, metadata

    def _result(
        self, message: Mapping[str, Any], metadata: dict[str, Any], now: float
    ) -> Iterator[Mapped]:
        yield from self._whole(None, now)
        self.result = dict(message)
        turns = message.get("num_turns")
        self.turns += turns if type(turns) is int else 0
        total = mapping.total_usage(message.get("modelUsage"))
        rest = mapping.increment(total, self._baseline, self._told)
        for name, value in rest.items():
            self._told[name] = self._told.get(name, 0) + value
        if rest:
            yield "token_usage_updated", dict(rest), metadata
        if self.put_off is not None:
            return  # its turn goes on when it is started again
        reason = message.get("stop_reason") or message.get("terminal_reason")
        data: dict[str, Any] = {"stop_reason": str(reason or message.get("subtype"))}
        if type(turns) is int:
            data["turns"] = turns
        yield "turn_completed", data, metadata

    def metadata(self) -> dict[str, Any]:
        """Metadata of an event that no message of Claude Code's stands behind."""
        return {"provider": mapping.PROVIDER} | (
            {"provider_session": self.session} if self.session is not None else {}
        )
