"""What a chat endpoint streams, decoded: pure, tested without the provider.

Endpoints that call themselves compatible differ, so what is missing is made up for: ids of calls,
an index, usage, ``[DONE]`` without a reason to finish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model_api.arguments import parsed_arguments
from ..model_api.reply import Piece, Pieces, Reply
from .mapping import CHAT, seconds_as_ns
from .stream_errors import stream_failure, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..provider.failures import AgentFailure

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where compatible endpoints stream what the model thinks; the official one does not."""


class ChatStream:
    """Decodes one streamed completion; see ReplyStream."""

    def __init__(self) -> None:
        self.failure: AgentFailure | None = None
        self.finished = False
        self._id: str | None = None
        self._model: str | None = None
        self._created: Any = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._places: dict[int, int] = {}
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] = {}

    def feed(self, batch: Sequence[Mapping[str, Any]]) -> list[Piece]:
        pieces = Pieces()
        for chunk in batch:
            try:
                self._take(chunk, pieces)
            except (KeyError, TypeError, AttributeError) as error:
                self.failure = unreadable(chunk, error)
            if self.failure is not None:
                break
        return pieces.take()

    def reply(self) -> Reply:
        text, thoughts = "".join(self._texts), "".join(self._thoughts)
        calls = [self._calls[index] for index in sorted(self._calls)]
        blocks: list[dict[str, Any]] = []
        if thoughts:
            blocks.append({"type": "thinking", "text": thoughts})
        if text:
            blocks.append({"type": "text", "text": text})
        blocks += [_call_block(call) for call in calls]
        said: dict[str, Any] = {"role": "assistant", "content": text or None}
        if calls:
            said["tool_calls"] = [_call_param(call) for call in calls]
        return Reply(
            blocks=blocks,
            stop_reason=self._finish_reason or ("tool_calls" if calls else "stop"),
            original={"provider": CHAT, "content": [said]},
            usage=_usage(self._usage),
            model=self._model,
            message_id=self._id,
            time_ns=seconds_as_ns(self._created),
        )

    def _take(self, chunk: Mapping[str, Any], pieces: Pieces) -> None:
        if chunk.get("error"):
            self.failure = stream_failure(chunk["error"])
            return
        self._id = chunk.get("id") or self._id
        self._model = chunk.get("model") or self._model
        self._created = chunk.get("created") or self._created
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue  # one answer was asked for
            delta = choice.get("delta") or {}
            if text := delta.get("content") or delta.get("refusal"):
                self._texts.append(text)
                pieces.add("text", text)
            for field in REASONING_FIELDS:
                if thought := delta.get(field):
                    self._thoughts.append(thought)
                    pieces.add("thinking", thought)
                    break
            for position, call in enumerate(delta.get("tool_calls") or ()):
                self._call(call, position)
            if choice.get("finish_reason"):
                self._finish_reason = choice["finish_reason"]
                self.finished = True

    def _call(self, part: Mapping[str, Any], position: int) -> None:
        given = part.get("index")
        given = position if given is None else given
        function = part.get("function") or {}
        index = self._places.get(given, given)
        call = self._calls.get(index)
        id = part.get("id") or (call and call["id"])
        if call and call["name"] and function.get("name") and id != call["id"]:
            # the next call, under an index that the endpoint gives to all of them
            index, call = max(self._calls) + 1, None
            self._places[given] = index
        if call is None:
            call = self._calls[index] = {"name": "", "arguments": []}
        call["id"] = id or f"call_{index}"
        if function.get("name"):
            call["name"] = function["name"]
        if function.get("arguments"):
            call["arguments"].append(function["arguments"])


def _call_block(call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "tool_call_id": call["id"],
        "tool_name": call["name"],
        "tool_input": parsed_arguments("".join(call["arguments"])),
    }


def _call_param(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": "".join(call["arguments"])}
    return {"id": call["id"], "type": "function", "function": function}


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    """Our numbers: the provider counts what came from its cache as input too, we do not."""
    inputs = usage.get("prompt_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or {}
    read, written = inputs.get("cached_tokens") or 0, inputs.get("cache_write_tokens") or 0
    counted = {
        "input_tokens": max(0, (usage.get("prompt_tokens") or 0) - read - written),
        "output_tokens": usage.get("completion_tokens") or 0,
    }
    more = {
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": outputs.get("reasoning_tokens") or 0,
    }
    return counted | {name: number for name, number in more.items() if number} if usage else {}
