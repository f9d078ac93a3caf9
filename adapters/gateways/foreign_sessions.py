"""``moorage import`` of any file: an export of ours, a session of another program, or messages.

A conversation from elsewhere becomes a session with one event per message and no runs. It is
written as an export is: whole, or not at all.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal

import trio
from moorage.adapters.agents.session_files import (
    SessionFileInvalid,
    conversation_events,
    load_session_file,
)
from moorage.runtime import InvalidArgument, MoorageError, SupervisorLimits
from moorage.runtime.codec import encode_event
from moorage.runtime.events import STATE_TYPES, Event, NewEvent
from moorage.runtime.identifiers import check_session_id, sortable_id
from moorage.runtime.image import SessionImage
from moorage.runtime.summaries import SUMMARY_CHARS_MAX

from .chat.places import DIRECTORY_TAG, directory_tag
from .frame import CommandFailed, note
from .importing import Export, import_session, is_events_file, write_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.adapters.agents.session_files import ImportedConversation, SessionFormat
    from moorage.runtime.ports import Store

ImportFormat = Literal["moorage", "claude", "codex", "pi", "messages"]
WHAT_IS_IMPORTED = (
    "An export, a session file of Claude Code, Codex or pi, or messages as JSON lines"
)
HEAD_BYTES = 4_096
RECORD_BYTES_MAX = SupervisorLimits().record_bytes_max
IMPORTED_FROM = "imported_from"
"""Metadata of a session that says where it comes from: {"provider", "session_id"?}."""


async def import_file(
    store: Store,
    name: str,
    *,
    new_id: str | None = None,
    format: ImportFormat | None = None,
    skip_damaged: bool = False,
) -> str:
    """Bring the file of that name ("-" is standard input) into a new session and return its id:
    ``new_id``, that of the file, or a new one. ``format`` None tells by its first lines what it is.

    Raises CommandFailed naming the line, with nothing changed, and OSError.
    """
    with _on_disk(name) as path:
        if format == "moorage" or (format is None and _is_export(path)):
            with _opened(path) as file:
                return await import_session(store, file, new_id)
        conversation = await _conversation(path, format, skip_damaged)
    session_id = new_id or _id_of(conversation)
    export, events = await trio.to_thread.run_sync(_export_of, conversation, session_id)
    imported = await write_session(store, export, lambda: enumerate(events, 1), session_id)
    _tell(conversation)
    return imported


@contextmanager
def _on_disk(name: str) -> Iterator[str]:
    """The path of the file, or of a copy of standard input: an import reads it twice."""
    if name != "-":
        yield name
        return
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield copy.name


def _is_export(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.readline(HEAD_BYTES)
    return b'"moorage_export"' in head or is_events_file(head)


def _opened(path: str) -> IO[str]:
    return open(path, encoding="utf-8", errors="surrogateescape", newline="\n")


async def _conversation(
    path: str, format: SessionFormat | None, skip_damaged: bool
) -> ImportedConversation:
    try:
        return await load_session_file(path, format=format, skip_damaged=skip_damaged)
    except SessionFileInvalid as error:
        reason = error.reason.replace("skip_damaged=True", "--skip-damaged")
        if format is None:
            reason = reason.replace("this is no ", "this is no export of moorage, no ")
        raise CommandFailed(f"line {error.line}: {reason}; nothing was imported") from error


def _id_of(conversation: ImportedConversation) -> str:
    try:
        return check_session_id(conversation.session_id)
    except InvalidArgument:
        return sortable_id("ses", time.time_ns(), os.urandom(10))


def _export_of(conversation: ImportedConversation, session_id: str) -> tuple[Export, list[Event]]:
    """The session as if it had been exported. Raises CommandFailed for what no log can keep."""
    origin = {"provider": conversation.provider, "session_id": conversation.session_id}
    directory = conversation.settings.get("working_directory")
    opened: dict[str, Any] = {
        "slots": 1,
        # where moorage chat --continue looks for it
        "tags": {DIRECTORY_TAG: directory_tag(directory)} if directory else {},
        "metadata": {IMPORTED_FROM: {k: v for k, v in origin.items() if v is not None}},
    }
    if summary := _summary(conversation):
        opened["summary"] = summary
    facts = [
        NewEvent("session_opened", opened),
        *conversation_events(conversation, first_seq=2),
    ]
    now = time.time_ns()
    events = [
        Event(session_id, seq, now, fact.type, None, fact.data, fact.metadata)
        for seq, fact in enumerate(facts, 1)
    ]
    image = SessionImage(session_id)
    for event in events:
        try:
            encode_event(
                now, event.type, None, event.data, event.metadata, bytes_max=RECORD_BYTES_MAX
            )
        except MoorageError as error:
            raise CommandFailed(f"{error}; nothing was imported") from error
        if event.type in STATE_TYPES:
            image.apply(event)
    return Export(session_id, 1, len(events), image), events


def _summary(conversation: ImportedConversation) -> str | None:
    """What listings show: the title, or how the conversation begins."""
    asked = (message.text for message in conversation.messages if message.role == "user")
    text = conversation.title or next((text for text in asked if text.strip()), "")
    return " ".join(text.split())[:SUMMARY_CHARS_MAX] or None


def _tell(conversation: ImportedConversation) -> None:
    note(f"{len(conversation.messages)} messages ({conversation.provider})")
    if conversation.torn_line is not None:
        note(f"line {conversation.torn_line} was torn off and is left out")
    for line in conversation.damaged_lines:
        note(f"line {line} is damaged and was skipped")
