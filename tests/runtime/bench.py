"""A session machine on the bench, for tests of its decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.commands import OpenSession, Submit
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.steps import RunEndedSignal, Step
from moorage.runtime.talk_decisions import SECOND_NS

if TYPE_CHECKING:
    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunState

GRACE = 5.0


class Bench:
    """A machine on the bench, with a clock that is turned by hand, in seconds."""

    def __init__(self, *, slots: int = 1) -> None:
        limits = SupervisorLimits(cancel_grace_seconds=GRACE)
        self.machine = SessionMachine(SessionImage("s"), limits)
        self.now = 1_000.0
        self.log: list[Event] = []
        self.do(OpenSession(slots=slots))

    @property
    def now_ns(self) -> int:
        return round(self.now * SECOND_NS)

    def keep(self, step: Step) -> Step:
        self.log += step.events
        return step

    def do(self, command: Any) -> Step:
        return self.keep(self.machine.handle(command, self.now_ns))

    def submit(self, run_id: str = "A", **options: Any) -> Step:
        return self.do(Submit(run_id=run_id, input=run_id, size_bytes=2, **options))

    def start(self) -> Step:
        return self.keep(self.machine.start(self.now_ns))

    def running(self, run_id: str = "A", **options: Any) -> Bench:
        self.submit(run_id, **options)
        self.start()
        return self

    def end(self, how: str, run_id: str = "A", attempt: int = 1, **facts: Any) -> Step:
        signal = RunEndedSignal(run_id, attempt, how, **facts)
        return self.keep(self.machine.ended(signal, self.now_ns))

    def park(self, run_id: str = "A", attempt: int = 1) -> Step:
        return self.end("parked", run_id, attempt, name="n", output="ask")

    def expire(self, kind: str, start: int, run_id: str = "A") -> Step:
        return self.keep(self.machine.expired(run_id, kind, start, self.now_ns))

    def state(self, run_id: str = "A") -> RunState | None:
        run = self.machine.image.runs.get(run_id)
        return None if run is None else run.state

    def crash(self) -> Step:
        """What is in memory is gone; the next machine has the log."""
        image = SessionImage("s")
        for event in self.log:
            image.apply(event)
        self.machine = SessionMachine(image, SupervisorLimits(cancel_grace_seconds=GRACE))
        return self.keep(self.machine.recover(self.now_ns))


def types(step: Step) -> list[str]:
    return [event.type for event in step.events]
