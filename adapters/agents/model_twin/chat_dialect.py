"""OpenAI's Chat Completions, which many compatible servers speak too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .openai_errors import openai_error
from .playing import Step, Told, dumps, event, framed, pieces
from .replies import Cut, Garbage, HttpError, Stall, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}


class ChatDialect:
    """Writes replies as ``/v1/chat/completions`` does; thinking is ``reasoning_content``, as
    compatible servers write it."""

    def error(self, error: HttpError) -> dict[str, Any]:
        return {"error": openai_error(error)}

    def whole(self, told: Told) -> dict[str, Any]:
        texts = [part.text for part in told.parts if isinstance(part, Text)]
        thoughts = [part.text for part in told.parts if isinstance(part, Thinking)]
        calls = [
            {
                "id": part.id or told.id("call", index),
                "type": "function",
                "function": {"name": part.name, "arguments": part.arguments},
            }
            for index, part in enumerate(told.parts)
            if isinstance(part, ToolUse)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or None}
        message["refusal"] = None
        if thoughts:
            message["reasoning_content"] = "".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None}
        choice["finish_reason"] = FINISH_REASONS[told.stop_reason]
        return {
            **_head(told, "chat.completion"),
            "choices": [choice],
            "usage": _usage(told),
        }

    def stream(self, told: Told) -> Iterator[Step]:
        yield _chunk(told, {"role": "assistant", "content": ""})
        number = 0
        for index, part in enumerate(told.parts):
            if isinstance(part, Text):
                yield from framed(pieces(part, part.text), *_around(told, '{"content":', "}"))
            elif isinstance(part, Thinking):
                around = _around(told, '{"reasoning_content":', "}")
                yield from framed(pieces(part, part.text), *around)
            elif isinstance(part, ToolUse):
                yield from _streamed_call(told, index, part, number)
                number += 1
            elif isinstance(part, Stall | Cut):
                yield part
            elif isinstance(part, Garbage):
                yield part.data
            elif isinstance(part, HttpError):
                yield event(None, self.error(part))
                return
        yield _chunk(told, {}, FINISH_REASONS[told.stop_reason])
        options = told.request.fields.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            head = _head(told, "chat.completion.chunk")
            yield event(None, {**head, "choices": [], "usage": _usage(told)})
        yield b"data: [DONE]\n\n"


def _head(told: Told, kind: str) -> dict[str, Any]:
    return {
        "id": told.id("chatcmpl"),
        "object": kind,
        "created": told.created,
        "model": told.model,
        "system_fingerprint": None,
    }


def _usage(told: Told) -> dict[str, Any]:
    usage = told.usage
    asked = (usage.input_tokens or 0) + usage.cache_read_tokens + usage.cache_write_tokens
    said = usage.output_tokens or 0
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _chunk(told: Told, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return event(None, {**_head(told, "chat.completion.chunk"), "choices": [choice]})


def _around(told: Told, before: str, after: str) -> tuple[bytes, bytes]:
    """What is before and behind a piece of a delta that begins and ends like this."""
    head = dumps(_head(told, "chat.completion.chunk"))[:-1]
    return (
        b"data: " + head + b',"choices":[{"index":0,"delta":' + before.encode(),
        after.encode() + b',"logprobs":null,"finish_reason":null}]}\n\n',
    )


def _streamed_call(told: Told, index: int, part: ToolUse, number: int) -> Iterator[Step]:
    call = {
        "index": number,
        "id": part.id or told.id("call", index),
        "type": "function",
        "function": {"name": part.name, "arguments": ""},
    }
    yield _chunk(told, {"tool_calls": [call]})
    before = f'{{"tool_calls":[{{"index":{number},"function":{{"arguments":'
    yield from framed(pieces(part, part.arguments), *_around(told, before, "}}]}"))
