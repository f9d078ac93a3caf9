"""Session files of Claude Code: ``~/.claude/projects/FOLDER/SESSION.jsonl``.

Lines form a tree by ``uuid`` and ``parentUuid``; the branch of the last message counts. The parts
of one answer are lines of their own with one ``message.id``. Lines of sub-agents, reminders that
the program added itself, and its records of requests are not part of the conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.messages import Block, Message, tool_result_block

from .foreign_blocks import foreign_blocks, output_of
from .imported import ImportedConversation, Summary
from .json_lines import JsonLines, nanoseconds
from .lineage import lineage

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

_SPOKEN = ("user", "assistant")
SYNTHETIC = "<synthetic>"
"""The model of answers that the program made up itself."""


def is_claude_code(value: dict[str, Any]) -> bool:
    """Whether a line is one of Claude Code's."""
    return type(value.get("type")) is str and (
        "sessionId" in value or "isSidechain" in value or "leafUuid" in value
    )


@attrs.define
class _Reading:
    """Messages as they are put together; ``answers`` has the place of each by its message id."""

    messages: list[Message] = attrs.field(factory=list)
    answers: dict[str, int] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)
    summary: Summary | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)


def read_claude_code(
    path: str | os.PathLike[str], *, skip_damaged: bool = False
) -> ImportedConversation:
    """The conversation in a session file. Raises SessionFileInvalid and OSError."""
    lines = JsonLines(path, skip_damaged=skip_damaged)
    entries: dict[str, dict[str, Any]] = {}
    skipped: dict[str, int] = {}
    leaf = title = session_id = None
    known = False
    for line in lines:
        value = line.value
        known = known or is_claude_code(value)
        kind = str(value.get("type"))
        if kind == "summary" and type(value.get("summary")) is str:
            title = value["summary"]
        if type(value.get("sessionId")) is str:
            session_id = value["sessionId"]
        if type(value.get("uuid")) is str and value.get("isSidechain") is not True:
            entries[value["uuid"]] = value
            leaf = value["uuid"] if kind in _SPOKEN else leaf
        if not _is_told(value):
            skipped[kind] = skipped.get(kind, 0) + 1
    if not known:
        raise lines.invalid(1, "this is no session file of Claude Code")
    reading = _Reading()
    for entry in _branch(leaf, entries):
        if entry["type"] == "user":
            _user(reading, entry)
        else:
            _assistant(reading, entry)
    return ImportedConversation(
        provider="claude",
        session_id=session_id,
        title=title,
        messages=reading.messages,
        settings=reading.settings,
        summary=reading.summary,
        torn_line=lines.torn_line,
        damaged_lines=lines.damaged_lines,
        skipped=skipped,
    )


def _is_told(value: dict[str, Any]) -> bool:
    return (
        value.get("type") in _SPOKEN
        and type(value.get("message")) is dict
        and type(value.get("uuid")) is str
        and value.get("isSidechain") is not True
        and value.get("isMeta") is not True
        and value.get("isApiErrorMessage") is not True
    )


def _branch(leaf: str | None, entries: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """What is told on the way to the leaf, in the order of the file, with parts of the same answers
    and results of its calls that stand on side branches (calls that were made at once)."""
    path = lineage(leaf, entries, _parent)
    on_path = {entry["uuid"] for entry in path}
    answers = {_answer_id(entry) for entry in path} - {None}
    told = [entry for entry in entries.values() if _is_told(entry)]
    whole = [entry for entry in told if entry["uuid"] in on_path or _answer_id(entry) in answers]
    calls = {
        block["tool_call_id"]
        for entry in whole
        for block in foreign_blocks(entry["message"].get("content"))
        if block["type"] == "tool_call"
    }
    kept = {entry["uuid"] for entry in whole}
    return [
        entry
        for entry in told
        if entry["uuid"] in kept or any(r["tool_use_id"] in calls for r in _results(entry))
    ]


def _parent(entry: dict[str, Any]) -> object:
    # a compaction begins a new tree, and tells where it came from
    return entry.get("parentUuid") or entry.get("logicalParentUuid")


def _answer_id(entry: dict[str, Any]) -> str | None:
    message = entry.get("message")
    id = message.get("id") if entry.get("type") == "assistant" and type(message) is dict else None
    return id if type(id) is str else None


def _results(entry: dict[str, Any]) -> list[dict[str, Any]]:
    content = entry["message"].get("content")
    return [
        item
        for item in (content if type(content) is list else [])
        if type(item) is dict
        and item.get("type") == "tool_result"
        and type(item.get("tool_use_id")) is str
    ]


def _user(reading: _Reading, entry: dict[str, Any]) -> None:
    time_ns = nanoseconds(entry.get("timestamp"))
    content = entry["message"].get("content")
    blocks = foreign_blocks(content)
    if entry.get("isCompactSummary") is True:
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        if text:
            reading.summary = Summary(text, len(reading.messages))
        return
    for item in _results(entry):
        id = item["tool_use_id"]
        block = tool_result_block(
            id,
            reading.names.get(id, ""),
            output_of(item.get("content")),
            is_error=item.get("is_error") is True,
        )
        reading.messages.append(Message("tool", [block], time_ns=time_ns))
    if blocks:
        reading.messages.append(Message("user", blocks, time_ns=time_ns))
    if type(entry.get("cwd")) is str:
        reading.settings["working_directory"] = entry["cwd"]


def _assistant(reading: _Reading, entry: dict[str, Any]) -> None:
    content = entry["message"].get("content")
    blocks = foreign_blocks(content)
    if not blocks:
        return
    for block in blocks:
        if block["type"] == "tool_call":
            reading.names[block["tool_call_id"]] = block["tool_name"]
    model = entry["message"].get("model")
    if type(model) is str and model != SYNTHETIC:
        reading.settings["model"] = model
    original = content if type(content) is list else [{"type": "text", "text": content}]
    id = _answer_id(entry)
    if id is not None and id in reading.answers:
        _extend(reading, reading.answers[id], blocks, original)
        return
    if id is not None:
        reading.answers[id] = len(reading.messages)
    reading.messages.append(
        Message(
            "assistant",
            blocks,
            time_ns=nanoseconds(entry.get("timestamp")),
            original={"provider": "anthropic", "content": original},
        )
    )


def _extend(reading: _Reading, index: int, blocks: list[Block], original: list[Any]) -> None:
    """Another part of an answer; the results of its first calls may have come before."""
    before = reading.messages[index]
    whole = [*(before.original or {})["content"], *original]
    reading.messages[index] = attrs.evolve(
        before,
        blocks=[*before.blocks, *blocks],
        original={"provider": "anthropic", "content": whole},
    )
