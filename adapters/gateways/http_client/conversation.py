"""A session's conversation over HTTP: messages, labels, checkpoints, branches, forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, message_from_plain, message_to_plain
from moorage.runtime.reversible_json import dump_line
from moorage.runtime.transcript_pages import read_transcript

from . import decoding
from .encoding import given, plain
from .reading import SessionReading
from .transport import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moorage.runtime import Branch, Checkpoint, Label, NewEvent, Transcript
    from moorage.runtime.events import Data, Event

    from .handles import Session

BATCH_MESSAGES_MAX = 1_000
BATCH_BYTES = 4 * 1024 * 1024
"""How much of a conversation is sent at once, unless one message is more."""


class ConversationOperations(SessionReading):
    """Reading and changing a session's conversation. Methods that change it raise SessionClosed,
    SessionQuarantined, UnknownSession, SessionHeld, StoreFailed and ServerUnreachable as well as
    what they name themselves."""

    _transcript: Transcript | None = None

    if TYPE_CHECKING:

        def _sibling(self, session_id: str) -> Session: ...

    # ---- reading ----

    async def transcript(self) -> Transcript:
        """The conversation as of now. It is the handle's own, and grows with its next calls."""
        await self.info()
        self._transcript = await read_transcript(self, self._transcript)
        return self._transcript

    async def messages(self, *, after: int = 0, limit: int | None = None) -> list[Message]:
        """Everything said on the active branch, or the first ``limit`` messages whose seq is above
        ``after``. Runs are told one after the other, each call followed by its result."""
        for name, value in (("after", after), ("limit", 1 if limit is None else limit)):
            if type(value) is not int or value < (name == "limit"):
                raise InvalidArgument(f"{name} must be a whole number, not {value!r}")
        return (await self.transcript()).since(after)[:limit]

    async def context(self) -> list[Message]:
        """What a model would be given now: the latest summary and what was said since, every call
        with a result, without runs that have not ended."""
        return decoding.messages(await self._get("context"))

    async def export_messages(self) -> list[dict[str, Any]]:
        """``messages`` as plain maps with role and content, for ``add_messages`` elsewhere."""
        return [message_to_plain(message) for message in await self.messages()]

    async def labels(self) -> list[Label]:
        """The session's bookmarks, the one that was set last, last."""
        document = await self._get("labels")
        return [decoding.label(item) for item in decoding.member(document, "labels")]

    async def events_since_label(
        self, label: str, *, limit: int = 100, types: set[str] | None = None
    ) -> list[Event]:
        """The first ``limit`` events behind a label. Raises InvalidArgument if there is none."""
        for found in await self.labels():
            if found.label == label:
                return await self.events(after=found.seq, limit=limit, types=types)
        raise InvalidArgument(f"session {self._id!r} has no label {label!r}: see labels()")

    async def checkpoints(self) -> list[Checkpoint]:
        """The session's checkpoints, oldest first."""
        document = await self._get("checkpoints")
        return [decoding.checkpoint(item) for item in decoding.member(document, "checkpoints")]

    async def branches(self) -> list[Branch]:
        """The session's branches, oldest first; the last one is the active one."""
        document = await self._get("branches")
        return [decoding.branch(item) for item in decoding.member(document, "branches")]

    # ---- recording ----

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        """Record something outside any run; durable when it returns. Raises SessionClosed,
        RecordTooLarge, and InvalidArgument for types that only the session writes."""
        return (await self._append([_new_event(type, data, metadata)]))[0]

    async def append_many(
        self, events: Iterable[NewEvent], *, expected_seq: int | None = None
    ) -> list[Event]:
        """Record several events outside any run, one behind the other: all of them or, if this
        raises, none, except for ServerUnreachable. Raises as ``append``, InvalidArgument for more
        than the gateway takes at once, and SessionChanged if the session's head is not
        ``expected_seq``."""
        new = [_new_event(event.type, event.data, event.metadata) for event in events]
        return await self._append(new, expected_seq=expected_seq) if new else []

    async def _append(
        self, new: list[dict[str, Any]], *, expected_seq: int | None = None
    ) -> list[Event]:
        body: dict[str, Any] = {"events": new}
        if expected_seq is not None:
            body["expected_seq"] = expected_seq
        return decoding.events(await self._post("events", body=body))

    async def add_messages(self, messages: Iterable[Message | Mapping[str, Any]]) -> list[Event]:
        """Record messages that were said elsewhere, outside any run; a map needs a role and
        content. Returns the events, all durable; those of a long conversation are sent in several
        batches, and a crash in between leaves the first of them.

        Raises InvalidArgument, and then nothing was recorded, and RecordTooLarge.
        """
        read = [
            message
            if isinstance(message, Message)
            else message_from_plain(message, f"message {index}")
            for index, message in enumerate(messages)
        ]
        told = [plain(message_to_plain(message), "message") for message in read]
        appended: list[Event] = []
        for batch in _batches(told):
            document = await self._post("messages", body={"messages": batch})
            appended += decoding.events(document)
        return appended

    # ---- marks and branches ----

    async def label(
        self, label: str, *, seq: int | None = None, description: str | None = None
    ) -> Label:
        """Set a bookmark at ``seq``, or at the last event; a label of that name moves there."""
        body = given(seq=seq, description=description)
        path = path_of("sessions", self._id, "labels", label)
        return decoding.label(
            await self._transport.call("PUT", path, body=body, repeatable=seq is not None)
        )

    async def unlabel(self, label: str) -> bool:
        """Take a bookmark away. True if there was one."""
        path = path_of("sessions", self._id, "labels", label)
        return changed(await self._transport.call("DELETE", path, repeatable=True))

    async def checkpoint(
        self, *, metadata: dict[str, Any] | None = None, label: str | None = None
    ) -> Checkpoint:
        """Note where the conversation is, with a checksum of all that was said up to here;
        ``restore`` takes the ``checkpoint_id`` of what this returns."""
        body = given(metadata=plain(metadata, "metadata"), label=label)
        return decoding.checkpoint(await self._post("checkpoints", body=body))

    async def restore(self, checkpoint_id: str) -> None:
        """Go back to a checkpoint: the conversation goes on from there. What was said since is
        kept in the log, and ``branch`` can go back to it.

        Raises UnknownCheckpoint, CheckpointMismatch, and SessionBusy while a run is under way.
        """
        await self._post("checkpoints", checkpoint_id, "restore")

    async def branch(
        self, seq: int, *, summary: str | None = None, name: str | None = None
    ) -> None:
        """Go on from ``seq``, which may also be one that was left before (0: from nothing).

        ``summary`` tells the new branch what was said on the one that is left. Raises
        InvalidArgument beyond the head, CursorExpired where events were trimmed away, and
        SessionBusy while a run is under way.
        """
        await self._post("branches", body=given(seq=seq, summary=summary, name=name))

    async def clear(self) -> None:
        """Forget what was said, except for the settings; the log keeps it. Raises SessionBusy
        while a run is under way."""
        await self._post("clear")

    async def fork(self, session_id: str | None = None, *, seq: int | None = None) -> Session:
        """A new session that begins with what was said up to ``seq``, or up to now.

        Raises SessionExists if ``session_id`` is taken, InvalidArgument beyond the head.
        """
        document = await self._post("forks", body=given(session_id=session_id, seq=seq))
        return self._sibling(decoding.session_info(document).id)

    async def rotate(self, summary: str, *, session_id: str | None = None) -> Session:
        """Close this session and go on in a new one, whose context begins with ``summary``.

        One that a crash or an error left half done is finished by the same call with the same id.
        Raises SessionBusy while work is left, SessionExists, InvalidArgument.
        """
        document = await self._post(
            "rotate",
            body=given(summary=summary, session_id=session_id),
            repeatable=session_id is not None,
        )
        return self._sibling(decoding.session_info(document).id)


def changed(document: Any) -> bool:
    return bool(decoding.member(document, "changed"))


def _new_event(type: str, data: Data, metadata: dict[str, Any] | None) -> dict[str, Any]:
    event = {"type": type, "data": plain(data, "data")}
    return event if metadata is None else event | {"metadata": plain(metadata, "metadata")}


def _batches(told: list[Any]) -> Iterable[list[Any]]:
    batch: list[Any] = []
    room = BATCH_BYTES
    for message in told:
        size = len(dump_line(message))
        if batch and (size > room or len(batch) == BATCH_MESSAGES_MAX):
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(message)
        room -= size
    if batch:
        yield batch
