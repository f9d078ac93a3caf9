"""What a machine's step gives its worker, and what the worker's tasks give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from .events import Data

if TYPE_CHECKING:
    from .commands import Answer
    from .events import Event


class MachineFault(Exception):
    """The tables have no such transition: a defect in the shell or in the tables."""


class StartRun(NamedTuple):
    """Effect: execute the run with its agent."""

    run_id: str


class StopRun(NamedTuple):
    """Effect: cancel the run's task, and keep its slot until the task has ended."""

    run_id: str


class ArmTimer(NamedTuple):
    """Effect: give ``kind`` back as an expiry after ``seconds``.

    ``start`` counts the run's starts and goes back with it, so that a timer from before the run
    parked or was requeued says nothing about the start that followed.
    """

    run_id: str
    kind: str
    start: int
    seconds: float


class GiveAnswer(NamedTuple):
    """Effect: give the run's task what it asked for under ``name``."""

    run_id: str
    name: str
    value: Data


class OfferSteer(NamedTuple):
    """Effect: offer the run's task a message."""

    run_id: str
    steer_id: str
    message: Data


Effect = StartRun | StopRun | ArmTimer | GiveAnswer | OfferSteer


class Step(NamedTuple):
    events: list[Event]
    effects: list[Effect]
    answer: Answer = None


@attrs.frozen
class RunEndedSignal:
    """A run's task has ended. Exactly one of the ways it can:

    ``returned`` with ``output``, ``raised`` with ``problem``, ``parked`` with ``output`` holding
    the parked data and ``name``, or ``stopped`` by our cancellation. One that parked for at most
    ``timeout_seconds`` is answered with ``default`` then.
    """

    run_id: str
    attempt: int
    how: str
    output: Any = None
    problem: dict[str, Any] | None = None
    name: str | None = None
    usage: dict[str, Any] | None = None
    size_bytes: int = 0
    """Of the output, encoded, or of what was parked with."""
    timeout_seconds: float | None = None
    default: Any = None
    untold: tuple[str, ...] = ()
    """Ids of the messages that it took and did not emit a message_sent of."""


@attrs.frozen
class AskSignal:
    """A run's task wants an answer and keeps its slot; see ``RunContext.ask``."""

    run_id: str
    attempt: int
    name: str
    data: Data
    timeout_seconds: float | None = None
    default: Data = None
    size_bytes: int = 0
    """Of data and default, encoded."""
