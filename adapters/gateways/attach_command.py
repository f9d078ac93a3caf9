"""``moorage attach``: follow a session of a server and, at a terminal, say something to it."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
import typer
from moorage.adapters.sinks import Format, renderer
from moorage.runtime import MoorageError

from .frame import note, perform, write_soon
from .options import SessionId
from .remote import Server, TokenFile, Url, server_of
from .running import parse_input
from .signals import until_signalled
from .tables import in_color, terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable

    from .http_client import Session


def attach(
    id: SessionId,
    after: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEQ", help="Begin behind this event; without: from now on."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to show the events.")] = "compact",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Send nothing of what is typed.")
    ] = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Follow a session of a server until it closes.

    At a terminal, each line that is typed is given to the run that is running, or is a new run if
    none is. The end of input (Ctrl-D) leaves; the session goes on. A server that is started again
    is waited for.
    """
    server = server_of(url, token_file)
    reading = None if read_only or not sys.stdin.isatty() else sys.stdin.readline
    start: int | Literal["head"] = "head" if after is None else after
    attached = partial(
        attach_to, server, session_id=id, after=start, format=format, read_line=reading
    )
    perform(partial(until_signalled, attached))


async def attach_to(
    server: Server,
    *,
    session_id: str,
    after: int | Literal["head"],
    format: str,
    read_line: "Callable[[], str] | None",
) -> None:
    """Show what happens until the session closes or ``read_line`` returns "", its end; it blocks,
    and each line it returns is said to the session."""
    rendering: Any = renderer(format, color=in_color(), width=terminal_width())
    async with server.connected(patient=True) as client:
        session = client.handle(session_id)
        async with session.subscribe(after=after) as events, trio.open_nursery() as nursery:
            if read_line is not None:
                nursery.start_soon(_say_lines, session, read_line, nursery.cancel_scope)
            async for batch in events.batches():
                await write_soon(rendering.render(batch))
            nursery.cancel_scope.cancel()
    await write_soon(rendering.finish())


async def _say_lines(
    session: "Session", read_line: "Callable[[], str]", scope: trio.CancelScope
) -> None:
    while line := await trio.to_thread.run_sync(read_line, abandon_on_cancel=True):
        if line.strip():
            await _say(session, line.strip())
    scope.cancel()


async def _say(session: "Session", line: str) -> None:
    """Give a line to the run that is running, or submit it. What is refused is told, and one may
    try again."""
    try:
        message = parse_input(line)
        running = (await session.status()).running
        if running:
            await session.steer(running[0], message)
        else:
            await session.submit(message)
    except MoorageError as error:
        note(str(error))
