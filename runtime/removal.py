"""How sessions go: at once, so that they can be restored, and by a retention policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import commands
from .arguments import check_count, check_reason
from .errors import InvalidArgument
from .identifiers import check_session_id
from .retention_pass import RetentionPass, Sizes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .commands import Answer, Command
    from .limits import SupervisorLimits
    from .ports import Store
    from .retention import RetentionPolicy
    from .retention_pass import RetentionReport
    from .sessions import SessionInfo


class SessionRemoval:
    """What removes sessions: a part of supervisors, and of programs that serve none."""

    def __init__(self) -> None:
        self._sizes = Sizes()

    if TYPE_CHECKING:
        _limits: SupervisorLimits
        _store: Store
        _time_ns: Callable[[], int]

        def _hand_over(self, session_id: str, command: Command) -> Awaitable[Answer]: ...
        async def _retain(self, session_id: str, command: Command) -> Answer: ...

    async def delete_session(
        self,
        session_id: str,
        *,
        soft: bool = False,
        reason: str | None = None,
        expected_seq: int | None = None,
    ) -> bool:
        """Cancel what runs and forget everything but the last seq. True if there was such a
        session; deleting again is no error.

        ``soft`` forgets nothing: the session is closed and hidden until ``restore_session``, and
        ``reason`` is recorded. True if that changed anything. Raises SessionQuarantined for one
        that is quarantined, which can only be deleted for good.

        ``expected_seq`` deletes only what its caller has seen, and saved perhaps: if there is
        anything behind that seq, SessionChanged is raised and nothing is done.
        """
        check_session_id(session_id)
        if expected_seq is not None:
            check_count("expected_seq", expected_seq, minimum=0, maximum=2**63)
        command: Command = commands.DeleteSession()
        if soft:
            command = commands.SoftDelete(reason=check_reason(reason), expected_seq=expected_seq)
        elif reason is not None:
            raise InvalidArgument("a reason is recorded with soft=True: nothing else is left of it")
        elif expected_seq is not None:
            command = commands.DeleteUnchanged(expected_seq=expected_seq)
        return bool(await self._hand_over(session_id, command))

    async def restore_session(self, session_id: str) -> bool:
        """Bring back a session that was softly deleted, as it was, but for the runs that were
        cancelled. True if it was deleted. Raises UnknownSession once it is gone for good."""
        check_session_id(session_id)
        return bool(await self._hand_over(session_id, commands.RestoreSession()))

    async def apply_retention(
        self, policy: RetentionPolicy, *, dry_run: bool = False
    ) -> RetentionReport:
        """Delete and trim what the policy says, at the pace of ``limits.retention_*``; of a store
        that is shared, what nobody else has. A ``dry_run`` changes nothing and reports the same.

        A session is looked at again in its own worker: what has happened since the plan was made
        keeps it. Raises StoreFailed if the store cannot be listed, or fails for good.
        """
        limits = self._limits
        work = RetentionPass(
            self._store,
            self._retain,
            time_ns=self._time_ns,
            sizes=self._sizes,
            sessions_per_second=limits.retention_sessions_per_second_max,
            sessions_at_once=limits.retention_sessions_at_once_max,
        )
        return await work.apply(policy, dry_run=dry_run)


async def listed(
    sessions: AsyncIterator[SessionInfo], *, deleted: bool
) -> AsyncIterator[SessionInfo]:
    """A listing, with or without those that are softly deleted."""
    try:
        async for info in sessions:
            if deleted or info.deleted_at_ns is None:
                yield info
    finally:
        close: Any = getattr(sessions, "aclose", None)
        if close is not None:
            await close()
