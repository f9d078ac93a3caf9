"""Forking: a conversation goes on in another session.

The other session is made in steps, since a conversation may be longer than one append. Until the
last of them its metadata says that it is not complete and it is paused, so that nothing answers
half a conversation. A crash leaves it like that: who forks again under the same id makes it anew,
and everybody else can see what it is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
import trio

from . import commands
from .arguments import check_count
from .errors import (
    InvalidArgument,
    MoorageError,
    SessionBusy,
    SessionClosed,
    SessionExists,
    SessionQuarantined,
)
from .events import NewEvent
from .identifiers import check_session_id, sortable_id
from .messages import event_places, message_events
from .transcript_pages import PAGE_EVENTS, read_transcript

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .dialogue import Compaction
    from .events import Event
    from .handles import Session
    from .messages import Message
    from .transcript import Transcript

logger = structlog.get_logger("moorage")

FORKED_FROM = "forked_from"
ROTATED_FROM = "rotated_from"
PROVIDER_SESSION_PREFIX = "provider_session."
"""Metadata of a session under such keys names a provider's own session, which has one user."""


async def fork_session(parent: Session, session_id: str | None, seq: int | None) -> Session:
    """See ``Session.fork``."""
    info = await parent.info()
    at = info.head_seq
    if seq is not None:
        at = check_count("seq", seq, minimum=1, maximum=info.head_seq)
    child = _child(parent, session_id)
    transcript = await read_transcript(parent, until=at)
    origin = {"session_id": parent.id, "seq": at}

    async def fill() -> None:
        await child.append_many(_settings(transcript))
        await _copy(transcript, at, child)

    made = await _make(
        parent, child, FORKED_FROM, origin, fill, is_same=lambda made: made.get("seq") == seq
    )
    if not made:
        await _finish_fork(child)
    await _record(parent, {"session_id": child.id, "seq": at})
    return child


async def _finish_fork(child: Session) -> None:
    """A crash may have come between a fork's completion and its first breath."""
    head_seq = (await child.info()).head_seq
    if not await child.events(before=head_seq + 1, types={"session_resumed"}, limit=1):
        await child.resume()


async def rotate_session(parent: Session, summary: str, session_id: str | None) -> Session:
    """See ``Session.rotate``."""
    status = await parent.status()
    if status.running or status.queued or status.waiting:
        raise SessionBusy(
            parent.id,
            running=len(status.running),
            queued=len(status.queued),
            waiting=len(status.waiting),
        )
    child = _child(parent, session_id)
    transcript = await read_transcript(parent)
    origin = {"session_id": parent.id, "seq": status.head_seq}
    reason = f"rotated into {child.id}"

    async def fill() -> None:
        compacted = NewEvent("context_compacted", {"summary": summary, "first_kept_seq": 1})
        await child.append_many([*_settings(transcript), compacted])
        # before the other one is complete: one that could not be closed has no successor
        await _record(parent, {"session_id": child.id, "seq": status.head_seq, "rotated": True})
        await parent.close(reason=reason)

    is_rotated = (await parent.info()).reason == reason
    made = await _make(parent, child, ROTATED_FROM, origin, fill, is_same=lambda _: is_rotated)
    if not made:
        await _finish_fork(child)
    return child


def _child(parent: Session, session_id: str | None) -> Session:
    if session_id is None:
        session_id = sortable_id("ses", parent._time_ns(), os.urandom(10))
    if check_session_id(session_id) == parent.id:
        raise InvalidArgument(f"session {session_id!r} cannot be forked into itself: name another")
    return parent._sibling(session_id)


async def _make(
    parent: Session,
    child: Session,
    key: str,
    origin: dict[str, Any],
    fill: Callable[[], Awaitable[None]],
    *,
    is_same: Callable[[dict[str, Any]], bool],
) -> bool:
    """Make the child and ``fill`` it. False if that was done before, which ``is_same`` tells from
    what its metadata says. What fails or is cancelled is taken away again; what a crash left half
    done is made anew."""
    copying = parent._log.copying
    if child.id in copying:
        raise SessionExists(child.id)
    copying.add(child.id)
    try:
        if not await _create(parent, child, key, origin, is_same):
            return False
        try:
            await child.pause()
            await fill()
            await child.configure(metadata_update={key: {**origin, "complete": True}})
            await child.resume()
        except BaseException:
            await _take_away(child)
            raise
        return True
    finally:
        copying.discard(child.id)


async def _create(
    parent: Session,
    child: Session,
    key: str,
    origin: dict[str, Any],
    is_same: Callable[[dict[str, Any]], bool],
) -> bool:
    """True if the child is there and empty, False if it is there and complete."""
    info = await parent.info()
    metadata = {
        name: value
        for name, value in info.metadata.items()
        if not name.startswith(PROVIDER_SESSION_PREFIX) and name not in (FORKED_FROM, ROTATED_FROM)
    }
    command = commands.OpenSession(
        mode="create",
        slots=info.slots,
        tags=info.tags,
        metadata={**metadata, key: {**origin, "complete": False}},
        summary=info.summary,
        expire_after_seconds=info.expire_after_seconds,
        node_tags=info.node_tags,
    )
    while True:
        try:
            return bool(await child._hand_over(child.id, command))
        except SessionExists:
            made = (await child.info()).metadata.get(key)
            if type(made) is not dict or made.get("session_id") != parent.id:
                raise
            if made.get("complete") is True:
                if not is_same(made):
                    raise
                return False
            await child._hand_over(child.id, commands.DeleteSession())


async def _take_away(child: Session) -> None:
    with trio.CancelScope(shield=True):
        try:
            await child._hand_over(child.id, commands.DeleteSession())
        except MoorageError as error:
            logger.warning("fork_left_behind", session_id=child.id, reason=str(error))


async def _record(parent: Session, data: dict[str, Any]) -> None:
    """Note in the parent what became of it; one that takes no more events stays as it is."""
    after = data["seq"]
    while page := await parent.events(after=after, limit=PAGE_EVENTS, types={"session_forked"}):
        if data in [event.data for event in page]:
            return
        after = page[-1].seq
    with suppress(SessionClosed, SessionQuarantined):
        await parent.append("session_forked", data)


def _settings(transcript: Transcript) -> list[NewEvent]:
    settings = transcript.settings
    return [NewEvent("conversation_configured", settings)] if settings else []


async def _copy(transcript: Transcript, at: int, child: Session) -> None:
    """Messages, then the compaction and the labels that point into them."""
    messages = transcript.settled(at)
    events = await child._append_batches(message_events(messages))
    places = event_places(messages)
    placed = [(m, events[place].seq) for m, place in zip(messages, places, strict=True)]
    compaction = transcript.compaction
    if compaction is not None:
        await child.append_many([_compacted(compaction, placed, events)])
    await child._append_batches(list(_labels(transcript, placed)))


def _compacted(
    compaction: Compaction, placed: list[tuple[Message, int]], events: list[Event]
) -> NewEvent:
    kept = [seq for message, seq in placed if message.seq >= compaction.first_kept_seq]
    first = kept[0] if kept else (events[-1].seq + 1 if events else 1)
    data = {"summary": compaction.summary, "first_kept_seq": first}
    return NewEvent("context_compacted", data)


def _labels(transcript: Transcript, placed: list[tuple[Message, int]]) -> Iterator[NewEvent]:
    """Labels on the branch that was copied, at the last message in front of them."""
    for label in transcript.labels.values():
        before = [seq for message, seq in placed if message.seq <= label.seq]
        if before and transcript.is_active(label.seq):
            data = {"label": label.label, "seq": max(before)}
            if label.description:
                data["description"] = label.description
            yield NewEvent("session_labelled", data)
