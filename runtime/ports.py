"""The store port: where logs live, as the runtime needs it.

A store keeps, for each session, a gapless sequence of records, the facts a listing shows, the
latest snapshot and the named cursors. Its promises, which ``moorage.stores.conformance`` checks:

1. One owner. ``claim`` gives an epoch above every earlier one of that session; a write under an
   older epoch, or one that does not continue at the head, raises StaleOwner and changes nothing.
2. ``append`` is atomic and durable when it returns: all records and the info, or nothing. It is
   cancel-safe: once begun it is never abandoned, the outcome is always delivered.
3. A reader sees only durable records, in order, without gap, from any cursor.
4. ``wait_news`` is a hint. It may return early; it must return soon after there is something new.
5. Failures are told apart: StoreFailed(written=False) left nothing behind and the same append may
   be tried again; StoreFailed(written=None) is of unknown outcome; poisoned=True means that every
   write fails from now on while reading goes on.
6. What makes no sense (a seq below 0, a page of no events), or what the store cannot hold (a time
   beyond 64 bits, an id that is no text), raises InvalidArgument and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from .commands import Answer, Command
from .events import Event
from .sessions import SessionInfo

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Deliver = Callable[[str, Command], Awaitable[Answer]]
"""The owner's door: (session_id, command) -> answer; raises MoorageError as a refusal."""


class Record(NamedTuple):
    """An event on its way into a store. Its seq is given by its place in the batch.

    ``body`` is the whole event as codec.encode_event made it; the other fields repeat what a
    store indexes. ``key`` is the idempotency key of a run_submitted event.
    """

    time_ns: int
    type: str
    run_id: str | None
    body: bytes
    key: str | None = None


@attrs.frozen
class Snapshot:
    """A machine's state after event ``seq``, encoded by codec.encode_state."""

    seq: int
    body: bytes


@attrs.frozen
class Claim:
    """Ownership of one session. ``head_seq`` is its last seq at the moment of the claim (that of
    the tombstone after a delete, 0 if it never existed) and ``info`` is None if it does not exist.
    """

    session_id: str
    epoch: int
    head_seq: int
    oldest_seq: int
    info: SessionInfo | None
    snapshot: Snapshot | None


@attrs.frozen
class Page:
    """Events read in one go, ascending.

    Forwards, continue with ``after=scanned_to``; backwards, with ``before=scanned_to``. A page may
    be empty and yet have scanned a part; everything has been read when ``scanned_to`` reaches
    ``head_seq`` (backwards: ``oldest_seq``). ``closed`` says whether the session was closed then.
    """

    events: list[Event]
    scanned_to: int
    head_seq: int
    oldest_seq: int
    closed: bool


@attrs.frozen
class StoredRun:
    """A run's request and its end, read when the session's head was ``head_seq``; ``ended`` is
    None while it is unfinished."""

    submitted: Event
    ended: Event | None
    head_seq: int


class StoreReader(Protocol):
    """Reading, which needs no ownership. Methods raise StoreFailed when the store cannot be read
    and CorruptLog when it is damaged."""

    async def info(self, session_id: str) -> SessionInfo | None:
        """The session's listing facts, or None if it does not exist (any more)."""
        ...

    def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """Every session as of the call, newest change first, from metadata alone.

        ``tags`` must all match; ``needs_worker`` leaves only those with SessionInfo.needs_worker.
        """
        ...

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        """Up to ``limit`` matching events with after < seq < before (None: to the head).

        ``backwards`` gives the last ones of the range instead of the first, still ascending.
        ``run_id`` gives a run's events from its request to its end, as far as both are there: what
        bears its id before or after is left out. Raises UnknownSession, InvalidArgument for a
        ``limit`` below 1, and CursorExpired if ``after`` is below ``oldest_seq - 1`` (not
        when reading backwards, which simply ends at the oldest).
        """
        ...

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        """Return soon after the head passes ``after``, or at once if it has: within milliseconds,
        surely within two seconds.

        Also returns when the session is deleted, and when the store fails or closes. With
        ``run_id`` it need only return for that run's terminal event (and those three). Called
        when the store is poisoned it raises StoreFailed: nothing new will ever come.
        """
        ...

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        """The run's request and its end, or None if unknown or if the request is trimmed away."""
        ...

    async def find_key(self, session_id: str, key: str) -> str | None:
        """The id of the run that was submitted with this idempotency key."""
        ...

    async def snapshot(self, session_id: str) -> Snapshot | None: ...

    async def cursor(self, session_id: str, name: str) -> int | None:
        """The seq last stored under the name, or None."""
        ...

    def statistics(self) -> Any:
        """A frozen attrs object with counts and sizes. If there is ``waiting`` among them, it is
        the number of tasks that wait for news."""
        ...


class Store(StoreReader, Protocol):
    """A store that one supervisor owns, or shares with others by leases.

    Constructors do no I/O; ``opened`` and ``reading`` are async context managers.
    """

    @property
    def lease_seconds(self) -> float | None:
        """How long a claim lives without ``renew``; None if it lives as long as the store is
        open."""
        ...

    def opened(self, *, owner: str, deliver: Deliver) -> AbstractAsyncContextManager[None]:
        """Open for writing. ``owner`` describes the process to people who are refused.

        Raises SessionHeld if the store takes one process at a time and has one, CorruptLog, and
        StoreFailed (unreadable, read-only, or of a newer format).
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[StoreReader]:
        """Open a reader beside whoever owns the store; it never writes."""
        ...

    async def claim(self, session_id: str) -> Claim:
        """Take the session over. Raises SessionHeld if another live process has it.

        When it returns, what the owner before had on its way has come, and is counted, or is
        refused. One that raises, Cancelled too, leaves the session to its owner.
        """
        ...

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Extend these leases; returns the claims that could not be kept."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give it up; a stale claim is ignored."""
        ...

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        """Append records at expected_seq, expected_seq + 1, ... and replace the info.

        ``info`` None keeps the old one; head_seq and modified_at_ns in it are the store's to set.
        The first append of a session brings an info. Raises StaleOwner, StoreFailed and
        InvalidArgument.
        """
        ...

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        """Replace the snapshot; ``snapshot.seq`` is at most the head."""
        ...

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        """Store a named cursor, durable on return. Raises UnknownSession."""
        ...

    async def trim(self, claim: Claim, before: int) -> None:
        """Forget events below ``before`` (at most head + 1); what is forgotten stays so, whatever
        smaller ``before`` comes later."""
        ...

    async def delete(self, claim: Claim) -> None:
        """Forget everything but the last seq; the claim is over. A reused id goes on above it."""
        ...

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        """Bring a command to whoever owns the session and return the answer, or raise the
        MoorageError that it was refused with."""
        ...
