"""Messages as the Responses API and as chat endpoints want them: pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..model_api.arguments import arguments_text
from ..model_api.call_ids import CallIds, wire_name
from ..tools.results import text_of
from .mapping import CHAT, RESPONSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moorage.runtime.messages import Message


RESPONSES_ID_CHARS_MAX = 64
CHAT_ID_CHARS_MAX = 40


def response_input(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation as a request's ``input`` items.

    What this API said before is given back as it came, without the ids that tie items to responses
    which the provider may have forgotten. Reasoning goes back only where it is encrypted: that is
    all that a provider can read which did not keep it. Of what the server did by itself the answer
    tells, since the items themselves cannot go without their ids.
    """
    ids = CallIds(chars_max=RESPONSES_ID_CHARS_MAX)
    return [item for message in messages for item in _items(message, ids)]


def _items(message: Message, ids: CallIds) -> list[dict[str, Any]]:
    if message.role == "assistant":
        original = message.original or {}
        if original.get("provider") == RESPONSES:
            return _again(original["content"], ids)
        return _assistant_items(message, ids)
    if message.role == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": ids.result(block["tool_call_id"]),
                "output": text_of(block.get("tool_output")),
            }
            for block in message.tool_results
        ]
    content = _parts(message, "input_text", _response_image)
    return [{"role": message.role, "content": content}] if content else []


def _again(content: Sequence[Mapping[str, Any]], ids: CallIds) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for item in content:
        kind = item["type"]
        if kind == "message" and not item.get("content"):
            continue
        if kind in ("message", "function_call"):
            again = {name: value for name, value in item.items() if name not in ("id", "status")}
            if kind == "function_call":
                ids.kept(item["call_id"])
                again["arguments"] = arguments_text(item["arguments"])
            items.append(again)
        elif item.get("encrypted_content"):
            items.append({name: value for name, value in item.items() if name != "status"})
    while items and items[-1]["type"] == "reasoning":
        items.pop()  # the answer was cut off in it, and it is refused without what it led to
    return items


def _assistant_items(message: Message, ids: CallIds) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if message.text:
        items.append({"role": "assistant", "content": message.text})
    for block in message.tool_calls:
        items.append(
            {
                "type": "function_call",
                "call_id": ids.call(block["tool_call_id"]),
                "name": wire_name(block["tool_name"]),
                "arguments": arguments_text(block.get("tool_input")),
            }
        )
    return items


def _response_image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def chat_messages(messages: Sequence[Message], system_prompt: str | None) -> list[dict[str, Any]]:
    """The conversation as a request's ``messages``, the system prompt first."""
    params: list[dict[str, Any]] = []
    ids = CallIds(chars_max=CHAT_ID_CHARS_MAX)
    if system_prompt:
        params.append({"role": "system", "content": system_prompt})
    for message in messages:
        if message.role == "assistant":
            params += _chat_assistant(message, ids)
        elif message.role == "tool":
            params += [
                {
                    "role": "tool",
                    "tool_call_id": ids.result(block["tool_call_id"]),
                    "content": text_of(block.get("tool_output")),
                }
                for block in message.tool_results
            ]
        elif content := _parts(message, "text", _chat_image):
            params.append({"role": message.role, "content": content})
    return params


def _chat_assistant(message: Message, ids: CallIds) -> list[dict[str, Any]]:
    original = message.original or {}
    if original.get("provider") == CHAT:
        said = [_chat_again(item, ids) for item in original["content"]]
        return [item for item in said if item.get("content") or item.get("tool_calls")]
    param: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        param["tool_calls"] = [
            _chat_call(
                ids.call(block["tool_call_id"]),
                wire_name(block["tool_name"]),
                block.get("tool_input"),
            )
            for block in message.tool_calls
        ]
    return [param] if message.text or message.tool_calls else []


def _chat_again(said: Mapping[str, Any], ids: CallIds) -> dict[str, Any]:
    param = dict(said)
    if calls := said.get("tool_calls"):
        for call in calls:
            ids.kept(call["id"])
        param["tool_calls"] = [
            _chat_call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in calls
        ]
    return param


def _chat_call(id: str, name: str, tool_input: object) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments_text(tool_input)}
    return {"id": id, "type": "function", "function": function}


def _chat_image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _parts(message: Message, text_type: str, image: Any) -> str | list[dict[str, Any]]:
    """Content of a user's or system's message: plain text where there is nothing else."""
    if all(block["type"] == "text" for block in message.blocks):
        return message.text
    parts: list[dict[str, Any]] = []
    for block in message.blocks:
        if block["type"] == "text" and block["text"]:
            parts.append({"type": text_type, "text": block["text"]})
        elif block["type"] == "image":
            data = base64.b64encode(block["data"]).decode("ascii")
            parts.append(image(f"data:{block['media_type']};base64,{data}"))
    return parts


def response_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools, as maps with name, description, input_schema, for the Responses API."""
    return [{"type": "function", "strict": False, **_function(tool)} for tool in tools]


def chat_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same for a chat endpoint."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": tool["name"],
        "description": tool["description"],
        "parameters": tool["input_schema"],
    }
