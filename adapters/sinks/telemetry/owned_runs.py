"""How many runs are queued, running and waiting now, in the sessions that this process owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.runs import RunState

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim
    from moorage.runtime.sessions import SessionInfo

_RUNNING = (RunState.RUNNING, RunState.CANCELLING)
_Counts = tuple[int, int, int]
_NONE: _Counts = (0, 0, 0)


class OwnedRuns:
    """Sums over sessions, kept up by what is recorded of each; one entry for each session owned."""

    def __init__(self) -> None:
        self.queued = 0
        self.running = 0
        self.waiting = 0
        self._by_session: dict[str, tuple[int, _Counts]] = {}

    def __len__(self) -> int:
        return len(self._by_session)

    def set(self, claim: Claim, info: SessionInfo | None) -> None:
        """These are the session's counts now; a newer claim replaces an older one's."""
        before = self._by_session.get(claim.session_id, (0, _NONE))
        if before[0] <= claim.epoch:
            counts = _NONE if info is None else _counts(info)
            self._by_session[claim.session_id] = (claim.epoch, counts)
            self._move(before[1], counts)

    def drop(self, claim: Claim) -> None:
        """The session is not owned under this claim any more."""
        before = self._by_session.get(claim.session_id)
        if before is not None and before[0] <= claim.epoch:
            del self._by_session[claim.session_id]
            self._move(before[1], _NONE)

    def clear(self) -> None:
        """Nothing is owned."""
        self._by_session.clear()
        self.queued = self.running = self.waiting = 0

    def _move(self, before: _Counts, after: _Counts) -> None:
        self.queued += after[0] - before[0]
        self.running += after[1] - before[1]
        self.waiting += after[2] - before[2]


def _counts(info: SessionInfo) -> _Counts:
    runs = info.runs
    return (
        runs.get(RunState.QUEUED, 0),
        sum(runs.get(state, 0) for state in _RUNNING),
        runs.get(RunState.WAITING, 0),
    )
