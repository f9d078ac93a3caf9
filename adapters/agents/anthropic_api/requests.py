"""Messages as the Messages API wants them: pure, tested without the provider."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..model_api.arguments import arguments_map
from ..model_api.call_ids import CallIds, wire_name
from ..tools.results import text_of
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moorage.runtime.messages import Message

BREAKPOINT: Mapping[str, str] = {"type": "ephemeral"}
"""Up to the block that has it, the provider may keep the prompt in its cache."""

LEFT_OUT = "(What was said before is left out.)"
NO_MESSAGE = "(The call failed without a message.)"

ID_CHARS_MAX = 64


def system_text(messages: Sequence[Message], system_prompt: str | None) -> str | None:
    """The system prompt with the conversation's system messages behind it: the API knows one."""
    texts = [system_prompt or "", *(m.text for m in messages if m.role == "system")]
    return "\n\n".join(text for text in texts if text.strip()) or None


def message_params(
    messages: Sequence[Message], *, prompt_caching: bool = False
) -> list[dict[str, Any]]:
    """The conversation as a request's ``messages``.

    Results of tools become the beginning of the next user message, and neighbours of one role
    become one message, since the API wants them to alternate. What this provider said before is
    given back as it came (``original``), thinking with its signatures included; of what others said
    the thinking is left out, and ids and names of calls are made to fit. With ``prompt_caching``
    the last block of the last message is a breakpoint.
    """
    params: list[dict[str, Any]] = []
    ids = CallIds(chars_max=ID_CHARS_MAX)
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        content = _content(message, ids)
        if not content:
            continue
        if params and params[-1]["role"] == role:
            params[-1]["content"] += content
        else:
            params.append({"role": role, "content": content})
    if params and params[0]["role"] == "assistant":  # the API wants the user to begin
        params.insert(0, {"role": "user", "content": [{"type": "text", "text": LEFT_OUT}]})
    if prompt_caching and params:
        params[-1]["content"][-1] = {**params[-1]["content"][-1], "cache_control": dict(BREAKPOINT)}
    return params


def _content(message: Message, ids: CallIds) -> list[dict[str, Any]]:
    original = message.original or {}
    if message.role == "assistant" and original.get("provider") == PROVIDER:
        content = [dict(block) for block in original["content"] if _is_taken_again(block)]
        for block in content:
            if block.get("type") == "tool_use":
                ids.kept(block["id"])
        return content
    return [
        param
        for block in message.blocks
        if (param := _param(block, ids)) is not None
        and not (message.role == "assistant" and block["type"] == "image")
    ]


def _is_taken_again(block: Mapping[str, Any]) -> bool:
    """Whether the API takes a block that it sent. It refuses texts that are blank, which models do
    write, and thinking that was cut off before its signature."""
    kind = block.get("type")
    if kind == "text":
        return bool((block.get("text") or "").strip())
    return kind != "thinking" or bool(block.get("signature"))


def _param(block: Mapping[str, Any], ids: CallIds) -> dict[str, Any] | None:
    kind = block["type"]
    if kind == "text":
        return {"type": "text", "text": block["text"]} if block["text"].strip() else None
    if kind == "image":
        data = base64.b64encode(block["data"]).decode("ascii")
        source = {"type": "base64", "media_type": block["media_type"], "data": data}
        return {"type": "image", "source": source}
    if kind == "tool_call":
        return {
            "type": "tool_use",
            "id": ids.call(block["tool_call_id"]),
            "name": wire_name(block["tool_name"]),
            "input": arguments_map(block.get("tool_input")),
        }
    if kind == "tool_result":
        return _result(block, ids)
    return None


def _result(block: Mapping[str, Any], ids: CallIds) -> dict[str, Any]:
    text = text_of(block.get("tool_output"))
    param = {"type": "tool_result", "tool_use_id": ids.result(block["tool_call_id"])}
    if block.get("is_error"):  # of which the API wants to be told something
        return {**param, "content": text if text.strip() else NO_MESSAGE, "is_error": True}
    return {**param, "content": text}


def tool_params(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools, as maps with name, description, input_schema, as a request's ``tools``."""
    return [
        {
            "name": tool["name"],
            "description": tool["description"],
            "input_schema": tool["input_schema"],
        }
        for tool in tools
    ]
