"""``moorage events``: a session's log, from any point, to now or as it goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from moorage.adapters.sinks import FileSink, TextSink, renderer
from moorage.runtime import CursorExpired

from .frame import CommandFailed, note
from .key_file import check_opened
from .sources import reading
from .tables import in_color, terminal_width

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.adapters.sinks import Format, Sink
    from moorage.runtime import SessionReader, Subscription

    from .sources import Source

PAGE_EVENTS = 1_000


async def show_events(
    source: Source,
    session_id: str,
    *,
    after: int | None,
    last: int | None,
    follow: bool,
    types: set[str] | None,
    run_id: str | None,
    format: Format,
    output: Path | None = None,
) -> None:
    """Write a session's events. With ``follow`` go on until it closes, or the run has ended.

    ``after`` None begins at the oldest event that is kept, ``last`` that many before the head. A
    file, ``output``, is written on to; JSON lines get what they do not have yet.
    """
    sink = screen(format) if output is None else FileSink(output, format=format)
    async with reading(source, patient=follow) as reader:
        session = reader.session(session_id)
        check_opened(await session.info())
        start = await _start(session, after, last, types, run_id)
        # entered for a page, too: it refuses an unknown run and a seq beyond the head
        following = session.subscribe(after=start, types=types, run_id=run_id)
        async with sink.opened(), following as subscription:
            if follow:
                await _follow(subscription, sink)
            else:
                await _page(session, start, types, run_id, sink)


def screen(format: Format) -> TextSink:
    """Standard output, as wide and as colored as it is."""
    color = in_color()
    return TextSink(
        renderer(format, color=color, width=terminal_width(), raw=not sys.stdout.isatty())
    )


async def _start(
    session: SessionReader,
    after: int | None,
    last: int | None,
    types: set[str] | None,
    run_id: str | None,
) -> int:
    """The seq behind which to begin."""
    head_seq = (await session.info()).head_seq
    if after is not None and after > head_seq:
        raise CommandFailed(
            f"--after {after} is beyond the last event of session {session.id!r}, which is "
            f"{head_seq}: --last 0 --follow shows what comes from now on"
        )
    if last is not None:
        if last == 0:
            return head_seq
        events = await session.events(
            before=head_seq + 1, after=after or 0, limit=last, types=types, run_id=run_id
        )
        return events[0].seq - 1 if events else head_seq
    if after is not None:
        return after
    try:
        await session.events(limit=1)
    except CursorExpired as error:
        note(f"events before seq {error.oldest_seq} are no longer kept")
        return error.oldest_seq - 1
    return 0


async def _page(
    session: SessionReader,
    after: int,
    types: set[str] | None,
    run_id: str | None,
    sink: Sink,
) -> None:
    while True:
        events = await session.events(after=after, limit=PAGE_EVENTS, types=types, run_id=run_id)
        if not events:
            return
        await sink.write(events)
        after = events[-1].seq
        if len(events) < PAGE_EVENTS:
            return


async def _follow(subscription: Subscription, sink: Sink) -> None:
    async for events in subscription.batches():
        await sink.write(events)
