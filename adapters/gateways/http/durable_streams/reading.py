"""Reading a stream: what it inherits, then its own, as far as fits into one answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
from moorage.runtime import Session, SessionInfo
from moorage.runtime.errors import CursorExpired, UnknownSession
from moorage.runtime.reversible_json import dump_line, event_to_json

from ..problems import StreamGone
from .configs import StreamConfig
from .content import Content, octets
from .refusals import StreamDamaged
from .states import APPENDED, READABLE_TYPES, content_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime import Event


PAGE_EVENTS = 64
"""Read first, until it is known how large events are; then pages are as large as the answer."""
PAGE_EVENTS_MIN = 16
PAGE_EVENTS_MAX = 1_000


@attrs.frozen(kw_only=True)
class Piece:
    """The content of one event; ``position`` is behind it. ``ends`` marks the last piece of what
    was appended at once, and ``closes`` one behind which there is nothing."""

    position: int
    content: Content | None
    ends: bool = True
    closes: bool = False


@attrs.frozen(kw_only=True)
class Segment:
    """The part of a stream that is in one session: positions above ``shift``, up to ``until``."""

    session: Session
    shift: int = 0
    until: int | None = None
    raw: bool = True

    @property
    def types(self) -> set[str] | None:
        return set(READABLE_TYPES) if self.raw else None

    def piece(self, event: Event) -> Piece:
        position = self.shift + event.seq
        if not self.raw:
            return Piece(position=position, content=dump_line(event_to_json(event)).rstrip("\n"))
        data = event.data
        if type(data) is not dict:
            raise StreamDamaged(seq=event.seq, type=event.type)
        return Piece(
            position=position,
            content=content_of(event) if event.type == APPENDED else None,
            ends=data.get("end", False) is True,
            closes=data.get("closes", False) is True,
        )

    async def pieces(
        self, position: int, *, limit: int = PAGE_EVENTS, wait_seconds: float = 0
    ) -> list[Piece]:
        """A page of what is behind ``position``; shorter than ``limit`` at the segment's end."""
        read = partial(
            self.session.events, limit=limit, types=self.types, wait_seconds=wait_seconds
        )
        after = max(position - self.shift, 0)
        try:
            events = await read(after=after)
        except CursorExpired as error:
            if after or not await _begins_at(self.session, error.oldest_seq):
                raise
            events = await read(after=error.oldest_seq - 1)
        found = [self.piece(event) for event in events]
        if self.until is None:
            return found
        return [piece for piece in found if piece.position <= self.until]


async def _begins_at(session: Session, oldest_seq: int) -> bool:
    """Whether nothing was trimmed: the seqs before it are those of a session that was deleted."""
    events = await session.events(after=oldest_seq - 1, limit=1)
    return [event.type for event in events] == ["session_opened"]


@attrs.frozen(kw_only=True)
class View:
    """A stream as one request sees it. ``tail`` is the position behind all of it; ``segments``
    begin with what is inherited from furthest away. ``config`` is None for a session with runs."""

    info: SessionInfo
    config: StreamConfig | None
    content_type: str
    tail: int
    closed: bool
    first_seq: int
    """The seq before anything of its own."""
    segments: tuple[Segment, ...]

    @property
    def own(self) -> Segment:
        return self.segments[-1]

    async def start(self, position: int) -> int:
        """Where to read from: for the beginning, before the oldest that is still there. Raises
        StreamGone for a place in a stream of the same name that was deleted."""
        own = self.own
        if 0 < position < self.first_seq and own.raw and not own.shift:
            raise StreamGone("what is at this offset was deleted: begin again, with offset=-1")
        if position != 0 or own.shift:
            return position
        try:
            await own.session.events(after=self.first_seq, limit=1)
        except CursorExpired as error:
            return error.oldest_seq - 1
        return self.first_seq

    def own_seq(self, position: int) -> int:
        """The seq in its own session behind which ``position`` is."""
        shift = self.own.shift
        return position - shift if position > shift else self.first_seq

    async def read(self, position: int, *, bytes_max: int) -> tuple[list[Piece], int]:
        """What is behind ``position``, about ``bytes_max`` of it, and the position behind that.
        Raises CursorExpired, UnknownSession, and StreamGone for what it inherits."""
        found: list[Piece] = []
        size = 0
        for segment in self.segments:
            last = segment is self.own
            while segment.until is None or position < segment.until:
                limit = _page_events(len(found), size, bytes_max)
                pieces = await _page(segment, position, limit, inherited=not last)
                for piece in pieces:
                    if piece.content is None:
                        continue  # the closing is no content, and not before the end
                    position = piece.position
                    found.append(piece)
                    size += len(octets(piece.content))
                    if size >= bytes_max:
                        return found, position
                if len(pieces) < limit:
                    break
            if not last:
                position = max(position, segment.until or 0)
        return found, max(position, self.tail)


def _page_events(count: int, size: int, bytes_max: int) -> int:
    if not count:
        return PAGE_EVENTS
    wanted = (bytes_max - size) * count // max(size, 1)
    return min(max(wanted, PAGE_EVENTS_MIN), PAGE_EVENTS_MAX)


async def _page(segment: Segment, position: int, limit: int, *, inherited: bool) -> list[Piece]:
    try:
        return await segment.pieces(position, limit=limit)
    except (UnknownSession, CursorExpired) as error:
        if not inherited:
            raise
        raise StreamGone(
            f"the stream inherits from {segment.session.id!r}, of which that is not there any "
            f"more: {error}"
        ) from None


def contents(pieces: Sequence[Piece]) -> list[Content]:
    return [piece.content for piece in pieces if piece.content is not None]
