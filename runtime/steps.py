"""What a machine's step gives its worker, and what the worker's tasks give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

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


Effect = StartRun | StopRun | ArmTimer


class Step(NamedTuple):
    events: list[Event]
    effects: list[Effect]
    answer: Answer = None


@attrs.frozen
class RunEndedSignal:
    """A run's task has ended. Exactly one of the ways it can:

    ``returned`` with ``output``, ``raised`` with ``problem``, ``parked`` with ``output`` holding
    the parked data and ``name``, or ``stopped`` by our cancellation.
    """

    run_id: str
    attempt: int
    how: str
    output: Any = None
    problem: dict[str, Any] | None = None
    name: str | None = None
    usage: dict[str, Any] | None = None
    size_bytes: int = 0
    """Of the output, encoded."""
