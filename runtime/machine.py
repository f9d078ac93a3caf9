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
    QueueFull,
    SessionClosed,
    SessionExists,
    UnknownRun,
    UnknownSession,
)
from .events import Event, same_data
from .runs import RunState
from .session_decisions import SessionDecisions
from .sessions import SessionState, SessionStatus
from .steps import OfferSteer
from .talk_decisions import STEER_OF, run_event
from .transitions import RUN_DECIDE, Ruling, RunInput, SessionInput

if TYPE_CHECKING:
    from .image import RunRecord
    from .steps import Step


class SessionMachine(SessionDecisions):
    """Decides for one session. Its user may read ``image``, and never changes it."""

    def handle(self, command: commands.Command, now_ns: int) -> Step:
        """Decide on a command. Raises the MoorageError that refuses it."""
        self._begin(now_ns)
        answer = _HANDLERS[type(command)](self, command)
        return self._step(answer)

    def _require_usable(self) -> None:
        if self.image.state not in (SessionState.OPEN, SessionState.PAUSED):
            raise self._refuse()

    def _open(self, command: commands.OpenSession) -> bool:
        image = self.image
        wanted = {
            name: value for name in _CONFIGURED if (value := getattr(command, name)) is not None
        }
        look = command.include_deleted
        opened = self._session_event(SessionInput.LOOK if look else SessionInput.OPEN)
        if opened is not None:
            if command.mode == "resume":
                raise UnknownSession(image.session_id)
            self._record(opened, None, {"slots": self._limits.session_slots_default, **wanted})
            return True
        if command.mode == "create":
            raise SessionExists(image.session_id)
        if command.expire_by_policy:
            wanted["expire_after_seconds"] = None
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

    def _require_room(self, command: commands.Submit | commands.Steer) -> None:
        image, limits = self.image, self._limits
        # a message that no agent takes becomes a queued run, so it needs that room from the start
        queued = len(image.queue) + image.steers
        if queued >= limits.runs_queued_max:
            raise QueueFull(image.session_id, queued=queued, limit=limits.runs_queued_max)
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
        if command.name != run.parked_name and command.name not in run.asked:
            return False
        if RUN_DECIDE[run.state][RunInput.ANSWER] is not Ruling.IGNORE:
            self._require_usable()
        return self._answer_run(run, RunInput.ANSWER, command.name, command.value)

    def _steer(self, command: commands.Steer) -> bool | None:
        image = self.image
        if image.state is None:
            raise self._refuse()
        run = image.runs.get(command.run_id)
        if run is None and not command.ended:
            raise UnknownRun(image.session_id, command.run_id)
        if self._may_have_come(command, run):
            return None
        self._require_usable()
        ruling = Ruling.QUEUE if run is None else RUN_DECIDE[run.state][RunInput.STEER]
        if run is None or ruling is Ruling.QUEUE or not command.steerable:
            submission = commands.Submit(
                run_id=command.steer_id,
                input=command.message,
                size_bytes=command.size_bytes,
                agent=command.agent if run is None else run.agent,
                metadata={STEER_OF: command.run_id},
            )
            self._submit(submission)
            return False
        self._require_room(command)
        data = {
            "steer_id": command.steer_id,
            "message": command.message,
            "message_bytes": command.size_bytes,
        }
        self._record(run_event(run.state, RunInput.STEER), run.run_id, data)
        self._effects.append(OfferSteer(run.run_id, command.steer_id, command.message))
        return True

    def _may_have_come(self, command: commands.Steer, run: RunRecord | None) -> bool:
        """Whether a message with this id may be there, of which its sender did not see."""
        if command.checked_at is None:
            return False
        steer_id, image = command.steer_id, self.image
        if steer_id in image.runs or (run is not None and steer_id in run.steers):
            return True
        return command.checked_at < self._finished_keys.get(steer_id, self._keys_forgotten_at)

    def _append(self, command: commands.AppendEvents) -> list[Event]:
        self._require_usable()
        image = self.image
        if command.between_runs and any(run.starts for run in image.runs.values()):
            raise self._busy()
        self._require_unchanged(command.expected_seq, idle=False)
        appended = []
        for new in command.events:
            event = Event(
                image.session_id,
                image.head_seq + 1,
                self._now,
                new.type,
                None,
                new.data,
                new.metadata,
            )
            image.apply(event)
            appended.append(event)
        self._events += appended
        return appended

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

    def _close(self, command: commands.Close) -> bool:
        image = self.image
        type = self._session_event(SessionInput.CLOSE)
        if type is None:
            return False
        if image.runs and not command.force:
            raise self._busy()
        self.closing = command
        self._cancel_all("session closed")
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


_CONFIGURED = ("slots", "tags", "metadata", "summary", "expire_after_seconds", "node_tags")
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
    commands.Steer: SessionMachine._steer,
    commands.AppendEvents: SessionMachine._append,
    commands.Pause: SessionMachine._pause,
    commands.Resume: SessionMachine._resume,
    commands.Close: SessionMachine._close,
    commands.Reopen: SessionMachine._reopen,
    commands.GetStatus: SessionMachine._status,
    commands.SoftDelete: SessionMachine._soft_delete,
    commands.RestoreSession: SessionMachine._restore,
}
