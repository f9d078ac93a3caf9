"""Anthropic's Messages API, as far as a model's answers need it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .playing import Step, Told, event, framed, pieces
from .replies import Cut, Garbage, HttpError, Part, Stall, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
MESSAGES = {
    400: "The request is not valid.",
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    404: "Not found",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your account's rate limit. Please try again later.",
    500: "Internal server error",
    503: "Service unavailable",
    529: "Overloaded",
}
OVERFLOW = "prompt is too long: 210000 tokens > 200000 maximum"


class MessagesDialect:
    """Writes replies as ``/v1/messages`` does."""

    def error(self, error: HttpError) -> dict[str, Any]:
        kind = error.kind or KINDS.get(error.status, "api_error")
        message = error.message or MESSAGES.get(error.status, f"error {error.status}")
        if kind == "context_overflow":
            kind, message = "invalid_request_error", error.message or OVERFLOW
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "twin"}

    def whole(self, told: Told) -> dict[str, Any]:
        blocks = [
            _block(told, index, part)
            for index, part in enumerate(told.parts)
            if isinstance(part, Text | Thinking | ToolUse)
        ]
        message = _message(told)
        message["content"] = blocks
        message["stop_reason"] = told.stop_reason
        message["usage"]["output_tokens"] = told.usage.output_tokens
        return message

    def stream(self, told: Told) -> Iterator[Step]:
        yield event("message_start", {"type": "message_start", "message": _message(told)})
        yield event("ping", {"type": "ping"})
        number = 0
        for index, part in enumerate(told.parts):
            if isinstance(part, Text | Thinking | ToolUse):
                yield from _streamed_block(told, index, part, number)
                number += 1
            elif isinstance(part, Stall | Cut):
                yield part
            elif isinstance(part, Garbage):
                yield part.data
            elif isinstance(part, HttpError):
                yield event("error", self.error(part))
                return
        delta = {"stop_reason": told.stop_reason, "stop_sequence": None}
        yield event(
            "message_delta",
            {"type": "message_delta", "delta": delta, "usage": _usage(told)},
        )
        yield event("message_stop", {"type": "message_stop"})


def _message(told: Told) -> dict[str, Any]:
    usage = _usage(told)
    usage["output_tokens"] = 1  # what a stream begins with; its end tells the whole
    return {
        "id": told.id("msg"),
        "type": "message",
        "role": "assistant",
        "model": told.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(told: Told) -> dict[str, Any]:
    usage = told.usage
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }


def _call_id(told: Told, index: int, part: ToolUse) -> str:
    return part.id or told.id("toolu", index)


def _block(told: Told, index: int, part: Part) -> dict[str, Any]:
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, ToolUse):
        try:
            given = json.loads(part.arguments)
        except ValueError:
            given = part.arguments  # no JSON: the nearest that a whole response can carry
        block_id = _call_id(told, index, part)
        return {"type": "tool_use", "id": block_id, "name": part.name, "input": given}
    assert isinstance(part, Text)
    return {"type": "text", "text": part.text}


def _streamed_block(
    told: Told, index: int, part: Text | Thinking | ToolUse, number: int
) -> Iterator[Step]:
    """A block's start, deltas and stop; ``number`` is its place among the blocks."""
    before = f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{number},'
    after = b"}}\n\n"
    if isinstance(part, Thinking):
        empty: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        head = before + '"delta":{"type":"thinking_delta","thinking":'
        deltas = framed(pieces(part, part.text), head.encode(), after)
    elif isinstance(part, ToolUse):
        block_id = _call_id(told, index, part)
        empty = {"type": "tool_use", "id": block_id, "name": part.name, "input": {}}
        head = before + '"delta":{"type":"input_json_delta","partial_json":'
        deltas = framed(pieces(part, part.arguments), head.encode(), after)
    else:
        empty = {"type": "text", "text": ""}
        head = before + '"delta":{"type":"text_delta","text":'
        deltas = framed(pieces(part, part.text), head.encode(), after)
    yield event(
        "content_block_start",
        {"type": "content_block_start", "index": number, "content_block": empty},
    )
    yield from deltas
    if isinstance(part, Thinking):
        delta = {"type": "signature_delta", "signature": part.signature}
        yield event(
            "content_block_delta", {"type": "content_block_delta", "index": number, "delta": delta}
        )
    yield event("content_block_stop", {"type": "content_block_stop", "index": number})
