"""Session files of Codex: ``~/.codex/sessions/YEAR/MONTH/DAY/rollout-TIME-ID.jsonl``.

A line has a ``type`` and a ``payload``; those of type ``response_item`` are the items that the
model was given and gave. Files of before September 2025 have the items themselves as lines, behind
a head with ``id`` and ``timestamp``. What the program itself tells the model in the user's name
(its environment, instructions, an interruption) is not part of the conversation.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.messages import (
    Block,
    Message,
    tool_call_block,
    tool_result_block,
)

from .foreign_blocks import foreign_blocks, output_of
from .imported import ImportedConversation, Summary
from .json_lines import JsonLines, as_plain, nanoseconds

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_WRAPPED = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
_PROGRAM_SAYS = (
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<permissions",
    "<skills_instructions>",
    "# AGENTS.md instructions",
)


def is_codex(value: dict[str, Any]) -> bool:
    """Whether a line is one of Codex's."""
    if value.get("type") in _WRAPPED and type(value.get("payload")) is dict:
        return True
    return "type" not in value and {"id", "timestamp", "instructions"} <= value.keys()


@attrs.define
class _Reading:
    """``answer`` collects what the model gave until something else comes."""

    messages: list[Message] = attrs.field(factory=list)
    answer: list[Block] = attrs.field(factory=list)
    time_ns: int = 0
    names: dict[str, str] = attrs.field(factory=dict)
    session_id: str | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    summary: Summary | None = None
    skipped: dict[str, int] = attrs.field(factory=dict)

    def flush(self) -> None:
        if self.answer:
            self.messages.append(Message("assistant", self.answer, time_ns=self.time_ns))
            self.answer = []

    def skip(self, kind: object) -> None:
        self.skipped[str(kind)] = self.skipped.get(str(kind), 0) + 1


def read_codex(path: str | os.PathLike[str], *, skip_damaged: bool = False) -> ImportedConversation:
    """The conversation in a rollout file. Raises SessionFileInvalid and OSError."""
    lines = JsonLines(path, skip_damaged=skip_damaged)
    reading = _Reading()
    known = False
    for line in lines:
        if not known and not is_codex(line.value):
            raise lines.invalid(line.number, "this is no session file of Codex")
        known = True
        _line(reading, line.value)
    if not known:
        raise lines.invalid(1, "this is no session file of Codex")
    reading.flush()
    return ImportedConversation(
        provider="codex",
        session_id=reading.session_id,
        messages=reading.messages,
        settings=reading.settings,
        summary=reading.summary,
        torn_line=lines.torn_line,
        damaged_lines=lines.damaged_lines,
        skipped=reading.skipped,
    )


def _line(reading: _Reading, value: dict[str, Any]) -> None:
    payload = value.get("payload")
    kind = value.get("type")
    if type(payload) is not dict:  # an older file: the item is the line
        if "type" not in value and reading.session_id is None and type(value.get("id")) is str:
            reading.session_id = value["id"]
            return
        payload, kind = value, "response_item"
    time_ns = nanoseconds(value.get("timestamp"))
    reader = _LINES.get(kind) if type(kind) is str else None
    if reader is None or not reader(reading, payload, time_ns):
        inner = payload.get("type")
        reading.skip(f"{kind}.{inner}" if inner is not None else kind)


def _meta(reading: _Reading, payload: dict[str, Any], time_ns: int) -> bool:
    if reading.session_id is None and type(payload.get("id")) is str:
        reading.session_id = payload["id"]
    _settings(reading, payload)
    return True


def _context(reading: _Reading, payload: dict[str, Any], time_ns: int) -> bool:
    _settings(reading, payload)
    return True


def _settings(reading: _Reading, payload: dict[str, Any]) -> None:
    for ours, theirs in (("working_directory", "cwd"), ("model", "model")):
        if type(payload.get(theirs)) is str:
            reading.settings[ours] = payload[theirs]


def _compacted(reading: _Reading, payload: dict[str, Any], time_ns: int) -> bool:
    reading.flush()
    if type(payload.get("message")) is not str or not payload["message"]:
        return False
    reading.summary = Summary(payload["message"], len(reading.messages))
    return True


def _event(reading: _Reading, payload: dict[str, Any], time_ns: int) -> bool:
    turns = payload.get("num_turns")
    if payload.get("type") != "thread_rolled_back" or type(turns) is not int:
        return False
    reading.flush()
    asked = [index for index, m in enumerate(reading.messages) if m.role == "user"]
    if turns > 0 and asked:
        del reading.messages[asked[max(0, len(asked) - turns)] :]
    summary = reading.summary
    if summary is not None and summary.first_kept > len(reading.messages):
        reading.summary = None  # what it sums up is not all there any more
    return True


def _item(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    kind = item.get("type")
    reader = _ITEMS.get(kind) if type(kind) is str else None
    return reader is not None and reader(reading, item, time_ns)


def _message(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    blocks = foreign_blocks(item.get("content"))
    if item.get("role") == "assistant":
        _answer(reading, blocks, time_ns)
        return True
    if item.get("role") != "user" or not blocks or _is_of_program(item, blocks):
        return False
    reading.flush()
    reading.messages.append(Message("user", blocks, time_ns=time_ns))
    return True


def _is_of_program(item: dict[str, Any], blocks: list[Block]) -> bool:
    told = item.get("internal_chat_message_metadata_passthrough")
    kinds = told.get("content_item_kinds") if type(told) is dict else None
    if type(kinds) is list and kinds:
        return not any(type(kind) is str and kind.startswith("user") for kind in kinds)
    first = blocks[0]
    return first["type"] == "text" and str(first["text"]).lstrip().startswith(_PROGRAM_SAYS)


def _answer(reading: _Reading, blocks: list[Block], time_ns: int) -> None:
    reading.answer += blocks
    reading.time_ns = time_ns


def _reasoning(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    parts = foreign_blocks(item.get("summary")) or foreign_blocks(item.get("content"))
    text = "\n\n".join(block["text"] for block in parts if block["type"] == "text")
    if text:
        _answer(reading, [{"type": "thinking", "text": text}], time_ns)
    return bool(text)


def _function_call(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    return _call(reading, item, item.get("name"), item.get("arguments"), time_ns)


def _custom_call(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    return _call(reading, item, item.get("name"), {"input": item.get("input")}, time_ns)


def _shell_call(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    return _call(reading, item, "local_shell", item.get("action"), time_ns)


def _call(
    reading: _Reading, item: dict[str, Any], name: object, input: object, time_ns: int
) -> bool:
    id = item.get("call_id")
    if type(id) is not str or type(name) is not str:
        return False
    if type(input) is str:
        with contextlib.suppress(ValueError, RecursionError):  # or it is kept as it was written
            input = as_plain(json.loads(input))
    reading.names[id] = name
    _answer(reading, [tool_call_block(id, name, input)], time_ns)
    return True


def _output(reading: _Reading, item: dict[str, Any], time_ns: int) -> bool:
    id, output = item.get("call_id"), item.get("output")
    if type(id) is not str:
        return False
    failed = False
    if type(output) is dict and "content" in output:
        failed = output.get("success") is False
        output = output["content"]
    block = tool_result_block(id, reading.names.get(id, ""), output_of(output), is_error=failed)
    reading.flush()
    reading.messages.append(Message("tool", [block], time_ns=time_ns))
    return True


_LINES: Mapping[str, Callable[[_Reading, dict[str, Any], int], bool]] = {
    "session_meta": _meta,
    "turn_context": _context,
    "compacted": _compacted,
    "event_msg": _event,
    "response_item": _item,
}
_ITEMS: Mapping[str, Callable[[_Reading, dict[str, Any], int], bool]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_call,
    "local_shell_call": _shell_call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
}
