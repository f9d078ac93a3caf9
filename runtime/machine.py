"""The session machine: one session's decisions, synchronous and pure.

Every method takes the time as a value and returns ``Step(events, effects, answer)``. Its user, the
worker, keeps this contract (the order is that of etcd's raft, doc.go):

1. make the events durable, in order, in one append;
2. then perform the effects;
3. then give the answer to whoever asked.

If the append fails the machine is ahead of the log and must be thrown away. A refusal is a
MoorageError and leaves the machine as it was. Signals of our own tasks that come late or twice are
ignored by a row of the tables; a row that says ILLEGAL is a defect and raises MachineFault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from . import commands
from .errors import (
    AdmissionClosed,
    InvalidArgument,
    KeyConflict,
    MoorageError,
    QueueFull,
    SessionBusy,
    SessionClosed,
    SessionExists,
    SessionQuarantined,
    UnknownRun,
    UnknownSession,
)
from .events import Event, same_data
from .run_decisions import RunDecisions, run_event
from .runs import RunState
from .sessions import SessionState, SessionStatus
from .transitions import RUN_DECIDE, SESSION_DECIDE, Ruling, RunInput, SessionInput

if TYPE_CHECKING:
    from .steps import Step


class SessionMachine(RunDecisions):
    """Decides for one session. Its user may read ``image``, and never changes it."""

    def handle(self, command: commands.Command, now_ns: int) -> Step:
        """Decide on a command. Raises the MoorageError that refuses it."""
        self._begin(now_ns)
        answer = _HANDLERS[type(command)](self, command)
        return self._step(answer)

    def _refuse(self) -> MoorageError:
        image = self.image
        if image.state is None:
            return UnknownSession(image.session_id)
        if image.state is SessionState.QUARANTINED:
            return SessionQuarantined(image.session_id, reason=image.reason or "unknown")
        return SessionClosed(image.session_id)

    def _session_event(self, input: SessionInput) -> str | None:
        """The event type for ``input``, None to ignore it; raises the refusal."""
        ruling = SESSION_DECIDE[self.image.state][input]
        if isinstance(ruling, str):
            return ruling
        if ruling is Ruling.IGNORE:
            return None
        raise self._refuse()

    def _require_usable(self) -> None:
        if self.image.state not in (SessionState.OPEN, SessionState.PAUSED):
            raise self._refuse()

    def _open(self, command: commands.OpenSession) -> bool:
        image = self.image
        wanted = {
            name: value
            for name in ("slots", "tags", "metadata", "summary")
            if (value := getattr(command, name)) is not None
        }
        opened = self._session_event(SessionInput.OPEN)
        if opened is not None:
            if command.mode == "resume":
                raise UnknownSession(image.session_id)
            self._record(opened, None, {"slots": image.slots, **wanted})
            return True
        if command.mode == "create":
            raise SessionExists(image.session_id)
        changed = {name: value for name, value in wanted.items() if getattr(image, name) != value}
        if changed:
            type = self._session_event(SessionInput.CONFIGURE)
            assert type is not None, "configuring is never ignored"
            self._record(type, None, changed)
        return False

    def _submit(self, command: commands.Submit) -> str | None:
        image = self.image
        if image.state is None:
            raise self._refuse()
        if command.key is not None:
            known = self._run_of_key(command)
            if known is not None:
                return known
            ended_at = self._finished_keys.get(command.key, self._keys_forgotten_at)
            if command.key_checked_at < ended_at:
                return None
        self._require_usable()
        if self.closing is not None:
            raise SessionClosed(image.session_id)
        if self.draining is not None:
            raise AdmissionClosed(f"session {image.session_id!r}", reason="draining")
        self._require_room(command)
        spec = {
            "input": command.input,
            "input_bytes": command.size_bytes,
            **{
                name: value
                for name, default in _SUBMIT_DEFAULTS
                if (value := getattr(command, name)) != default
            },
        }
        existing = image.runs.get(command.run_id)
        type = run_event(existing.state if existing is not None else None, RunInput.SUBMIT)
        self._record(type, command.run_id, spec)
        self._arm_queue_timer(image.runs[command.run_id])
        return command.run_id

    def _run_of_key(self, command: commands.Submit) -> str | None:
        """The unfinished run that has the command's key; raises KeyConflict."""
        for run in self.image.runs.values():
            if run.key == command.key:
                if not same_data(run.input, command.input):
                    raise KeyConflict(self.image.session_id, key=run.key or "", run_id=run.run_id)
                return run.run_id
        return None

    def _require_room(self, command: commands.Submit) -> None:
        image, limits = self.image, self._limits
        if len(image.queue) >= limits.runs_queued_max:
            raise QueueFull(image.session_id, queued=len(image.queue), limit=limits.runs_queued_max)
        if image.queue_bytes + command.size_bytes > limits.queue_bytes_max:
            raise QueueFull(
                image.session_id,
                queued=image.queue_bytes,
                limit=limits.queue_bytes_max,
                unit="bytes",
            )

    def _cancel(self, command: commands.Cancel) -> bool:
        image = self.image
        if image.state is None:
            raise self._refuse()
        run = image.runs.get(command.run_id)
        if run is None:
            raise UnknownRun(image.session_id, command.run_id)
        ruling = RUN_DECIDE[run.state][RunInput.CANCEL]
        if ruling is Ruling.IGNORE:
            return run.cause == "run_cancelled"
        self._require_not_quarantined()
        self._end_on_request(run, RunInput.CANCEL, "run_cancelled", command.reason)
        return True

    def _require_not_quarantined(self) -> None:
        if self.image.state is SessionState.QUARANTINED:
            raise self._refuse()

    def _answer(self, command: commands.AnswerRun) -> bool:
        image = self.image
        if image.state is None:
            raise self._refuse()
        run = image.runs.get(command.run_id)
        if run is None:
            raise UnknownRun(image.session_id, command.run_id)
        ruling = RUN_DECIDE[run.state][RunInput.ANSWER]
        if ruling is Ruling.IGNORE or run.parked_name != command.name:
            return False
        self._require_usable()
        assert isinstance(ruling, str), "an answer makes an event or is ignored"
        self._record(ruling, run.run_id, {"name": command.name, "value": command.value})
        return True

    def _append(self, command: commands.AppendEvent) -> Event:
        self._require_usable()
        event = Event(
            self.image.session_id,
            self.image.head_seq + 1,
            self._now,
            command.type,
            None,
            command.data,
            command.metadata,
        )
        self.image.apply(event)
        self._events.append(event)
        return event

    def _pause(self, command: commands.Pause) -> bool:
        return self._change(SessionInput.PAUSE)

    def _resume(self, command: commands.Resume) -> bool:
        changed = self._change(SessionInput.RESUME)
        if self.draining is not None:
            self.draining = None
            return True
        return changed

    def _reopen(self, command: commands.Reopen) -> bool:
        changed = self._change(SessionInput.REOPEN)
        if changed:
            self.draining = None  # a drain may have been why it was closed
        return changed

    def _change(self, input: SessionInput) -> bool:
        type = self._session_event(input)
        if type is None:
            return False
        self._record(type, None, {})
        return True

    def _close(self, command: commands.Close) -> bool:
        image = self.image
        type = self._session_event(SessionInput.CLOSE)
        if type is None:
            return False
        if image.runs and not command.force:
            raise SessionBusy(
                image.session_id,
                running=len(image.in_state(RunState.RUNNING, RunState.CANCELLING)),
                queued=len(image.queue),
                waiting=len(image.in_state(RunState.WAITING)),
            )
        self.closing = command
        for run in list(image.runs.values()):
            if RUN_DECIDE[run.state][RunInput.CANCEL] is not Ruling.IGNORE:
                self._end_on_request(run, RunInput.CANCEL, "run_cancelled", "session closed")
        self._close_when_done()
        return True

    def _status(self, command: commands.GetStatus) -> SessionStatus:
        return self.status()

    def status(self) -> SessionStatus:
        """The session as it is now. Raises UnknownSession."""
        image = self.image
        if image.state is None:
            raise self._refuse()
        return SessionStatus(
            session_id=image.session_id,
            state=image.state,
            head_seq=image.head_seq,
            slots=image.slots,
            running=image.in_state(RunState.RUNNING, RunState.CANCELLING),
            queued=image.queued(),
            waiting=image.in_state(RunState.WAITING),
            runs_queued_max=self._limits.runs_queued_max,
            draining=self.draining is not None,
            cancelling=image.in_state(RunState.CANCELLING),
        )

    def trim_point(self, before: int) -> int:
        """The oldest seq that may remain the oldest: an unfinished run's request is never
        trimmed. Raises InvalidArgument beyond the head, and UnknownSession."""
        image = self.image
        if image.state is None:
            raise self._refuse()
        if not 1 <= before <= image.head_seq + 1:
            raise InvalidArgument(
                f"before must be from 1 to {image.head_seq + 1} (the head plus one), not {before}"
            )
        return min([before, *(run.seq for run in image.runs.values())])

    def _lift_quarantine(self, command: commands.LiftQuarantine) -> bool:
        image = self.image
        before, outcome, reason = image.state_before, image.outcome, image.reason_before
        if not self._change(SessionInput.LIFT):
            return False
        if before is SessionState.PAUSED:
            self._record("session_paused", None, {})
        elif before is SessionState.CLOSED:
            self._record_closed(outcome or "completed", reason)
        return True


_SUBMIT_DEFAULTS = tuple(
    (field.name, field.default)
    for field in attrs.fields(commands.Submit)
    if field.name not in ("run_id", "input", "size_bytes", "key_checked_at")
)

_HANDLERS: dict[type, Any] = {
    commands.LiftQuarantine: SessionMachine._lift_quarantine,
    commands.OpenSession: SessionMachine._open,
    commands.Submit: SessionMachine._submit,
    commands.Cancel: SessionMachine._cancel,
    commands.AnswerRun: SessionMachine._answer,
    commands.AppendEvent: SessionMachine._append,
    commands.Pause: SessionMachine._pause,
    commands.Resume: SessionMachine._resume,
    commands.Close: SessionMachine._close,
    commands.Reopen: SessionMachine._reopen,
    commands.GetStatus: SessionMachine._status,
}
