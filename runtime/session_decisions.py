"""Decisions about a session as a whole: what it refuses, its deletion, and how it comes back.

The half of the session machine between its commands and its runs; see machine.py for the contract.
"""

from __future__ import annotations

from . import commands
from .errors import (
    MoorageError,
    SessionBusy,
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    SessionQuarantined,
    UnknownSession,
)
from .run_decisions import RunDecisions
from .runs import RunState
from .sessions import SessionState
from .transitions import (
    DELETED_DECIDE,
    RUN_DECIDE,
    SESSION_DECIDE,
    Ruling,
    RunInput,
    SessionInput,
)


class SessionDecisions(RunDecisions):
    """What holds for a session whatever its runs are."""

    def _refuse(self) -> MoorageError:
        image = self.image
        if image.state is None:
            return UnknownSession(image.session_id)
        if image.state is SessionState.QUARANTINED:
            return SessionQuarantined(image.session_id, reason=image.reason or "unknown")
        if image.deleted_at_ns is not None:
            return SessionDeleted(image.session_id, deleted_at_ns=image.deleted_at_ns)
        return SessionClosed(image.session_id)

    def _session_event(self, input: SessionInput) -> str | None:
        """The event type for ``input``, None to ignore it; raises the refusal."""
        row = SESSION_DECIDE[self.image.state]
        if self.image.deleted_at_ns is not None and self.image.state is SessionState.CLOSED:
            row = DELETED_DECIDE
        ruling = row[input]
        if isinstance(ruling, str):
            return ruling
        if ruling is Ruling.IGNORE:
            return None
        raise self._refuse()

    def _change(self, input: SessionInput) -> bool:
        type = self._session_event(input)
        if type is None:
            return False
        self._record(type, None, {})
        return True

    def _cancel_all(self, why: str) -> None:
        for run in list(self.image.runs.values()):
            if RUN_DECIDE[run.state][RunInput.CANCEL] is not Ruling.IGNORE:
                self._end_on_request(run, RunInput.CANCEL, "run_cancelled", why)

    def _busy(self) -> SessionBusy:
        image = self.image
        return SessionBusy(
            image.session_id,
            running=len(image.in_state(RunState.RUNNING, RunState.CANCELLING)),
            queued=len(image.queue),
            waiting=len(image.in_state(RunState.WAITING)),
        )

    def require_deletable(self, command: commands.DeleteSession | commands.DeleteUnchanged) -> None:
        """Raises SessionBusy and SessionChanged where the command says so."""
        if isinstance(command, commands.DeleteUnchanged) and self.image.state is not None:
            self._require_unchanged(command.expected_seq, idle=command.idle)

    def _require_unchanged(self, expected_seq: int | None, *, idle: bool) -> None:
        image = self.image
        if idle and image.runs:
            raise self._busy()
        if expected_seq is not None and image.head_seq != expected_seq:
            raise SessionChanged(
                image.session_id, expected_seq=expected_seq, head_seq=image.head_seq
            )

    def _soft_delete(self, command: commands.SoftDelete) -> bool:
        image = self.image
        type = self._session_event(SessionInput.DELETE)
        if type is None:
            return False
        self._require_unchanged(command.expected_seq, idle=command.idle)
        assert image.state is not None, "what does not exist is ignored"
        reason = {} if command.reason is None else {"reason": command.reason}
        # before the runs end: what they leave must find that nothing goes on here
        self._record(type, None, {"state_before": image.state.value, **reason})
        self.closing = None
        self._cancel_all("session deleted")
        return True

    def _restore(self, command: commands.RestoreSession) -> bool:
        image = self.image
        before, outcome, reason = image.deleted_from, image.outcome, image.reason
        return self._bring_back(SessionInput.RESTORE, before, outcome, reason)

    def _lift_quarantine(self, command: commands.LiftQuarantine) -> bool:
        image = self.image
        before, outcome, reason = image.state_before, image.outcome, image.reason_before
        return self._bring_back(SessionInput.LIFT, before, outcome, reason)

    def _bring_back(
        self,
        input: SessionInput,
        before: SessionState | None,
        outcome: str | None,
        reason: str | None,
    ) -> bool:
        if not self._change(input):
            return False
        if before is SessionState.PAUSED:
            self._record("session_paused", None, {})
        elif before is SessionState.CLOSED:
            self._record_closed(outcome or "completed", reason)
        return True
