"""What ``moorage cancel``, ``approve`` and ``deny`` take: a word to a server about its runs.

Only whoever serves a session can be told, so that there is no such thing as doing it to a store.
"""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .frame import CommandFailed, note, perform
from .options import SessionId
from .remote import Server, TokenFile, Url, server_of

if TYPE_CHECKING:
    from .http_client import Session

RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The run, as moorage status names it, or the end of its id."
    ),
]
SUFFIX_CHARACTERS_MIN = 4
RequestId = Annotated[
    str,
    typer.Argument(
        metavar="REQUEST",
        help="The request, as moorage status and a tool_approval_requested event name it.",
    ),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is recorded.")]
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides, unless the token says it.")
]


def cancel(
    id: SessionId,
    run: RunId,
    reason: Reason = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Cancel a run of a server: a queued one never starts, a running one is ended.

    Exit code 1 if it had ended before.
    """
    telling = partial(_cancel, run_id=run, reason=reason)
    perform(partial(_tell, server_of(url, token_file), id, telling))


def approve(
    id: SessionId,
    request: RequestId,
    reason: Reason = None,
    by: By = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Let a tool call that waits for it go on.

    Exit code 1 if nobody waits for that any more.
    """
    telling = partial(_decide, request_id=request, approved=True, reason=reason, by=by)
    perform(partial(_tell, server_of(url, token_file), id, telling))


def deny(
    id: SessionId,
    request: RequestId,
    reason: Reason = None,
    by: By = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Refuse a tool call that waits for it; the agent is told the reason.

    Exit code 1 if nobody waits for that any more.
    """
    telling = partial(_decide, request_id=request, approved=False, reason=reason, by=by)
    perform(partial(_tell, server_of(url, token_file), id, telling))


async def _full_run_id(session: "Session", typed: str) -> str:
    """The run that is meant: the one of that id, else the only unfinished one whose id ends so.
    Raises CommandFailed where there are several."""
    status = await session.status()
    unfinished = [*status.running, *status.queued, *status.waiting]
    if typed in unfinished or len(typed) < SUFFIX_CHARACTERS_MIN:
        return typed
    meant = [run_id for run_id in unfinished if run_id.endswith(typed)]
    if len(meant) > 1:
        raise CommandFailed(f"several runs end in {typed!r}: {', '.join(meant)}")
    return meant[0] if meant else typed


async def _tell(server: Server, session_id: str, telling: Callable[[Any], Awaitable[None]]) -> None:
    async with server.connected() as client:
        await telling(client.handle(session_id))


async def _cancel(session: "Session", *, run_id: str, reason: str | None) -> None:
    run_id = await _full_run_id(session, run_id)
    if not await session.cancel(run_id, reason=reason):
        raise CommandFailed(
            f"run {run_id!r} has ended already: moorage runs {session.id} shows how"
        )
    note(f"run {run_id!r} is cancelled")


async def _decide(
    session: "Session", *, request_id: str, approved: bool, reason: str | None, by: str | None
) -> None:
    run_id, colon, call_id = request_id.partition(":")
    if colon:
        request_id = f"{await _full_run_id(session, run_id)}:{call_id}"
    decide = session.approve if approved else session.deny
    if not await decide(request_id, reason=reason, by=by):
        raise CommandFailed(
            f"nobody waits for {request_id!r} any more: it was answered, it expired, or its run "
            "has ended"
        )
    note(f"{request_id!r} is {'approved' if approved else 'denied'}")
