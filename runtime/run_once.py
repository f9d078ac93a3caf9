"""One run in a session of its own, which is closed whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio

from . import commands
from .arguments import check_seconds
from .errors import MoorageError
from .runs import RunState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .events import Data
    from .handles import Session
    from .runs import RunOutcome

logger = structlog.get_logger("moorage")


async def execute_and_close(
    session: Session,
    create: Callable[[], Awaitable[object]],
    input: Data,
    *,
    wait_seconds: float | None = None,
    **options: Any,
) -> RunOutcome:
    """``Session.execute`` in a session that ``create`` makes, once the arguments are known to be
    good, and that is closed whatever happens."""
    submission = session._submission(input, **options)
    check_seconds("wait_seconds", wait_seconds)
    await create()
    try:
        run = await session._accept(submission)
        outcome = await run.wait(timeout_seconds=wait_seconds)
    except BaseException:
        await _close_unfinished(session)
        raise
    with trio.CancelScope(shield=True):
        completed = outcome.state is RunState.COMPLETED
        await session.close(outcome="completed" if completed else "failed")
    return outcome


async def _close_unfinished(session: Session) -> None:
    """Close a session that nobody will come back to. An agent that does not end gets the time of
    ``cancel_grace_seconds``; its session is closed when it ends."""
    command = commands.Close(outcome="failed", force=True)
    try:
        with trio.CancelScope(shield=True) as scope:
            asked_at = (await session.info()).head_seq
            await session._hand_over(session.id, command)
            scope.deadline = trio.current_time() + session._limits.cancel_grace_seconds
            await session._wait_closed(command, asked_at)
    except MoorageError as error:
        logger.warning("session_not_closed", session_id=session.id, reason=str(error))
