"""Conversation: what a session's handle says and does about messages, labels and branches.

What is said is read from the log, as everything a handle says. What is done is an event that a
host appends: nothing is ever rewritten. Where an event would tear a run apart it is refused with
SessionBusy, by the session's owner itself, so that no run can start in between.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import commands
from .arguments import check_count, check_metadata
from .codec import check_event_type, private_copy
from .errors import (
    CheckpointMismatch,
    InvalidArgument,
    RecordTooLarge,
    UnknownCheckpoint,
)
from .events import NewEvent
from .forking import fork_session, rotate_session
from .identifiers import check_name, sortable_id
from .marks import Checkpoint, Label
from .messages import Message, message_events, message_from_plain, message_to_plain
from .transcript import Transcript
from .transcript_pages import read_transcript

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from .branches import Branch
    from .commands import Answer, Command
    from .events import Data, Event
    from .handles import Session
    from .limits import SupervisorLimits
    from .reading import SessionLog
    from .sessions import SessionInfo

SEQ_MAX = 2**63
DESCRIPTION_BYTES_MAX = 4_096
"""Of a label's description, a branch's name and a summary's head, in UTF-8."""
SUMMARY_BYTES_MAX = 1_048_576
BATCH_EVENTS = 256
BATCH_BYTES = 1_048_576
"""How much is appended at once where a whole conversation is."""


class ConversationReading:
    """Reading a session's conversation; the handle remembers what it has read."""

    _transcript: Transcript | None = None

    if TYPE_CHECKING:
        _log: SessionLog
        _limits: SupervisorLimits

        @property
        def id(self) -> str: ...
        async def info(self) -> SessionInfo: ...
        async def events(
            self,
            *,
            after: int = 0,
            before: int | None = None,
            limit: int = 100,
            types: set[str] | None = None,
            run_id: str | None = None,
            wait_seconds: float = 0,
        ) -> list[Event]: ...

    async def transcript(self) -> Transcript:
        """The conversation as of now. It is the handle's own, and grows with its next calls."""
        await self.info()
        if self._transcript is None:
            self._transcript = Transcript()
        return await read_transcript(self, self._transcript)

    async def messages(self, *, after: int = 0, limit: int | None = None) -> list[Message]:
        """Everything said on the active branch, or the first ``limit`` messages whose seq is above
        ``after``. Runs are told one after the other, each call followed by its result."""
        check_count("after", after, minimum=0, maximum=SEQ_MAX)
        if limit is not None:
            check_count("limit", limit, minimum=1, maximum=SEQ_MAX)
        return (await self.transcript()).since(after)[:limit]

    async def context(self) -> list[Message]:
        """What a model would be given now: the latest summary and what was said since, every call
        with a result, without runs that have not ended."""
        return (await self.transcript()).context()

    async def export_messages(self) -> list[dict[str, Any]]:
        """``messages`` as plain maps with role and content, for ``add_messages`` elsewhere."""
        return [message_to_plain(message) for message in await self.messages()]

    async def labels(self) -> list[Label]:
        """The session's bookmarks, the one that was set last, last."""
        return list((await self.transcript()).labels.values())

    async def events_since_label(
        self, label: str, *, limit: int = 100, types: set[str] | None = None
    ) -> list[Event]:
        """The first ``limit`` events behind a label. Raises InvalidArgument if there is none."""
        after = (await self.transcript()).labelled_seq(label)
        return await self.events(after=after, limit=limit, types=types)

    async def checkpoints(self) -> list[Checkpoint]:
        """The session's checkpoints, oldest first."""
        return list((await self.transcript()).checkpoints.values())

    async def branches(self) -> list[Branch]:
        """The session's branches, oldest first; the last one is the active one."""
        return (await self.transcript()).branches


class ConversationOperations(ConversationReading):
    """Changing a session's conversation. Methods raise SessionClosed, SessionQuarantined,
    UnknownSession, SessionHeld and StoreFailed as well as what they name themselves."""

    if TYPE_CHECKING:
        _hand_over: Callable[[str, Command], Awaitable[Answer]]
        _time_ns: Callable[[], int]

        def _sibling(self, session_id: str) -> Session: ...

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        """Record something outside any run; durable when it returns. Raises SessionClosed,
        RecordTooLarge, and InvalidArgument for types that only the session writes."""
        return (await self.append_many([NewEvent(type, data, metadata)]))[0]

    async def append_many(
        self, events: Iterable[NewEvent], *, expected_seq: int | None = None
    ) -> list[Event]:
        """Record several events outside any run, one behind the other: all of them or, if this
        raises, none. Each has to fit into a record, and so have all together. Raises as ``append``.

        With ``expected_seq`` they go there only if that is the session's head, so that whoever has
        read up to it decides on all there is; anything behind it raises SessionChanged.
        """
        if expected_seq is not None:
            check_count("expected_seq", expected_seq, minimum=0, maximum=SEQ_MAX)
        return await self._append(events, expected_seq=expected_seq)

    async def _append(
        self,
        events: Iterable[NewEvent],
        *,
        between_runs: bool = False,
        expected_seq: int | None = None,
    ) -> list[Event]:
        bytes_max = self._limits.record_bytes_max
        checked, total = [], 0
        for event in events:
            check_event_type(event.type)
            copy, size = private_copy(event.data, "data", bytes_max=bytes_max)
            checked.append(NewEvent(event.type, copy, check_metadata(event.metadata)))
            total += size
        if total > bytes_max:
            raise RecordTooLarge(f"{len(checked)} events together", size=total, limit=bytes_max)
        if not checked:
            return []
        command = commands.AppendEvents(
            events=tuple(checked),
            size_bytes=total,
            between_runs=between_runs,
            expected_seq=expected_seq,
        )
        appended: list[Event] = await self._hand_over(self.id, command)
        return appended

    async def add_messages(self, messages: Iterable[Message | Mapping[str, Any]]) -> list[Event]:
        """Record messages that were said elsewhere, outside any run; a map needs a role and
        content. Returns the events, all durable; those of a long conversation are appended in
        several batches, and a crash in between leaves the first of them.

        Raises InvalidArgument and RecordTooLarge, and then nothing was recorded.
        """
        read = [
            message
            if isinstance(message, Message)
            else message_from_plain(message, f"message {index}")
            for index, message in enumerate(messages)
        ]
        return await self._append_batches(message_events(read))

    async def _append_batches(self, events: list[NewEvent]) -> list[Event]:
        bytes_max = self._limits.record_bytes_max
        sizes = [private_copy(event.data, "message", bytes_max=bytes_max)[1] for event in events]
        appended: list[Event] = []
        batch: list[NewEvent] = []
        room = BATCH_BYTES
        for event, size in zip(events, sizes, strict=True):
            if batch and (len(batch) == BATCH_EVENTS or size > room):
                appended += await self._append(batch)
                batch, room = [], BATCH_BYTES
            batch.append(event)
            room -= size
        return appended + await self._append(batch)

    async def label(
        self, label: str, *, seq: int | None = None, description: str | None = None
    ) -> Label:
        """Set a bookmark at ``seq``, or at the last event; a label of that name moves there."""
        check_name("label", label)
        check_description("description", description)
        head_seq = (await self.info()).head_seq
        at = head_seq if seq is None else check_count("seq", seq, minimum=1, maximum=head_seq)
        data: dict[str, Any] = {"label": label, "seq": at}
        if description:
            data["description"] = description
        event = await self.append("session_labelled", data)
        return Label(label, at, description or None, event.time_ns)

    async def unlabel(self, label: str) -> bool:
        """Take a bookmark away. True if there was one."""
        check_name("label", label)
        found = (await self.transcript()).labels.get(label)
        if found is None:
            return False
        await self.append("session_labelled", {"label": label, "seq": found.seq, "removed": True})
        return True

    async def checkpoint(
        self, *, metadata: dict[str, Any] | None = None, label: str | None = None
    ) -> Checkpoint:
        """Note where the conversation is, with a checksum of all that was said up to here;
        ``restore`` takes the ``checkpoint_id`` of what this returns."""
        check_metadata(metadata)
        if label is not None:
            check_name("label", label)
        seq = (await self.info()).head_seq
        checksum = (await self.transcript()).checksum(seq)
        id = sortable_id("chk", self._time_ns(), os.urandom(10))
        data = {"checkpoint_id": id, "seq": seq, "checksum": checksum}
        if metadata is not None:
            data["metadata"] = metadata
        if label is not None:
            data["label"] = label
        event = await self.append("checkpoint_created", data)
        return Checkpoint(id, seq, checksum, metadata, label, event.time_ns)

    async def restore(self, checkpoint_id: str) -> None:
        """Go back to a checkpoint: the conversation goes on from there. What was said since is
        kept in the log, and ``branch`` can go back to it.

        The log is read again and its checksum compared. Raises UnknownCheckpoint,
        CheckpointMismatch, and SessionBusy while a run is under way.
        """
        check_name("checkpoint id", checkpoint_id)
        transcript = await read_transcript(self)
        checkpoint = transcript.checkpoints.get(checkpoint_id)
        if checkpoint is None:
            raise UnknownCheckpoint(self.id, checkpoint_id)
        found = transcript.checksum(checkpoint.seq)
        if found != checkpoint.checksum:
            raise CheckpointMismatch(
                self.id,
                checkpoint_id,
                seq=checkpoint.seq,
                expected=checkpoint.checksum,
                found=found,
            )
        data = {"to_seq": checkpoint.seq, "checkpoint_id": checkpoint_id}
        await self._append([NewEvent("session_restored", data)], between_runs=True)

    async def branch(
        self, seq: int, *, summary: str | None = None, name: str | None = None
    ) -> None:
        """Go on from ``seq``, which may also be one that was left before (0: from nothing).

        ``summary`` tells the new branch what was said on the one that is left. Raises
        InvalidArgument beyond the head, CursorExpired where events were trimmed away, and
        SessionBusy while a run is under way.
        """
        head_seq = (await self.info()).head_seq
        data: dict[str, Any] = {"to_seq": check_count("seq", seq, minimum=0, maximum=head_seq)}
        if summary is not None:
            data["summary"] = check_summary_text(summary)
        if name is not None:
            data["branch"] = check_name("branch name", name)
        if seq:
            await self.events(after=seq - 1, limit=1)  # raises CursorExpired
        await self._append([NewEvent("session_restored", data)], between_runs=True)

    async def clear(self) -> None:
        """Forget what was said, except for the settings; the log keeps it. Raises SessionBusy
        while a run is under way."""
        await self._append([NewEvent("conversation_cleared", {})], between_runs=True)

    async def fork(self, session_id: str | None = None, *, seq: int | None = None) -> Session:
        """A new session that begins with what was said up to ``seq``, or up to now.

        It gets this one's tags, slots, metadata and settings, but no provider's handle, and its
        metadata has ``forked_from``: {"session_id", "seq", "complete"}. While it is copied it is
        paused and not complete; one that a crash left so is made anew by the same call.

        Raises SessionExists if ``session_id`` is taken, InvalidArgument beyond the head.
        """
        return await fork_session(self._sibling(self.id), session_id, seq)

    async def rotate(self, summary: str, *, session_id: str | None = None) -> Session:
        """Close this session and go on in a new one, whose context begins with ``summary``.

        The new one gets tags, slots, metadata and settings, and ``rotated_from`` as ``fork``
        does. One that a crash or an error left half done is finished by the same call with the
        same id. Raises SessionBusy while work is left, SessionExists, InvalidArgument.
        """
        return await rotate_session(self._sibling(self.id), check_summary_text(summary), session_id)


def check_description(name: str, value: object) -> None:
    """Raise InvalidArgument unless it is None or a text of bounded size."""
    if value is not None and (
        type(value) is not str or len(value.encode("utf-8", "replace")) > DESCRIPTION_BYTES_MAX
    ):
        raise InvalidArgument(
            f"{name} must be None or a str of at most {DESCRIPTION_BYTES_MAX} bytes of UTF-8, "
            f"not {str(value)[:80]!r}"
        )


def check_summary_text(summary: object) -> str:
    """A summary that says something. Raises InvalidArgument."""
    if type(summary) is not str or not summary.strip():
        raise InvalidArgument(f"summary must be a text that says something, not {summary!r}")
    size = len(summary.encode("utf-8", "replace"))
    if size > SUMMARY_BYTES_MAX:
        raise InvalidArgument(
            f"summary is {size} bytes of UTF-8 and the limit is {SUMMARY_BYTES_MAX}: shorten it"
        )
    return summary
