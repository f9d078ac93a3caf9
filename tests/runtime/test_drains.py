"""What a drain waits for, and what it reports."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.commands import Cancel, Drain, OpenSession, Submit
from moorage.runtime.drains import DrainWatch
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.sessions import DrainReport
from moorage.runtime.steps import RunEndedSignal, Step

NOBODY: frozenset[str] = frozenset()


class Draining:
    """A machine with runs, and a watch that is told of its steps."""

    def __init__(self, queued: str = "keep", *, slots: int = 1) -> None:
        self.machine = SessionMachine(SessionImage("s"), SupervisorLimits())
        self.machine.handle(OpenSession(slots=slots), 1)
        ask: Any = object()
        command = Drain(timeout_seconds=9.0, queued=queued)  # type: ignore[arg-type]
        self.watch = DrainWatch(ask, command)

    def note(self, step: Step) -> None:
        self.watch.note(step.events)

    def submit(self, run_id: str, **options: Any) -> None:
        self.note(self.machine.handle(Submit(run_id=run_id, input=1, size_bytes=1, **options), 1))

    def start(self) -> None:
        self.note(self.machine.start(1))

    def end(self, run_id: str, how: str = "returned", attempt: int = 1) -> None:
        self.note(self.machine.ended(RunEndedSignal(run_id, attempt, how, name="n"), 1))

    def is_over(self, unresponsive: frozenset[str] = NOBODY) -> bool:
        return self.watch.is_over(self.machine.image, unresponsive)

    def report(self) -> DrainReport:
        return self.watch.report(self.machine.image)


@pytest.mark.promise(13)
def test_keeping_the_queue_it_is_over_when_nothing_runs() -> None:
    draining = Draining("keep")
    draining.submit("A")
    draining.submit("B")
    draining.start()
    assert not draining.is_over()

    draining.end("A")

    assert draining.is_over()
    assert draining.report() == DrainReport(completed=("A",), queued=("B",))


@pytest.mark.promise(13)
def test_finishing_the_queue_it_is_over_when_that_is_empty() -> None:
    draining = Draining("finish")
    draining.submit("A")
    draining.submit("B")
    for run_id in "AB":
        assert not draining.is_over()
        draining.start()
        draining.end(run_id)

    assert draining.is_over()
    assert draining.report() == DrainReport(completed=("A", "B"))


@pytest.mark.promise(13)
def test_behind_the_deadline_it_is_over_when_the_rest_has_given_way() -> None:
    draining = Draining("finish", slots=2)
    draining.submit("A")
    draining.submit("B", on_interrupt="requeue")
    draining.submit("C")
    draining.start()
    draining.start()
    draining.watch.expired = True
    draining.machine.interrupt_running()
    draining.end("A", "stopped")
    assert not draining.is_over()

    draining.end("B", "stopped")

    assert draining.is_over()
    assert draining.report() == DrainReport(interrupted=("A",), requeued=("B",), queued=("C",))


@pytest.mark.promise(13)
def test_those_that_do_not_stop_are_named_and_not_waited_for() -> None:
    draining = Draining(slots=2)
    for run_id in "AB":
        draining.submit(run_id)
        draining.start()
    draining.watch.expired = True

    assert not draining.is_over(frozenset("A"))
    assert draining.is_over(frozenset("AB"))
    assert draining.report() == DrainReport(not_stopped=("A", "B"))


@pytest.mark.promise(13)
def test_what_is_cancelled_meanwhile_has_ended_by_itself() -> None:
    draining = Draining()
    draining.submit("A")
    draining.note(draining.machine.handle(Cancel(run_id="A"), 1))

    assert draining.is_over()
    assert draining.report() == DrainReport(completed=("A",))


def test_a_parked_run_is_none_of_a_drains_business() -> None:
    draining = Draining("finish")
    draining.submit("A")
    draining.start()

    draining.end("A", "parked")

    assert draining.is_over()
    assert draining.report() == DrainReport()
