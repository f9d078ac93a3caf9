"""Reading a session's transcript, page by page: for handles, and for agents in their run."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from .errors import CursorExpired
from .transcript import TRANSCRIPT_TYPES, Transcript

if TYPE_CHECKING:
    from .events import Event

PAGE_EVENTS = 1_000


class EventPages(Protocol):
    """What is read from: a ``Session``, a reader's session, or an agent's ``context.session``."""

    async def events(
        self, *, after: int = 0, limit: int = 100, types: set[str] | None = None
    ) -> list[Event]: ...


async def read_transcript(
    session: EventPages, transcript: Transcript | None = None, *, until: int | None = None
) -> Transcript:
    """The session's transcript as of now, or as it was at the seq ``until``.

    One that was read before goes on from where it was. Only durable events are seen: in a run,
    ``await context.flush()`` first. What was trimmed away is not told. Raises as
    ``session.events`` does, except for CursorExpired.
    """
    if transcript is None:
        transcript = Transcript()
    types = set(TRANSCRIPT_TYPES)
    after = transcript.seq
    while True:
        try:
            page = await session.events(after=after, limit=PAGE_EVENTS, types=types)
        except CursorExpired as expired:
            after = expired.oldest_seq - 1
            continue
        for event in page:
            if until is not None and event.seq > until:
                return transcript
            transcript.apply(event)
        if len(page) < PAGE_EVENTS:
            return transcript
        after = page[-1].seq


class NamedPages(EventPages, Protocol):
    """Pages of a session whose id is known."""

    @property
    def id(self) -> str: ...


class TranscriptCache:
    """The transcripts that were read last, so that the next run of a session reads what is new.

    At most ``sessions_max`` are kept, and of those as many as have ``entries_max`` entries (a
    message, a call or a result, say) together; the one that was read last always is. What is kept
    of a session is used only while its last event is still there, so one cache may serve several
    stores. Transcripts are shared: whoever reads one sees it grow.
    """

    def __init__(self, *, sessions_max: int = 256, entries_max: int = 100_000) -> None:
        self._sessions_max = sessions_max
        self._entries_max = entries_max
        self._kept: OrderedDict[str, Transcript] = OrderedDict()

    async def read(self, session: NamedPages) -> Transcript:
        """As ``read_transcript``."""
        kept = self._kept.get(session.id)
        if kept is None or not await _is_of(kept, session):
            kept = Transcript()
        # from here on: runs of one session that begin at once go on with the same one
        self._kept[session.id] = kept
        self._kept.move_to_end(session.id)
        transcript = await read_transcript(session, kept)
        self._make_room()
        return transcript

    def _make_room(self) -> None:
        entries = sum(transcript.size for transcript in self._kept.values())
        while len(self._kept) > self._sessions_max or (
            entries > self._entries_max and len(self._kept) > 1
        ):
            _, transcript = self._kept.popitem(last=False)
            entries -= transcript.size


async def _is_of(transcript: Transcript, session: NamedPages) -> bool:
    last = transcript.last
    if last is None:
        return False
    try:
        page = await session.events(after=last.seq - 1, limit=1)
    except CursorExpired:
        return False
    return page == [last]
