"""A handle for one run, which asks its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Data
    from .handles import Session
    from .runs import RunOutcome, RunState, SteerOutcome


class Run:
    """One run of a session, by id. ``key`` is the idempotency key it was submitted with here."""

    __slots__ = ("_session", "id", "key")

    def __init__(self, session: Session, run_id: str, key: str | None) -> None:
        self._session = session
        self.id = run_id
        self.key = key

    @property
    def session_id(self) -> str:
        return self._session.id

    def __repr__(self) -> str:
        return f"<Run {self.id} of session {self.session_id!r}>"

    async def wait(self, *, timeout_seconds: float | None = None) -> RunOutcome:
        """See ``Session.wait``."""
        return await self._session.wait(self.id, timeout_seconds=timeout_seconds)

    async def cancel(self, *, reason: str | None = None) -> bool:
        """See ``Session.cancel``."""
        return await self._session.cancel(self.id, reason=reason)

    async def steer(self, message: Data, *, key: str | None = None) -> SteerOutcome:
        """See ``Session.steer``: one that has ended, or waits, gets a new run instead, which the
        outcome says."""
        return await self._session.steer(self.id, message, key=key)

    async def status(self) -> RunState:
        """The run's state now. Raises UnknownRun."""
        return await self._session.run_state(self.id)
