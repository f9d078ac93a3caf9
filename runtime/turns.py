"""What a worker keeps between deciding and being durable, and its timers."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs
import trio

from .agents import Agent, RunSession
from .codec import encode_event
from .events import schema_version
from .limits import SupervisorLimits
from .permits import RunPermits
from .placement import words_of
from .ports import Store
from .recent_runs import RecentRuns
from .tail import TailCache

if TYPE_CHECKING:
    from .drains import DrainWatch
    from .events import Event
    from .inbox import Ask
    from .machine import SessionMachine
    from .ports import Record
    from .steps import Effect, Step


@attrs.define
class Environment:
    """What all workers of one supervisor share.

    ``draining`` is how new workers begin, unless their session was drained or resumed by itself:
    ``draining_by_id`` keeps that while the session is out of memory.
    """

    store: Store
    limits: SupervisorLimits
    agents: Callable[[str | None], Agent | None]
    permits: RunPermits
    tail: TailCache
    recent: RecentRuns
    time_ns: Callable[[], int]
    session_of: Callable[[str], RunSession]
    """A handle for agents, by session id."""
    offer: frozenset[str] | None = None
    """What this node offers, in the words of placement.py; None where nobody else could serve what
    it cannot: then every session is its own."""
    draining: str | None = None
    draining_by_id: dict[str, str | None] = attrs.field(factory=dict)

    def draining_of(self, session_id: str) -> str | None:
        return self.draining_by_id.get(session_id, self.draining)

    def set_draining(self, session_id: str, draining: str | None) -> None:
        """Keep a session's own condition for as long as it differs from the process's."""
        if draining == self.draining:
            self.draining_by_id.pop(session_id, None)
        else:
            self.draining_by_id[session_id] = draining

    def may_start(self, machine: SessionMachine) -> bool:
        """Whether a slot is free and the next run is for this node."""
        if not machine.startable():
            return False
        if self.offer is None:
            return True
        agent = machine.next_run().agent or ""
        return words_of(machine.image.node_tags, (agent,)) <= self.offer

    def leaves_to_others(self, machine: SessionMachine) -> bool:
        """Whether the session, in which nothing runs, is for other nodes: this one offers less
        than it demands and can start nothing, or drains."""
        image = machine.image
        if self.offer is None or image.state is None or self.may_start(machine):
            return False
        if self.draining == "keep" and machine.draining == "keep":
            return True
        return not words_of(image.node_tags, image.agents) <= self.offer

    def forget(self, session_id: str) -> None:
        """The session was deleted."""
        self.draining_by_id.pop(session_id, None)
        self.recent.forget(session_id)


class Keeper(Protocol):
    """What a worker needs of whoever keeps it alive."""

    def start_soon(
        self, function: Callable[..., Awaitable[None]], *args: object, name: str
    ) -> None:
        """Start a task in the supervisor's nursery."""

    def note_idle(self, idle: bool) -> None:
        """The worker begins or ends to have nothing to do."""

    def note_handed_on(self) -> None:
        """The worker has left work to whichever node takes it."""

    def wake_at(self, time: float) -> None:
        """The worker leaves, and something falls due at that time of trio's clock."""

    def note_failed(self, error: BaseException) -> None:
        """What the worker will raise, before the tasks of its runs have ended."""


class Leave(NamedTuple):
    """Inbox item: go, if there is nothing to do; ``final``: as soon as nothing runs."""

    final: bool = False


class Granted(NamedTuple):
    """Inbox item: a permit to run has come."""


class Expiry(NamedTuple):
    """Inbox item: a run's timer has run out."""

    run_id: str
    kind: str
    start: int


class Trimming(NamedTuple):
    """An answer that is still to be worked out, behind the batch: trim before this seq."""

    before: int


class Batch:
    """One turn's outcome before it is durable.

    ``inputs`` are the items that did not come from callers; they are taken again if the write
    leaves nothing behind. ``called_off`` are drains that a resumption ends, and ``resumed_from`` is
    the condition that it ended.
    """

    __slots__ = (
        "answers",
        "called_off",
        "effects",
        "events",
        "first_seq",
        "inputs",
        "records",
        "resumed_from",
        "starts",
    )

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.records: list[Record] = []
        self.events: list[Event] = []
        self.effects: list[Effect] = []
        self.answers: list[tuple[Ask, Any]] = []
        self.inputs: list[Any] = []
        self.called_off: list[DrainWatch] = []
        self.resumed_from: str | None = None
        self.starts = 0

    def absorb(self, step: Step) -> None:
        """Add a step's events and effects, in order."""
        for event in step.events:
            self.events.append(event)
            self.records.append(_encode(event))
        self.effects += step.effects


def _encode(event: Event) -> Record:
    key = event.data.get("key") if event.type == "run_submitted" else None
    return encode_event(
        event.time_ns,
        event.type,
        event.run_id,
        event.data,
        event.metadata,
        version=schema_version(event.type),
        key=key,
        checked=True,  # the machine makes events of what was checked on its way in
    )


TIMERS_UNCHECKED_MAX = 100
"""Timers that may wait before those of ended runs are looked for and forgotten."""


class Timers:
    """Items that become due at a time of trio's clock, earliest first."""

    __slots__ = ("_count", "_heap", "_unchecked_max")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0
        self._unchecked_max = TIMERS_UNCHECKED_MAX

    def __len__(self) -> int:
        return len(self._heap)

    def arm(self, seconds: float, item: object) -> None:
        self._count += 1
        heapq.heappush(self._heap, (trio.current_time() + seconds, self._count, item))

    def next_at(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")

    def __iter__(self) -> Iterator[Any]:
        return (item for _, _, item in self._heap)

    def due(self) -> list[Any]:
        """Remove and return what is due now."""
        now = trio.current_time()
        items = []
        while self._heap and self._heap[0][0] <= now:
            items.append(heapq.heappop(self._heap)[2])
        return items

    def keep_now_and_then(self, wanted: Callable[[Any], bool]) -> None:
        """Forget the others when they may have become many: most timers are of runs that have
        ended, long before they would be due."""
        if len(self._heap) >= self._unchecked_max:
            self.keep(wanted)
            self._unchecked_max = 2 * len(self._heap) + TIMERS_UNCHECKED_MAX

    def keep(self, wanted: Callable[[Any], bool]) -> None:
        """Forget the others."""
        self._heap = [entry for entry in self._heap if wanted(entry[2])]
        heapq.heapify(self._heap)
