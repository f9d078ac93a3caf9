"""What the Responses API streams, decoded: pure, tested without the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model_api.arguments import parsed_arguments
from ..model_api.reply import Piece, Pieces, Reply
from .mapping import EVENT_TABLE, RESPONSES, seconds_as_ns
from .stream_errors import stream_failure, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..provider.failures import AgentFailure

TEXT_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
THINKING_DELTAS = frozenset(
    {"response.reasoning_text.delta", "response.reasoning_summary_text.delta"}
)
OUR_ITEMS = frozenset({"message", "reasoning", "function_call"})
"""Kinds of output items that have blocks of ours; others are told as provider_event when done."""


class ResponseStream:
    """Decodes one streamed response; see ReplyStream. The final event has all of it."""

    def __init__(self) -> None:
        self.failure: AgentFailure | None = None
        self.finished = False
        self._response: Mapping[str, Any] = {}
        self._items: dict[int, Mapping[str, Any]] = {}

    def feed(self, batch: Sequence[Mapping[str, Any]]) -> list[Piece]:
        pieces = Pieces()
        for event in batch:
            try:
                self._take(event, pieces)
            except (KeyError, TypeError, AttributeError) as error:
                self.failure = unreadable(event, error)
            if self.failure is not None:
                break
        return pieces.take()

    def reply(self) -> Reply:
        # some compatible servers leave the output out of the final event
        items = self._response.get("output") or [self._items[i] for i in sorted(self._items)]
        blocks = [block for item in items for block in _blocks(item)]
        incomplete = (self._response.get("incomplete_details") or {}).get("reason")
        calls = any(block["type"] == "tool_call" for block in blocks)
        return Reply(
            blocks=blocks,
            stop_reason=incomplete or ("tool_calls" if calls else "completed"),
            original={"provider": RESPONSES, "content": [dict(item) for item in items]},
            usage=_usage(self._response.get("usage") or {}),
            model=self._response.get("model"),
            message_id=self._response.get("id"),
            time_ns=seconds_as_ns(self._response.get("created_at")),
        )

    def _take(self, event: Mapping[str, Any], pieces: Pieces) -> None:
        kind = event["type"]
        if kind in TEXT_DELTAS:
            pieces.add("text", event["delta"])
        elif kind in THINKING_DELTAS:
            pieces.add("thinking", event["delta"])
        elif kind == "response.output_item.done":
            self._items[event["output_index"]] = event["item"]
            if event["item"]["type"] not in OUR_ITEMS:
                pieces.event(event)
        elif kind in ("response.completed", "response.incomplete"):
            self._response = event["response"]
            self.finished = True
        elif kind == "response.failed":
            self.failure = stream_failure(event["response"].get("error"))
        elif kind == "error":
            self.failure = stream_failure(event.get("error") or event)
        elif kind not in EVENT_TABLE:
            pieces.event(event)


def _blocks(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    kind = item["type"]
    if kind == "message":
        texts = [part.get("text") or part.get("refusal") or "" for part in item["content"]]
        return [{"type": "text", "text": text} for text in texts if text]
    if kind == "reasoning":
        parts = item.get("content") or item.get("summary") or []
        text = "\n\n".join(part["text"] for part in parts if part.get("text"))
        return [{"type": "thinking", "text": text}] if text else []
    if kind == "function_call":
        return [
            {
                "type": "tool_call",
                "tool_call_id": item["call_id"],
                "tool_name": item["name"],
                "tool_input": parsed_arguments(item["arguments"]),
            }
        ]
    return []


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    """Our numbers: the provider counts what came from its cache as input too, we do not."""
    inputs = usage.get("input_tokens_details") or {}
    outputs = usage.get("output_tokens_details") or {}
    read, written = inputs.get("cached_tokens") or 0, inputs.get("cache_write_tokens") or 0
    counted = {
        "input_tokens": max(0, (usage.get("input_tokens") or 0) - read - written),
        "output_tokens": usage.get("output_tokens") or 0,
    }
    more = {
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": outputs.get("reasoning_tokens") or 0,
    }
    return counted | {name: number for name, number in more.items() if number} if usage else {}
