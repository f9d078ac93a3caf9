"""TwinRequest: what a ModelTwin was asked, as it came and in one view for all dialects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

Dialect = Literal["messages", "responses", "chat", "other"]
Outcome = Literal["open", "answered", "client_left", "cut", "out_of_script", "script_failed"]


@attrs.frozen
class ToolResult:
    """What a client says that a tool gave: ``id`` is the call's."""

    id: str
    text: str
    is_error: bool = False


@attrs.frozen
class ToolCall:
    """A call of an earlier turn, as the client repeats it. ``input`` is as in the request: a map
    in Messages, a str in the OpenAI dialects."""

    id: str
    name: str
    input: Any


@attrs.define(eq=False)
class TwinRequest:
    """One request, recorded with everything in it, secrets too: this is a test tool.

    ``path`` has no query, which is in ``query``; ``headers`` have lower-case names, and the last
    value where one is repeated. ``body`` is the decoded JSON, or None if there is none;
    ``body_bytes`` are after decompression. ``number`` counts all requests from 1, ``conversation``
    is the number among those that the script answers (from 1), or None for one in the background.
    ``outcome`` says how answering went; it is "open" while that is not over.
    """

    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body_bytes: bytes = attrs.field(repr=False)
    dialect: Dialect
    conversation: int | None = None
    outcome: Outcome = "open"
    status: int | None = None
    body: Any = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            self.body = json.loads(self.body_bytes) if self.body_bytes else None
        except ValueError:
            self.body = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body if it is a map, else an empty one."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        model = self.fields.get("model")
        return model if isinstance(model, str) else None

    @property
    def streaming(self) -> bool:
        """Whether the client asked for a stream."""
        return self.fields.get("stream") is True

    @property
    def previous_response_id(self) -> str | None:
        """The Responses API's handle of what came before, where the client continues by it."""
        handle = self.fields.get("previous_response_id")
        return handle if isinstance(handle, str) else None

    @property
    def system(self) -> str:
        """The system prompt: ``system``, ``instructions``, or messages of those roles; blocks and
        messages are joined by a newline."""
        key = "instructions" if self.dialect == "responses" else "system"
        texts = _texts(self.fields.get(key))
        if self.dialect != "messages":
            texts += [text for role, text in self._said() if role in ("system", "developer")]
        return "\n".join(texts)

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(role, text) of all text in the messages, in order, without system messages and without
        results of tools; one entry per block of text."""
        return [(role, text) for role, text in self._said() if role not in ("system", "developer")]

    @property
    def text(self) -> str:
        """All text of the messages, joined by newlines: to search in."""
        return "\n".join(text for _, text in self.texts)

    @property
    def prompt(self) -> str:
        """The last text of the user, or an empty one."""
        said = [text for role, text in self.texts if role == "user"]
        return said[-1] if said else ""

    @property
    def tool_results(self) -> list[ToolResult]:
        """The results of tools that the client sends, in order, those of earlier turns too."""
        found: list[ToolResult] = []
        for item in self._items():
            if self.dialect == "messages":
                found += [
                    ToolResult(
                        str(block.get("tool_use_id")),
                        "\n".join(_texts(block.get("content"))),
                        block.get("is_error") is True,
                    )
                    for block in _maps(item.get("content"))
                    if block.get("type") == "tool_result"
                ]
            elif self.dialect == "chat" and item.get("role") == "tool":
                text = "\n".join(_texts(item.get("content")))
                found.append(ToolResult(str(item.get("tool_call_id")), text))
            elif str(item.get("type")).endswith("_call_output"):
                text = "\n".join(_texts(item.get("output")))
                found.append(ToolResult(str(item.get("call_id")), text))
        return found

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls of earlier turns that the client repeats, in order."""
        found: list[ToolCall] = []
        for item in self._items():
            if self.dialect == "messages":
                found += [
                    ToolCall(str(block.get("id")), str(block.get("name")), block.get("input"))
                    for block in _maps(item.get("content"))
                    if block.get("type") == "tool_use"
                ]
            elif self.dialect == "chat":
                for call in _maps(item.get("tool_calls")):
                    function = call.get("function") or call.get("custom") or {}
                    arguments = function.get("arguments", function.get("input"))
                    name = str(function.get("name"))
                    found.append(ToolCall(str(call.get("id")), name, arguments))
            elif item.get("type") in ("function_call", "custom_tool_call"):
                arguments = item.get("arguments", item.get("input"))
                found.append(ToolCall(str(item.get("call_id")), str(item.get("name")), arguments))
        return found

    @property
    def tools(self) -> list[str]:
        """The names of the tools that are offered; one without a name is told by its type."""
        return [name for name, _ in self.tool_declarations()]

    def tool_declarations(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(name, declaration) of each tool that is offered, in order. A tool in a namespace of
        the Responses API has "namespace" added to its declaration."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for tool in _maps(self.fields.get("tools")):
            if tool.get("type") == "namespace":
                space = tool.get("name")
                found += [
                    (str(inner.get("name")), {**inner, "namespace": space})
                    for inner in _maps(tool.get("tools"))
                ]
                continue
            inner = tool.get("function") or tool.get("custom")
            named = inner if isinstance(inner, dict) else tool
            found.append((str(named.get("name") or tool.get("type")), tool))
        return found

    def _items(self) -> list[Mapping[str, Any]]:
        if self.dialect == "responses":
            given = self.fields.get("input")
            if isinstance(given, str):
                return [{"type": "message", "role": "user", "content": given}]
            return _maps(given)
        return _maps(self.fields.get("messages"))

    def _said(self) -> list[tuple[str, str]]:
        return [
            (str(item["role"]), text)
            for item in self._items()
            if "role" in item and item["role"] != "tool"
            for text in _texts(item.get("content"))
        ]


def _maps(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def _texts(content: object) -> list[str]:
    """The texts of a content that is a str or a list of blocks; blocks of other kinds are left
    out."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, Sequence):
        return []
    texts = (block.get("text") for block in content if isinstance(block, dict))
    return [text for text in texts if isinstance(text, str)]
