"""Whether two stores have the same of a session: what an export of it shows, and what goes with
it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.codec import pack_plain
from moorage.runtime.errors import CursorExpired
from moorage.runtime.events import same_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.ports import StoreReader
    from moorage.runtime.sessions import SessionInfo

PAGE_EVENTS_MAX = 4_000
PAGE_BYTES = 4 * 1024 * 1024
_FIRST_PAGE_EVENTS = 16
_EVENT_BYTES_MIN = 100


class Pacing:
    """How many events to read at a time, so that they are about ``PAGE_BYTES``: small ones come a
    thousand at a time, and of large ones only a few are in memory."""

    def __init__(self) -> None:
        self.limit = _FIRST_PAGE_EVENTS

    def seen(self, events: int, bytes: int) -> None:
        """Learn from a page of so many events of so many bytes how large they are here."""
        if events:
            wanted = PAGE_BYTES * events // (bytes + events * _EVENT_BYTES_MIN)
            self.limit = max(1, min(PAGE_EVENTS_MAX, wanted, 8 * self.limit))


def same_event(one: Event, other: Event) -> bool:
    """Every field, the data with its types."""
    return (
        one.seq == other.seq
        and one.time_ns == other.time_ns
        and one.type == other.type
        and one.run_id == other.run_id
        and one.version == other.version
        and same_data(one.data, other.data)
        and same_data(one.metadata, other.metadata)
    )


def _encoded(events: Sequence[Event]) -> bytes:
    """All that ``same_event`` looks at. The same bytes are the same events; other bytes may be the
    same in another order of keys."""
    return pack_plain(
        [
            [
                event.seq,
                event.time_ns,
                event.type,
                event.run_id,
                event.version,
                event.data,
                event.metadata,
            ]
            for event in events
        ]
    )


async def first_seq(reader: StoreReader, session_id: str) -> int:
    """The oldest seq that is there (one above the head if none is). Raises UnknownSession."""
    try:
        return (await reader.read(session_id, limit=1)).oldest_seq
    except CursorExpired as error:
        return error.oldest_seq


async def first_difference(
    one: StoreReader, other: StoreReader, session_id: str, *, first: int, last: int
) -> int | None:
    """The first seq from ``first`` to ``last`` at which the two have not the same event, None if
    there is none. Raises UnknownSession and CursorExpired."""
    after = first - 1
    pacing = Pacing()
    while after < last:
        page = await one.read(session_id, after=after, before=last + 1, limit=pacing.limit)
        beside = await other.read(
            session_id, after=after, before=page.scanned_to + 1, limit=pacing.limit
        )
        encoded = _encoded(page.events)
        pacing.seen(len(page.events), len(encoded))
        whole = 0 < len(page.events) == page.scanned_to - after
        if whole and encoded == _encoded(beside.events):
            after = page.scanned_to
            continue
        for seq in range(after + 1, page.scanned_to + 1):
            at = seq - after - 1
            if (
                at >= len(page.events)
                or at >= len(beside.events)
                or not same_event(page.events[at], beside.events[at])
            ):
                return seq
        if page.scanned_to <= after:
            return after + 1
        after = page.scanned_to
    return None


async def difference(one: StoreReader, other: StoreReader, expected: SessionInfo) -> str | None:
    """What is not the same in ``other``, in words, or None. ``expected`` is the info of ``one`` at
    the time of which this is asked: what came later is left out."""
    session_id, last = expected.id, expected.head_seq
    found = await other.info(session_id)
    if found is None:
        return "it is not there"
    if found != expected:
        return f"its info is {found}, expected {expected}"
    first = await first_seq(one, session_id)
    if await first_seq(other, session_id) != first:
        return f"it begins at seq {await first_seq(other, session_id)}, expected {first}"
    seq = await first_difference(one, other, session_id, first=first, last=last)
    if seq is not None:
        return f"its event at seq {seq} is another one"
    snapshot = await one.snapshot(session_id)
    if (
        snapshot is not None
        and snapshot.seq <= last
        and await other.snapshot(session_id) != snapshot
    ):
        return f"its snapshot is not that of seq {snapshot.seq}"
    cursors = await other.cursors(session_id)
    for name, at in (await one.cursors(session_id)).items():
        if cursors.get(name) != at:
            return f"its cursor {name!r} is not at {at}"
    return None
