"""A conversation that another program kept, and how it comes into a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
from moorage.runtime.events import Event, NewEvent
from moorage.runtime.messages import Message, event_places, message_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@attrs.frozen
class Summary:
    """A summary that stands for the messages before the one with the index ``first_kept``."""

    text: str
    first_kept: int


@attrs.frozen
class Mark:
    """A label at the message with that index."""

    label: str
    index: int


@attrs.frozen(kw_only=True)
class ImportedConversation:
    """What a session file says.

    ``provider`` is who wrote it, ``session_id`` its id there. ``messages`` are those of the branch
    that was last used. ``settings`` has ``model`` and ``working_directory`` where they are known.
    ``torn_line`` is the number of a torn last line that was cut, ``damaged_lines`` are those that
    were skipped, ``skipped`` counts lines that say nothing of a conversation, by kind.
    """

    provider: str
    session_id: str | None = None
    title: str | None = None
    messages: list[Message]
    settings: dict[str, Any] = attrs.field(factory=dict)
    summary: Summary | None = None
    marks: list[Mark] = attrs.field(factory=list)
    torn_line: int | None = None
    damaged_lines: list[int] = attrs.field(factory=list)
    skipped: dict[str, int] = attrs.field(factory=dict)


class TakesMessages(Protocol):
    """What a conversation is recorded in: a ``Session``."""

    async def add_messages(
        self, messages: Iterable[Message | Mapping[str, Any]]
    ) -> list[Event]: ...
    async def append_many(self, events: Iterable[NewEvent]) -> list[Event]: ...


async def record_conversation(
    session: TakesMessages, conversation: ImportedConversation
) -> list[Event]:
    """Record an imported conversation in a session: settings, messages, the latest summary and
    labels. Returns the events of the messages.

    Raises as ``Session.add_messages`` does. A crash leaves the first part of a long conversation,
    so import into a session of its own.
    """
    await session.append_many(_settings(conversation))
    events = await session.add_messages(conversation.messages)
    await session.append_many(_behind(conversation, [event.seq for event in events]))
    return events


def conversation_events(conversation: ImportedConversation, *, first_seq: int) -> list[NewEvent]:
    """The events that ``record_conversation`` leaves, for a log in which they begin at
    ``first_seq``."""
    before = _settings(conversation)
    messages = message_events(conversation.messages)
    first_message = first_seq + len(before)
    seqs = list(range(first_message, first_message + len(messages)))
    return [*before, *messages, *_behind(conversation, seqs)]


def _settings(conversation: ImportedConversation) -> list[NewEvent]:
    if not conversation.settings:
        return []
    # a model is one of whoever it was given to, and means nothing to agents of other providers
    settings = {"provider": conversation.provider, **conversation.settings}
    return [NewEvent("conversation_configured", settings)]


def _behind(conversation: ImportedConversation, event_seqs: list[int]) -> list[NewEvent]:
    """The summary and the labels, behind messages whose events have these seqs."""
    seqs = [event_seqs[place] for place in event_places(conversation.messages)]
    behind: list[NewEvent] = []
    summary = conversation.summary
    if summary is not None:
        kept = summary.first_kept < len(seqs)
        after = event_seqs[-1] + 1 if event_seqs else 1
        data = {
            "summary": summary.text,
            "first_kept_seq": seqs[summary.first_kept] if kept else after,
        }
        behind.append(NewEvent("context_compacted", data))
    behind += [
        NewEvent("session_labelled", {"label": mark.label, "seq": seqs[mark.index]})
        for mark in conversation.marks
    ]
    return behind
