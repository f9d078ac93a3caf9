"""OpenAI's Responses API: items, each with its own events, numbered through the stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from .openai_errors import openai_error
from .playing import Step, Told, dumps, pieces
from .replies import Cut, Garbage, HttpError, Stall, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = dict[str, Any]

EMPTY: dict[str, Item] = {
    "message": {"content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
}
"""What an item has of its content when it begins, by its type."""


class ResponsesDialect:
    """Writes replies as ``/v1/responses`` does."""

    def error(self, error: HttpError) -> dict[str, Any]:
        return {"error": openai_error(error)}

    def whole(self, told: Told) -> dict[str, Any]:
        items = [
            _item(told, index, part)
            for index, part in enumerate(told.parts)
            if isinstance(part, Text | Thinking | ToolUse)
        ]
        return _response(told, _status(told), items)

    def stream(self, told: Told) -> Iterator[Step]:
        events = _Numbered()
        begun = _response(told, "in_progress", [])
        yield events.event("response.created", response=begun)
        yield events.event("response.in_progress", response=begun)
        items: list[Item] = []
        for index, part in enumerate(told.parts):
            if isinstance(part, Text | Thinking | ToolUse):
                item = _item(told, index, part)
                yield from _streamed_item(events, len(items), item, part)
                items.append(item)
            elif isinstance(part, Stall | Cut):
                yield part
            elif isinstance(part, Garbage):
                yield part.data
            elif isinstance(part, HttpError):
                failed = _response(told, "failed", items)
                given = openai_error(part)
                failed["error"] = {"code": given["code"], "message": given["message"]}
                yield events.event("response.failed", response=failed)
                return
        status = _status(told)
        yield events.event(f"response.{status}", response=_response(told, status, items))


@attrs.define
class _Numbered:
    """Writes events with their sequence_number."""

    number: int = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        value = {"type": kind, "sequence_number": self.number, **fields}
        self.number += 1
        return b"event: " + kind.encode() + b"\ndata: " + dumps(value) + b"\n\n"

    def deltas(
        self, kind: str, found: Iterator[str | Stall], places: dict[str, Any], **last: Any
    ) -> Iterator[Step]:
        """The same event for each piece, quickly."""
        head = f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":'.encode()
        before = b"," + dumps(places)[1:-1] + b',"delta":'
        after = (b"," + dumps(last)[1:-1] if last else b"") + b"}\n\n"
        quoted = json.encoder.encode_basestring_ascii
        for piece in found:
            if isinstance(piece, str):
                number = str(self.number).encode()
                yield head + number + before + quoted(piece).encode("ascii") + after
                self.number += 1
            else:
                yield piece


def _status(told: Told) -> str:
    return "incomplete" if told.stop_reason in ("max_tokens", "refusal") else "completed"


def _response(told: Told, status: str, items: list[Item]) -> dict[str, Any]:
    ended = status in ("completed", "incomplete")
    reasons = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}
    details = {"reason": reasons[told.stop_reason]} if status == "incomplete" else None
    fields = told.request.fields
    return {
        "id": told.id("resp"),
        "object": "response",
        "created_at": told.created,
        "status": status,
        "error": None,
        "incomplete_details": details,
        "instructions": fields.get("instructions"),
        "metadata": fields.get("metadata") or {},
        "model": told.model,
        "output": list(items),
        "parallel_tool_calls": True,
        "previous_response_id": told.request.previous_response_id,
        "store": fields.get("store", True),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(told) if ended else None,
    }


def _usage(told: Told) -> dict[str, Any]:
    usage = told.usage
    asked = (usage.input_tokens or 0) + usage.cache_read_tokens + usage.cache_write_tokens
    said = usage.output_tokens or 0
    return {
        "input_tokens": asked,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": asked + said,
    }


def _item(told: Told, index: int, part: Text | Thinking | ToolUse) -> Item:
    if isinstance(part, Text):
        content = {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
        item = {"id": told.id("msg", index), "type": "message", "role": "assistant"}
        return {**item, "status": "completed", "content": [content]}
    if isinstance(part, Thinking):
        summary = [{"type": "summary_text", "text": part.text}]
        item = {"id": told.id("rs", index), "type": "reasoning"}
        return {**item, "summary": summary, "encrypted_content": part.signature}
    declared = dict(told.request.tool_declarations()).get(part.name, {})
    called = {"call_id": part.id or told.id("call", index), "name": part.name}
    if declared.get("namespace"):
        called["namespace"] = declared["namespace"]
    if declared.get("type") == "custom":
        item = {"id": told.id("ctc", index), "type": "custom_tool_call", "status": "completed"}
        return {**item, **called, "input": part.free_text}
    item = {"id": told.id("fc", index), "type": "function_call", "status": "completed"}
    return {**item, **called, "arguments": part.arguments}


def _streamed_item(
    events: _Numbered, place: int, item: Item, part: Text | Thinking | ToolUse
) -> Iterator[Step]:
    """An item's events; ``place`` is its output_index."""
    begun = {**item, **EMPTY[item["type"]]}
    if "status" in begun:
        begun["status"] = "in_progress"
    yield events.event("response.output_item.added", output_index=place, item=begun)
    at = {"item_id": item["id"], "output_index": place}
    if isinstance(part, Text):
        yield from _streamed_text(events, at, item, part)
    elif isinstance(part, Thinking):
        yield from _streamed_summary(events, at, item, part)
    else:
        yield from _streamed_arguments(events, at, item, part)
    yield events.event("response.output_item.done", output_index=place, item=item)


def _streamed_text(events: _Numbered, at: dict[str, Any], item: Item, part: Text) -> Iterator[Step]:
    at = {**at, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield events.event("response.content_part.added", **at, part=empty)
    found = pieces(part, part.text)
    yield from events.deltas("response.output_text.delta", found, at, logprobs=[])
    yield events.event("response.output_text.done", **at, text=part.text, logprobs=[])
    yield events.event("response.content_part.done", **at, part=item["content"][0])


def _streamed_summary(
    events: _Numbered, at: dict[str, Any], item: Item, part: Thinking
) -> Iterator[Step]:
    at = {**at, "summary_index": 0}
    empty = {"type": "summary_text", "text": ""}
    yield events.event("response.reasoning_summary_part.added", **at, part=empty)
    kind = "response.reasoning_summary_text"
    yield from events.deltas(f"{kind}.delta", pieces(part, part.text), at)
    yield events.event(f"{kind}.done", **at, text=part.text)
    yield events.event("response.reasoning_summary_part.done", **at, part=item["summary"][0])


def _streamed_arguments(
    events: _Numbered, at: dict[str, Any], item: Item, part: ToolUse
) -> Iterator[Step]:
    key = "input" if item["type"] == "custom_tool_call" else "arguments"
    kind = "response.custom_tool_call_input" if key == "input" else None
    kind = kind or "response.function_call_arguments"
    found = pieces(part, item[key])
    yield from events.deltas(f"{kind}.delta", found, at)
    told = {key: item[key]}
    if key == "arguments":
        told["name"] = item["name"]
    yield events.event(f"{kind}.done", **at, **told)
