"""``moorage events``: a session's log, from any point, to now or as it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.adapters.sinks import renderer
from moorage.runtime import CursorExpired, open_reader

from .frame import note, write_soon
from .tables import in_color, terminal_width

if TYPE_CHECKING:
    from moorage.adapters.sinks import Format, Renderer
    from moorage.runtime import SessionReader, Subscription
    from moorage.stores import JournalStore

PAGE_EVENTS = 1_000


async def show_events(
    store: JournalStore,
    session_id: str,
    *,
    after: int | None,
    last: int | None,
    follow: bool,
    types: set[str] | None,
    run_id: str | None,
    format: Format,
) -> None:
    """Write a session's events. With ``follow`` go on until it closes, or the run has ended.

    ``after`` None begins at the oldest event that is kept, ``last`` that many before the head.
    """
    rendering = renderer(format, color=in_color(), width=terminal_width())
    async with open_reader(store) as reader:
        session = reader.session(session_id)
        start = await _start(session, after, last, types, run_id)
        # entered for a page, too: it refuses an unknown run and a seq beyond the head
        async with session.subscribe(after=start, types=types, run_id=run_id) as subscription:
            if follow:
                await _follow(subscription, rendering)
            else:
                await _page(session, start, types, run_id, rendering)
    await write_soon(rendering.finish())


async def _start(
    session: SessionReader,
    after: int | None,
    last: int | None,
    types: set[str] | None,
    run_id: str | None,
) -> int:
    """The seq behind which to begin."""
    if last is not None:
        head_seq = (await session.info()).head_seq
        if last == 0 or (after or 0) > head_seq:
            return max(after or 0, head_seq)
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
    rendering: Renderer,
) -> None:
    while True:
        events = await session.events(after=after, limit=PAGE_EVENTS, types=types, run_id=run_id)
        if not events:
            return
        await write_soon(rendering.render(events))
        after = events[-1].seq
        if len(events) < PAGE_EVENTS:
            return


async def _follow(subscription: Subscription, rendering: Renderer) -> None:
    async for events in subscription.batches():
        await write_soon(rendering.render(events))
