"""Decisions about single runs: start, end, time limits, interruption, recovery.

The half of the session machine below its commands; see machine.py for the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .events import Event
from .runs import RunState, added_usage
from .sessions import SessionState
from .steps import ArmTimer, Effect, MachineFault, StartRun, Step, StopRun
from .talk_decisions import SECOND_NS, STEER_OF, TalkDecisions, run_event
from .transitions import RUN_DECIDE, Ruling, RunInput

if TYPE_CHECKING:
    from collections.abc import Set

    from .commands import Answer, Close
    from .image import RunRecord, SessionImage
    from .limits import SupervisorLimits
    from .steps import RunEndedSignal

_NO_IDS: frozenset[str] = frozenset()
_NOTHING: list[Any] = []
"""Stands where lists are between two steps; ``_begin`` puts new ones there."""
FINISHED_KEYS_MAX = 1_024
"""Keys of finished runs that are remembered, to bridge the time until a lookup sees them."""


class RunDecisions(TalkDecisions):
    """One session's image, and the decisions about its runs.

    ``draining``, ``interrupting`` and ``closing`` are conditions of this process and not part of
    the log.
    """

    def __init__(self, image: SessionImage, limits: SupervisorLimits) -> None:
        self.image = image
        self.draining: str | None = None
        self.interrupting: Set[str] = _NO_IDS
        self.closing: Close | None = None
        self._limits = limits
        self._events: list[Event] = _NOTHING
        self._effects: list[Effect] = _NOTHING
        self._now = 0
        self._finished_keys: dict[str, int] = {}
        self._keys_forgotten_at = image.head_seq

    # ---- the frame of every step ----

    def _begin(self, now_ns: int) -> None:
        self._events = []
        self._effects = []
        # time never goes backwards within a session, whatever the wall clock does
        self._now = max(now_ns, self.image.last_time_ns)

    def _step(self, answer: Answer = None) -> Step:
        step = Step(self._events, self._effects, answer)
        # an idle session must not hold its last run's input and output
        self._events, self._effects = _NOTHING, _NOTHING
        return step

    def _record(self, type: str, run_id: str | None, data: dict[str, Any]) -> Event:
        image = self.image
        event = Event(image.session_id, image.head_seq + 1, self._now, type, run_id, data)
        image.apply(event)
        self._events.append(event)
        return event

    def pass_over(self, count: int) -> None:
        """Give ``count`` seqs to events that change no state."""
        self.image.head_seq += count

    # ---- starting ----

    def startable(self) -> bool:
        """Whether a slot is free and a run may take it."""
        image = self.image
        if not image.queue or image.state is not SessionState.OPEN or self.draining == "keep":
            return False
        counts = image.counts
        busy = counts.get("running", 0) + counts.get("cancelling", 0)
        return busy < image.slots

    def next_run(self) -> RunRecord:
        """The run that will start next; only when ``startable()``."""
        return self.image.runs[self.image.queue[-1]]

    def start(self, now_ns: int) -> Step:
        """Give the next run a slot; only when ``startable()``."""
        self._begin(now_ns)
        run = self.next_run()
        type = run_event(run.state, RunInput.START)
        attempt = run.attempt if run.resumed else run.attempt + 1
        self._record(type, run.run_id, {"attempt": attempt})
        self._effects.append(StartRun(run.run_id))
        if run.timeout_seconds is not None:
            left = run.timeout_seconds - run.elapsed_ns / SECOND_NS
            self._effects.append(ArmTimer(run.run_id, "attempt", run.starts, max(left, 0.0)))
        if run.silence_seconds_max is not None:
            silence = ArmTimer(run.run_id, "silence", run.starts, run.silence_seconds_max)
            self._effects.append(silence)
        return self._step()

    def reject(self, problem: dict[str, Any], now_ns: int) -> Step:
        """Fail the next run without starting it: there is no agent for it."""
        self._begin(now_ns)
        run = self.next_run()
        self._finish(run, run_event(run.state, RunInput.REJECT), error=problem)
        return self._step()

    # ---- signals ----

    def ended(self, signal: RunEndedSignal, now_ns: int) -> Step:
        """A run's task has ended; decide what that makes of the run."""
        self._begin(now_ns)
        run = self.image.runs.get(signal.run_id)
        if run is None or run.attempt != signal.attempt:
            return self._step()
        interrupted = signal.run_id in self.interrupting
        if interrupted:
            self.interrupting = self.interrupting - {signal.run_id}
        if signal.how == "stopped" or (interrupted and signal.how == "raised"):
            input = _interruption(run)
        else:
            input = _SIGNAL_INPUTS[signal.how]
        ruling = RUN_DECIDE[run.state][input]
        if ruling is Ruling.IGNORE:
            return self._step()
        if ruling is Ruling.BY_CAUSE or ruling == "run_completed":
            # else it is not known whether they were brought in: better twice than not at all
            self._take_steers(run, signal.untold)
        if ruling is Ruling.BY_CAUSE:
            self._finish(run, run.cause or "run_cancelled", error=run.problem, usage=signal.usage)
        elif ruling == "run_completed":
            self._finish(run, ruling, output=signal.output, usage=signal.usage)
        elif ruling == "run_failed":
            self._finish(run, ruling, error=signal.problem, usage=signal.usage)
        elif ruling == "run_waiting":
            elapsed = run.elapsed_ns + max(self._now - run.running_since_ns, 0)
            data = {"name": signal.name, "data": signal.output, "elapsed_ns": elapsed}
            used = {"usage": signal.usage} if signal.usage else {}
            self._record(ruling, run.run_id, data | self._time_limit(signal) | used)
            self._arm_answer_timer(run)
        else:
            self._interrupt(run, ruling, signal.usage)
        return self._step()

    def expired(self, run_id: str, kind: str, start: int, now_ns: int) -> Step:
        """A timer that a step armed has run out."""
        self._begin(now_ns)
        run = self.image.runs.get(run_id)
        if run is None or run.starts != start:
            return self._step()
        input = RunInput.EXPIRE_QUEUE if kind == "queue" else RunInput.EXPIRE_RUN
        if RUN_DECIDE[run.state][input] is not Ruling.IGNORE:
            code, name = _LIMITS_OF_TIME[kind]
            message = f"{name} of {getattr(run, name)} s is over"
            self._end_on_request(run, input, "run_timed_out", message, code)
        return self._step()

    def unresponsive(self, run_id: str, start: int, now_ns: int) -> Step:
        """The grace after a request to stop is over; report the run if its task still runs.

        Answer: whether it does."""
        self._begin(now_ns)
        run = self.image.runs.get(run_id)
        if run is None or run.starts != start:
            return self._step(False)
        if run.state is not RunState.CANCELLING and run_id not in self.interrupting:
            return self._step(False)
        grace = self._limits.cancel_grace_seconds
        data = {
            "code": "agent_unresponsive",
            "message": f"the agent did not end within {grace} s of being cancelled; it keeps its "
            "slot until it does, or until this process is killed",
        }
        self._record("error_occurred", run_id, data)
        return self._step(True)

    def interrupt_running(self) -> Step:
        """Ask every running task to stop because the process wants to leave."""
        self._begin(0)
        running = self.image.in_state(RunState.RUNNING)
        for run_id in running:
            if run_id not in self.interrupting:
                self._stop(self.image.runs[run_id])
        self.interrupting = self.interrupting | set(running)
        return self._step()

    def recover(self, now_ns: int) -> Step:
        """Settle what was running when the last owner ended, and arm the timers that go on."""
        self._begin(now_ns)
        orphans = [
            run
            for run in self.image.runs.values()
            if run.state in (RunState.RUNNING, RunState.CANCELLING)
        ]
        if orphans:
            rulings = [(run, RUN_DECIDE[run.state][_interruption(run)]) for run in orphans]
            requeued = sum(ruling == "run_requeued" for _, ruling in rulings)
            data = {"requeued": requeued, "ended": len(orphans) - requeued}
            if self.image.state in (SessionState.OPEN, SessionState.PAUSED):
                self._record("session_recovered", None, data)
            for run, ruling in rulings:
                if ruling is Ruling.BY_CAUSE:
                    self._finish(run, run.cause or "run_cancelled", error=run.problem)
                else:
                    self._interrupt(run, ruling, None)
        for run in self.image.runs.values():
            if run.state is RunState.QUEUED and run.starts == 0:
                self._arm_queue_timer(run)
            elif run.state is RunState.WAITING:
                self._arm_answer_timer(run)
        return self._step()

    # ---- ends ----

    def _end_on_request(
        self, run: RunRecord, input: RunInput, cause: str, message: str | None, code: str = ""
    ) -> None:
        """End a run that need not have started; a running one is asked to stop first."""
        type = run_event(run.state, input)
        problem = {"code": code or cause, "message": message or "cancelled"}
        if type == "run_cancel_requested":
            self._record(type, run.run_id, {"cause": cause, "error": problem})
            self._stop(run)
        else:
            self._finish(run, type, error=problem)

    def _stop(self, run: RunRecord) -> None:
        grace = self._limits.cancel_grace_seconds
        self._effects.append(StopRun(run.run_id))
        self._effects.append(ArmTimer(run.run_id, "grace", run.starts, grace))

    def _arm_queue_timer(self, run: RunRecord) -> None:
        limit = run.queue_seconds_max
        if limit is not None:
            waited = max(self._now - run.submitted_at_ns, 0) / SECOND_NS
            self._effects.append(ArmTimer(run.run_id, "queue", 0, max(limit - waited, 0.0)))

    def _interrupt(self, run: RunRecord, ruling: str | Ruling, usage: Any) -> None:
        if ruling == "run_requeued":
            used = {"usage": usage} if usage else {}
            self._record(ruling, run.run_id, {"attempt": run.attempt} | used)
        elif ruling == "run_interrupted":
            message = "the process stopped before the run ended"
            problem = {"code": "interrupted", "message": message, "retryable": True}
            self._finish(run, ruling, error=problem, usage=usage)
        else:
            raise MachineFault(f"{run.run_id} in {run.state} cannot be interrupted: {ruling}")

    def _finish(
        self, run: RunRecord, type: str, *, output: Any = None, error: Any = None, usage: Any = None
    ) -> None:
        data: dict[str, Any] = {"attempt": run.attempt, "submitted_at_ns": run.submitted_at_ns}
        if run.started_at_ns is not None:
            data["started_at_ns"] = run.started_at_ns
        if error is None:
            data["output"] = output
        else:
            data["error"] = error
        if total := added_usage(run.usage, usage):
            data["usage"] = total
        event = self._record(type, run.run_id, data)
        if run.key is not None:
            self._remember_key(run.key, event.seq)
        if STEER_OF in (run.metadata or ()):
            self._remember_key(run.run_id, event.seq)
        self._queue_steers(run)
        self._close_when_done()

    def _close_when_done(self) -> None:
        closing = self.closing
        if closing is not None and not self.image.runs:
            self.closing = None
            self._record_closed(closing.outcome, closing.reason)

    def _record_closed(self, outcome: str, reason: str | None) -> None:
        data = {"outcome": outcome}
        if reason is not None:
            data["reason"] = reason
        self._record("session_closed", None, data)

    def _remember_key(self, key: str, seq: int) -> None:
        keys = self._finished_keys
        keys[key] = seq
        if len(keys) > FINISHED_KEYS_MAX:
            oldest = next(iter(keys))
            self._keys_forgotten_at = max(self._keys_forgotten_at, keys.pop(oldest))


_SIGNAL_INPUTS = {
    "returned": RunInput.SUCCEED,
    "raised": RunInput.FAIL,
    "parked": RunInput.PARK,
}

_LIMITS_OF_TIME = {
    "queue": ("queue_timeout", "queue_seconds_max"),
    "attempt": ("run_timeout", "timeout_seconds"),
    "silence": ("silence_timeout", "silence_seconds_max"),
}


def _interruption(run: RunRecord) -> RunInput:
    if run.on_interrupt == "requeue" and run.attempt < run.attempts_max:
        return RunInput.REQUEUE
    return RunInput.INTERRUPT
