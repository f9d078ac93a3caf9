"""Sessions as values: states, status, and the facts that listings are made of."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .placement import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class SessionState(str, enum.Enum):
    """What a session does with work: take and start, only take, neither, or nothing at all."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"
    QUARANTINED = "quarantined"

    __hash__ = str.__hash__

    def __str__(self) -> str:
        return self.value


CloseOutcome = Literal["completed", "failed", "cancelled"]
Mode = Literal["open_or_create", "create", "resume"]
QueuedPolicy = Literal["keep", "finish"]


def _as_tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)  # a store may keep it as a list


SEALED = "moorage.sealed"
"""The entry in the metadata of a session whose content is encrypted, as it is without its keys."""


@attrs.frozen
class SessionInfo:
    """What a listing shows, without reading the session's events.

    ``runs`` counts runs by state over the session's whole life (trimmed ones too). ``outcome`` and
    ``reason`` say how a closed session was closed, or why a quarantined one is. ``summary`` is the
    first words of the first input unless it was set. ``timed_waits`` counts waiting runs that are
    answered by time if by nobody else. ``deleted_at_ns`` is set while the session is deleted and
    can be restored (its state is closed then). ``expire_after_seconds`` is how long after its last
    change retention deletes it: infinity for never, None where only policies say. ``node_tags`` is
    what the session demands of the node that serves it, where nodes share a store, and ``agents``
    are the names in its unfinished runs, "" for those that name none.
    """

    id: str
    state: SessionState
    tags: dict[str, str]
    metadata: dict[str, Any]
    created_at_ns: int
    modified_at_ns: int
    head_seq: int
    runs: dict[str, int]
    summary: str | None = None
    slots: int = 1
    outcome: str | None = None
    reason: str | None = None
    timed_waits: int = 0
    closed_at_ns: int | None = None
    deleted_at_ns: int | None = None
    expire_after_seconds: float | None = None
    node_tags: dict[str, str] = attrs.field(factory=dict)
    agents: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)

    @property
    def active(self) -> int:
        """How many runs need a worker: a waiting one needs none until it is answered."""
        count = self.runs.get
        return count("queued", 0) + count("running", 0) + count("cancelling", 0)

    @property
    def needs_worker(self) -> bool:
        """Whether work would stand still if no supervisor opened the session."""
        if self.state is SessionState.QUARANTINED:
            return False
        return self.active > 0 or self.timed_waits > 0

    @property
    def demands(self) -> frozenset[str]:
        """What a node has to offer to serve the session, in the words of ``placement``."""
        return words_of(self.node_tags, self.agents)


@attrs.frozen
class SessionStatus:
    """One session at one moment. ``running``, ``queued`` and ``waiting`` are run ids, the queue in
    the order in which it will start. Of ``running``, ``cancelling`` have been asked to end and
    ``unresponsive`` did not do so within ``cancel_grace_seconds``."""

    session_id: str
    state: SessionState
    head_seq: int
    slots: int
    running: tuple[str, ...]
    queued: tuple[str, ...]
    waiting: tuple[str, ...]
    runs_queued_max: int
    draining: bool = False
    cancelling: tuple[str, ...] = ()
    unresponsive: tuple[str, ...] = ()


@attrs.frozen
class DrainReport:
    """What became of the work, as run ids.

    ``completed`` ended by themselves, however; ``interrupted`` were ended by the deadline and
    ``requeued`` go on in the next process; ``queued`` never started; ``not_stopped`` ignore
    cancellation and still run.
    """

    completed: tuple[str, ...] = ()
    interrupted: tuple[str, ...] = ()
    requeued: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()
    not_stopped: tuple[str, ...] = ()

    @staticmethod
    def of_all(reports: Iterable[DrainReport]) -> DrainReport:
        """One report over many."""
        parts = list(reports)
        return DrainReport(
            completed=tuple(run_id for part in parts for run_id in part.completed),
            interrupted=tuple(run_id for part in parts for run_id in part.interrupted),
            requeued=tuple(run_id for part in parts for run_id in part.requeued),
            queued=tuple(run_id for part in parts for run_id in part.queued),
            not_stopped=tuple(run_id for part in parts for run_id in part.not_stopped),
        )
