"""Session files of pi: ``~/.pi/agent/sessions/--FOLDER--/TIME_ID.jsonl``, versions 1 to 3.

Behind a head, entries form a tree by ``id`` and ``parentId``; the branch of the last one counts.
Version 1 has no ids: there each entry follows the one before, and a compaction names the place of
the first entry it kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.messages import (
    Message,
    summary_block,
    text_block,
    tool_result_block,
)

from .foreign_blocks import foreign_blocks, output_of
from .imported import ImportedConversation, Mark, Summary
from .json_lines import JsonLines, nanoseconds
from .lineage import lineage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

VERSION = 3


def is_pi(value: dict[str, Any]) -> bool:
    """Whether a line is the head of a pi session."""
    return value.get("type") == "session" and type(value.get("id")) is str and "cwd" in value


@attrs.define
class _Reading:
    """``places`` has, for each entry of the branch, the number of messages in front of it."""

    messages: list[Message] = attrs.field(factory=list)
    places: dict[str, int] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict)
    title: str | None = None
    summary: Summary | None = None


def read_pi(path: str | os.PathLike[str], *, skip_damaged: bool = False) -> ImportedConversation:
    """The conversation in a session file. Raises SessionFileInvalid and OSError."""
    lines = JsonLines(path, skip_damaged=skip_damaged)
    head: dict[str, Any] | None = None
    entries: list[dict[str, Any]] = []
    for line in lines:
        if head is not None:
            entries.append(line.value)
            continue
        head = line.value
        if not is_pi(head):
            raise lines.invalid(line.number, "this is no head of a pi session")
        version = head.get("version", 1)
        if type(version) is not int or version > VERSION:
            raise lines.invalid(
                line.number, f"its version is {version!r}, and this code reads up to {VERSION}"
            )
    if head is None:
        raise lines.invalid(1, "this is no session file of pi")
    if head.get("version", 1) == 1:
        _give_ids(entries)
    return _conversation(head, entries, lines)


def _give_ids(entries: list[dict[str, Any]]) -> None:
    """Version 1 to 2; indexes count the head too."""
    for index, entry in enumerate(entries):
        entry["id"] = str(index + 1)
        entry["parentId"] = str(index)
        entry["firstKeptEntryId"] = str(entry.get("firstKeptEntryIndex"))


def _conversation(
    head: dict[str, Any], entries: list[dict[str, Any]], lines: JsonLines
) -> ImportedConversation:
    by_id = {entry["id"]: entry for entry in entries if type(entry.get("id")) is str}
    leaf = next(reversed(by_id), None)
    reading = _Reading()
    if type(head["cwd"]) is str:
        reading.settings["working_directory"] = head["cwd"]
    skipped: dict[str, int] = {}
    branch = lineage(leaf, by_id, lambda entry: entry.get("parentId"))
    for entry in branch:
        reading.places[entry["id"]] = len(reading.messages)
        kind = entry.get("type")
        reader = _ENTRIES.get(kind) if type(kind) is str else None
        if reader is None or not reader(reading, entry):
            skipped[str(kind)] = skipped.get(str(kind), 0) + 1
    return ImportedConversation(
        provider="pi",
        session_id=head["id"],
        title=reading.title,
        messages=reading.messages,
        settings=reading.settings,
        summary=reading.summary,
        marks=_marks(reading, entries),
        torn_line=lines.torn_line,
        damaged_lines=lines.damaged_lines,
        skipped=skipped,
    )


def _marks(reading: _Reading, entries: list[dict[str, Any]]) -> list[Mark]:
    """Labels are of entries, on whatever branch they were set; the last one of an entry counts."""
    labels: dict[str, str] = {}
    for entry in entries:
        if entry.get("type") == "label" and type(entry.get("targetId")) is str:
            labels.pop(entry["targetId"], None)
            if type(entry.get("label")) is str and entry["label"].strip():
                labels[entry["targetId"]] = entry["label"]
    last = len(reading.messages) - 1
    return [
        Mark(label, min(reading.places[id], last))
        for id, label in labels.items()
        if id in reading.places and last >= 0
    ]


def _message(reading: _Reading, entry: dict[str, Any]) -> bool:
    message: Any = entry.get("message")
    role = message.get("role") if type(message) is dict else None
    reader = _ROLES.get(role) if type(role) is str else None
    told = None if reader is None else reader(message)
    if told is None or not told.blocks:
        return False
    time_ns = nanoseconds(entry.get("timestamp")) or nanoseconds(message.get("timestamp"))
    reading.messages.append(attrs.evolve(told, time_ns=time_ns))
    if told.role == "assistant" and type(message.get("model")) is str:
        reading.settings["model"] = message["model"]
    return True


def _user(message: dict[str, Any]) -> Message:
    return Message("user", foreign_blocks(message.get("content")))


def _assistant(message: dict[str, Any]) -> Message:
    cut_short = message.get("stopReason") in ("error", "aborted")
    return Message("assistant", foreign_blocks(message.get("content")), partial=cut_short)


def _tool_result(message: dict[str, Any]) -> Message | None:
    id, name = message.get("toolCallId"), message.get("toolName")
    if type(id) is not str:
        return None
    block = tool_result_block(
        id,
        name if type(name) is str else "",
        output_of(message.get("content")),
        is_error=message.get("isError") is True,
    )
    return Message("tool", [block])


def _bash(message: dict[str, Any]) -> Message | None:
    """A command that the user ran: the model is told of it in the user's name."""
    if message.get("excludeFromContext") is True:
        return None
    text = f"Ran `{message.get('command')}`:\n{message.get('output')}"
    return Message("user", [text_block(text)])


def _custom_message(reading: _Reading, entry: dict[str, Any]) -> bool:
    blocks = foreign_blocks(entry.get("content"))
    if blocks:
        time_ns = nanoseconds(entry.get("timestamp"))
        reading.messages.append(Message("user", blocks, time_ns=time_ns))
    return bool(blocks)


def _branch_summary(reading: _Reading, entry: dict[str, Any]) -> bool:
    if type(entry.get("summary")) is not str or not entry["summary"]:
        return False
    block = summary_block(entry["summary"], of="branch")
    time_ns = nanoseconds(entry.get("timestamp"))
    reading.messages.append(Message("user", [block], time_ns=time_ns))
    return True


def _compaction(reading: _Reading, entry: dict[str, Any]) -> bool:
    first = entry.get("firstKeptEntryId")
    if type(entry.get("summary")) is not str or not entry["summary"]:
        return False
    # nothing in front of it is kept where the entry that it names is not there
    place = reading.places.get(first) if type(first) is str else None
    reading.summary = Summary(entry["summary"], len(reading.messages) if place is None else place)
    return True


def _model(reading: _Reading, entry: dict[str, Any]) -> bool:
    if type(entry.get("modelId")) is not str:
        return False
    reading.settings["model"] = entry["modelId"]
    return True


def _info(reading: _Reading, entry: dict[str, Any]) -> bool:
    name = entry.get("name")
    reading.title = name if type(name) is str and name.strip() else None
    return True


def _label(reading: _Reading, entry: dict[str, Any]) -> bool:
    return True


_ROLES: Mapping[str, Callable[[dict[str, Any]], Message | None]] = {
    "user": _user,
    "assistant": _assistant,
    "toolResult": _tool_result,
    "bashExecution": _bash,
    "custom": _user,
    "hookMessage": _user,
}
_ENTRIES: Mapping[str, Callable[[_Reading, dict[str, Any]], bool]] = {
    "message": _message,
    "custom_message": _custom_message,
    "branch_summary": _branch_summary,
    "compaction": _compaction,
    "model_change": _model,
    "session_info": _info,
    "label": _label,
}
