"""What the Messages API streams, as our events: pure, tested without the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model_api.arguments import parsed_arguments
from ..model_api.reply import Piece, Pieces, Reply
from ..provider.failures import AgentFailure, ProtocolViolated, failure_of_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROVIDER = "anthropic"

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "message_start": (),
    "content_block_start": (),
    "content_block_delta.text_delta": ("message_streamed",),
    "content_block_delta.thinking_delta": ("message_streamed",),
    "content_block_delta.signature_delta": (),
    "content_block_delta.input_json_delta": (),
    "content_block_delta.*": ("provider_event",),
    "content_block_stop.text": (),
    "content_block_stop.thinking": (),
    "content_block_stop.redacted_thinking": (),
    "content_block_stop.tool_use": (),
    "content_block_stop.*": ("provider_event",),
    "message_delta": (),
    "message_stop": ("message_received", "token_usage_updated"),
    "ping": (),
    "error": ("error_occurred",),
    "*": ("provider_event",),
}
"""Kind of the provider's event -> what it becomes. What is empty is a part of a later event: calls,
signatures and usage are in message_received and token_usage_updated."""

ERROR_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an error that comes within a stream -> the status it has otherwise."""

_USAGE: Mapping[str, str] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
_TEXT_KEYS: Mapping[str, tuple[str, str]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}
"""Kind of a delta -> (where its text is, which part of the block it continues)."""


class MessageStream:
    """Decodes one streamed message; see ReplyStream."""

    def __init__(self) -> None:
        self.failure: AgentFailure | None = None
        self.finished = False
        self._message: Mapping[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._parts: dict[tuple[int, str], list[str]] = {}
        self._stop_reason: str | None = None
        self._usage: dict[str, int] = {}

    def feed(self, batch: Sequence[Mapping[str, Any]]) -> list[Piece]:
        pieces = Pieces()
        for event in batch:
            try:
                self._take(event, pieces)
            except (KeyError, TypeError, AttributeError) as error:
                self.failure = ProtocolViolated(
                    f"anthropic sent an event that cannot be read ({error!r}): {str(event)[:200]}",
                    provider=PROVIDER,
                )
            if self.failure is not None:
                break
        return pieces.take()

    def reply(self) -> Reply:
        content = [self._content(index) for index in sorted(self._blocks)]
        return Reply(
            blocks=[block for item in content if (block := _block(item)) is not None],
            stop_reason=self._stop_reason or "end_turn",
            original={"provider": PROVIDER, "content": [_plain(item) for item in content]},
            usage=self._usage,
            model=self._message.get("model"),
            message_id=self._message.get("id"),
        )

    def _take(self, event: Mapping[str, Any], pieces: Pieces) -> None:
        kind = event["type"]
        if kind == "content_block_delta":
            self._delta(event, pieces)
        elif kind == "content_block_start":
            block = dict(event["content_block"])
            self._blocks[event["index"]] = block
            if block["type"] in ("text", "thinking") and block[block["type"]]:
                pieces.add(block["type"], block[block["type"]])
        elif kind == "content_block_stop":
            if f"content_block_stop.{self._blocks[event['index']]['type']}" not in EVENT_TABLE:
                pieces.event({**event, "content_block": self._content(event["index"])})
        elif kind == "message_start":
            self._message = event["message"]
            self._count(self._message.get("usage"))
        elif kind == "message_delta":
            self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
            self._count(event.get("usage"))
        elif kind == "message_stop":
            self.finished = True
        elif kind == "error":
            self.failure = _failure(event)
        elif kind != "ping":
            pieces.event(event)

    def _delta(self, event: Mapping[str, Any], pieces: Pieces) -> None:
        delta = event["delta"]
        kind = delta["type"]
        if kind not in _TEXT_KEYS:
            pieces.event(event)
            return
        key, part = _TEXT_KEYS[kind]
        text: str = delta[key]
        place = (event["index"], part)
        if place in self._parts:
            self._parts[place].append(text)
        else:
            self._parts[place] = [text]
        if kind == "text_delta":
            pieces.add("text", text)
        elif kind == "thinking_delta":
            pieces.add("thinking", text)

    def _content(self, index: int) -> dict[str, Any]:
        """A block with all its parts; ``input`` is a str where it is no JSON object."""
        block = dict(self._blocks[index])
        for (at, part), texts in self._parts.items():
            if at == index:
                text = "".join(texts)
                block[part] = (
                    parsed_arguments(text) if part == "input" else (block.get(part) or "") + text
                )
        return block

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        """The provider's numbers are totals so far, so the last of each counts."""
        for theirs, ours in _USAGE.items():
            if type(number := (usage or {}).get(theirs)) is int:
                self._usage[ours] = number
        details = (usage or {}).get("output_tokens_details") or {}
        if type(number := details.get("thinking_tokens")) is int:
            self._usage["reasoning_tokens"] = number


def _block(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our block for one of theirs, None where there is none."""
    kind = content["type"]
    if kind == "text":
        return {"type": "text", "text": content["text"]} if content["text"] else None
    if kind == "thinking":
        return {"type": "thinking", "text": content["thinking"]}
    if kind == "tool_use":
        return {
            "type": "tool_call",
            "tool_call_id": content["id"],
            "tool_name": content["name"],
            "tool_input": content["input"],
        }
    return None


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """The block as it may be sent back: the API takes no input but an object."""
    if isinstance(content.get("input"), str):
        return {**content, "input": {"malformed_arguments": content["input"]}}
    return content


def _failure(event: Mapping[str, Any]) -> AgentFailure:
    error = event.get("error") or {}
    kind, message = str(error.get("type")), str(error.get("message") or "no message")
    if kind not in ERROR_STATUSES:
        return ProtocolViolated(f"anthropic ended the stream: {kind}: {message}", provider=PROVIDER)
    return failure_of_status(PROVIDER, ERROR_STATUSES[kind], message)
