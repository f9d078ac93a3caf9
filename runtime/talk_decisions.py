"""Decisions about what is said to a run on its way: questions, answers, and messages to its agent.

A part of the session machine; see machine.py for the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .events import TIME_NS_MAX, Event
from .steps import ArmTimer, Effect, GiveAnswer, MachineFault, Step
from .transitions import RUN_DECIDE, Ruling, RunInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .commands import Close
    from .image import RunRecord, SessionImage
    from .runs import RunState
    from .steps import AskSignal, RunEndedSignal

SECOND_NS = 1_000_000_000
ANSWER_TIMER = "answer"
ASK_TIMER = "ask "
"""Kinds of timers: of a parked run's answer, and, with seq and name behind it, of a question's."""
STEER_OF = "steer_of"
"""In the metadata of a run that was a message to another: the id of that one."""


class TalkDecisions:
    """The half of the session's machine that records what is said; its user has the rest."""

    if TYPE_CHECKING:
        image: SessionImage
        closing: Close | None
        _effects: list[Effect]
        _now: int

        def _begin(self, now_ns: int) -> None: ...
        def _step(self) -> Step: ...
        def _record(self, type: str, run_id: str | None, data: dict[str, Any]) -> Event: ...
        def _remember_key(self, key: str, seq: int) -> None: ...
        def _end_on_request(
            self, run: RunRecord, input: RunInput, cause: str, message: str | None
        ) -> None: ...

    def asked(self, signal: AskSignal, now_ns: int) -> Step:
        """A running task has asked something, and waits for the answer in its slot."""
        self._begin(now_ns)
        run = self.image.runs.get(signal.run_id)
        if run is None or run.attempt != signal.attempt:
            return self._step()
        ruling = RUN_DECIDE[run.state][RunInput.ASK]
        if ruling is not Ruling.IGNORE:
            data = {"name": signal.name, "data": signal.data} | self._time_limit(signal)
            event = self._record(run_event(run.state, RunInput.ASK), run.run_id, data)
            if signal.timeout_seconds is not None:
                # by its seq as well: who gave up and asks again has the whole time again
                kind = f"{ASK_TIMER}{event.seq} {signal.name}"
                timer = ArmTimer(run.run_id, kind, run.starts, signal.timeout_seconds)
                self._effects.append(timer)
        return self._step()

    def _time_limit(self, signal: RunEndedSignal | AskSignal) -> dict[str, Any]:
        if signal.timeout_seconds is None:
            return {}
        # as many seconds as a float has are allowed, and no more than the log's integers hold
        left_ns = int(min(signal.timeout_seconds * SECOND_NS, TIME_NS_MAX))
        until_ns = min(self._now + left_ns, TIME_NS_MAX)
        return {"expires_at_ns": until_ns, "default": signal.default}

    def _arm_answer_timer(self, run: RunRecord) -> None:
        if run.parked_until_ns is not None:
            left = max(run.parked_until_ns - self._now, 0) / SECOND_NS
            self._effects.append(ArmTimer(run.run_id, ANSWER_TIMER, run.starts, left))

    def taken(self, run_id: str, steer_id: str, now_ns: int) -> Step:
        """A running task has told that it has a message that the run was steered with."""
        self._begin(now_ns)
        run = self.image.runs.get(run_id)
        if run is not None:
            self._take_steers(run, (steer_id,))
        return self._step()

    def _take_steers(self, run: RunRecord, steer_ids: Iterable[str]) -> None:
        for steer_id in steer_ids:
            if steer_id in run.steers and RUN_DECIDE[run.state][RunInput.TAKE] is not Ruling.IGNORE:
                data = {"steer_id": steer_id}
                event = self._record(run_event(run.state, RunInput.TAKE), run.run_id, data)
                self._remember_key(steer_id, event.seq)

    def _queue_steers(self, run: RunRecord) -> None:
        """What a run was told and did not hear becomes runs of their own, for the same agent; in a
        session that is closing or deleted they end as all others do."""
        for steer_id, message in run.steers.items():
            spec: dict[str, Any] = {
                "input": message,
                "input_bytes": run.steer_bytes[steer_id],
                "metadata": {STEER_OF: run.run_id},
            }
            if run.agent is not None:
                spec["agent"] = run.agent
            self._record(run_event(None, RunInput.SUBMIT), steer_id, spec)
        if self.closing is not None or self.image.deleted_at_ns is not None:
            # behind the last submission, or the first one's end would close the session before it
            for steer_id in run.steers:
                queued = self.image.runs[steer_id]
                self._end_on_request(queued, RunInput.CANCEL, "run_cancelled", "session closed")

    def _answer_run(self, run: RunRecord, input: RunInput, name: str, value: Any) -> bool:
        """Record an answer that somebody, or the end of its time, gives. False if the run does
        not wait for it."""
        ruling = RUN_DECIDE[run.state][input]
        expired = {"expired": True} if input is RunInput.EXPIRE_ANSWER else {}
        if ruling == "run_resumed" and run.parked_name == name:
            self._record(ruling, run.run_id, {"name": name, "value": value} | expired)
            return True
        if ruling == "run_answered" and name in run.asked:
            self._record(ruling, run.run_id, {"name": name, "value": value} | expired)
            self._effects.append(GiveAnswer(run.run_id, name, value))
            return True
        return False

    def answer_expired(self, run_id: str, kind: str, start: int, now_ns: int) -> Step:
        """The time for an answer is over: the one given beforehand counts."""
        self._begin(now_ns)
        run = self.image.runs.get(run_id)
        if run is not None and run.starts == start:
            if kind == ANSWER_TIMER:
                name, value = run.parked_name, run.parked_default
            else:
                name = question_of(run, kind)
                value = None if name is None else run.asked[name]
            if name is not None:
                self._answer_run(run, RunInput.EXPIRE_ANSWER, name, value)
        return self._step()


def question_of(run: RunRecord, kind: str) -> str | None:
    """The name of the question that a timer of this kind is of, None if it is not open."""
    seq, _, name = kind.removeprefix(ASK_TIMER).partition(" ")
    return name if run.asked_at.get(name) == int(seq) else None


def run_event(state: RunState | None, input: RunInput) -> str:
    ruling = RUN_DECIDE[state][input]
    if isinstance(ruling, Ruling):
        raise MachineFault(f"{input} in state {state}: {ruling}")
    return ruling
