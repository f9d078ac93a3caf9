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
6. A command that ``hand_over`` brings to another process is done once, whoever dies on the way: it
   comes with a letter, and ``append`` keeps the answer to the letter with what the command caused.
   A letter has one answer; it is delivered again, to whoever owns the session then, until it has.
7. What makes no sense (a seq below 0, a page of no events), or what the store cannot hold (a time
   beyond 64 bits, an id that is no text), raises InvalidArgument and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from .errors import InvalidArgument
from .stored import Answered as Answered  # noqa: TC001
from .stored import Claim as Claim  # noqa: TC001
from .stored import Page as Page  # noqa: TC001
from .stored import Record as Record  # noqa: TC001
from .stored import Snapshot as Snapshot  # noqa: TC001
from .stored import StoredRun as StoredRun  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .commands import Answer, Command
    from .placement import NodeInfo, NodeState, SessionHolder, UnheldSession
    from .sessions import SessionInfo


class Deliver(Protocol):
    """The owner's door: (session_id, command) -> answer; raises MoorageError as a refusal.

    A store that brings commands from one process to another gives each a ``letter``, which is its
    name in the store. The answer may have been kept with an append by the time it is returned.
    SessionHeld, and AdmissionClosed with the reason ``closed``, are no refusals of a letter: this
    process has not done it, and it is brought to whoever has the session next.
    """

    def __call__(
        self, session_id: str, command: Command, letter: str | None = None, /
    ) -> Awaitable[Answer]: ...


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

    async def cursors(self, session_id: str) -> dict[str, int]:
        """Every named cursor of the session with its seq; empty if there is no such session."""
        ...

    def tombstones(self) -> AsyncIterator[tuple[str, int]]:
        """Every session that was deleted and is not there again, as of the call, with its last
        seq, in any order."""
        ...

    def statistics(self) -> Any:
        """A frozen attrs object with counts and sizes. If there is ``waiting`` among them, it is
        the number of tasks that wait for news."""
        ...


class SizedReader(StoreReader, Protocol):
    """A reader that may say how large a session is, for less than it costs to read it. Stores need
    not; who wants to know then reads."""

    async def session_bytes(self, session_id: str) -> int:
        """The bytes of all bodies of the session's events, as ``append`` got them. Raises
        UnknownSession."""
        ...


class OrderedReader(Protocol):
    """What a StoreReader may offer besides: sessions in an order, from a point on, without reading
    the infos of all others. Where it is missing, queries list every session for each page."""

    async def session_page(
        self,
        *,
        order: Literal["id", "modified"],
        descending: bool,
        after: tuple[Any, ...] | None,
        prefix: str,
        limit: int,
    ) -> Sequence[SessionInfo]:
        """The first ``limit`` sessions behind ``after`` whose ids begin with ``prefix``.

        The order is that of the tuples (id,) or (modified_at_ns, id), which ``after`` is one of;
        ids compare by code points. No sessions, and nothing less, means that there are no more.
        """
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
        InvalidArgument. See LetterStore for stores whose commands come with letters.
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


class LetterStore(Store, Protocol):
    """A store that delivers commands with letters, and so takes their answers."""

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        answered: Sequence[Answered] = (),
    ) -> None:
        """As above, and in the same write the answers to these letters, all that were delivered to
        this process. StoreFailed(written=False), with nothing kept, if one of them has an answer
        already; it may also be for one that another process has taken meanwhile. Then what it asks
        for is not done here.
        """
        ...

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        """As above, with answers as in ``append``."""
        ...


class NodesReader(StoreReader, Protocol):
    """What a SharedStore and its readers tell of the nodes."""

    async def nodes(self) -> Sequence[NodeInfo]:
        """All that the store knows of, in the order in which they came. One that closed is gone,
        one that died stays for a day at least."""
        ...

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        """Up to ``limit`` sessions that need a worker, that no live owner has, and that no live
        node can serve, those that wait longest first."""
        ...


class HolderReader(NodesReader, Protocol):
    """A NodesReader that may say who has a session, without claiming it. Stores need not be able
    to."""

    async def holder(self, session_id: str) -> SessionHolder | None:
        """Who claimed the session last and has not given it up, live or not; None if nobody has
        it, or if there is no such session."""
        ...


class SharedStore(Store, NodesReader, Protocol):
    """A store whose claims are leases, so that several supervisors, its nodes, share the sessions.

    A node can serve a session if it offers all that the session demands (SessionInfo.demands) and
    all that a command for it does (``commands.demands_of``). ``hand_over`` brings a command for a
    session that nobody has to the ``deliver`` of a node that can serve it: to this one rather than
    to another, and to this one too if no live node can. A node that has announced nothing serves
    whatever it is given, and is given nothing by others.
    """

    async def announce(self, state: NodeState) -> Mapping[str, NodeState]:
        """Tell the others what this node offers and how busy it is, for as long as a lease.

        Returns what all live nodes announced, by their ids, with this one's own as the first.
        """
        ...

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        """Up to ``limit`` sessions that need a worker (SessionInfo.needs_worker), that no live
        owner has and whose demands are all in ``offer`` (None: whatever they are), those that
        wait longest first."""
        ...

    async def tell_unheld(self) -> None:
        """Have ``wait_unheld`` return on the other nodes: there are sessions to take."""
        ...

    async def wait_unheld(self) -> None:
        """Return when there may be sessions to take: soon after another node has called
        ``tell_unheld``, or has closed and left sessions that need a worker. A hint only, which may
        come for nothing and may get lost; one that came since the last call counts."""
        ...


def nodes_reader(store: StoreReader) -> NodesReader:
    """The store, or reader of one, as one of nodes. Raises InvalidArgument if it has none."""
    if not hasattr(store, "nodes"):
        raise InvalidArgument(
            f"a {type(store).__name__} has no nodes: it belongs to one process at a time"
        )
    return cast("NodesReader", store)


def holder_reader(store: StoreReader) -> HolderReader:
    """The store, or reader of one, as one that tells who has a session. Raises InvalidArgument if
    it does not."""
    if not hasattr(store, "holder"):
        raise InvalidArgument(f"a {type(store).__name__} does not tell who has a session")
    return cast("HolderReader", store)


def shared(store: Store) -> SharedStore | None:
    """The store as one that nodes share, None if it has one process at a time."""
    return None if store.lease_seconds is None else cast("SharedStore", store)
