"""What goes into a store and what comes out of it: the values of the store port. They are imported
from ports.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from .events import Event
from .sessions import SessionInfo

if TYPE_CHECKING:
    from .commands import Answer
    from .errors import MoorageError


class Answered(NamedTuple):
    """What came of a command that was delivered with a letter: a MoorageError refuses it."""

    letter: str
    answer: Answer | MoorageError


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
