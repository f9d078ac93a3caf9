"""One session's events to one webhook: from behind its named cursor, message by message, in order.

The cursor moves when a message was taken, or given up. A second cursor is moved to the end of a
message before it is posted: whoever goes on after a crash makes the same message of the same events
again, whatever came behind them meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

import attrs
import structlog
from moorage.adapters.sinks.webhook.messages import events_message, first_batch, whole_batch
from moorage.runtime.errors import CursorExpired

if TYPE_CHECKING:
    from moorage.adapters.sinks.webhook import PostLimits
    from moorage.adapters.sinks.webhook.messages import Batch, Message
    from moorage.runtime import Event, Session, Subscription, Supervisor

    from .registry import Webhook

logger = structlog.get_logger("moorage")

LOOKED_AT_EVENTS = 200
"""In a page when one looks back for the first event that a webhook wants."""


@attrs.frozen(kw_only=True)
class Range:
    """A message's place in the log of its session."""

    session_id: str
    first_seq: int
    last_seq: int


class Settle(Protocol):
    """Posts a message. When it returns, the cursor may move behind it; what it raises ends the
    turn, and the cursor stays."""

    async def __call__(self, message: Message, place: Range, /) -> None: ...


class SessionLane:
    """Of one webhook; brings it any of its sessions, one turn at a time."""

    def __init__(
        self,
        supervisor: Supervisor,
        webhook: Webhook,
        limits: PostLimits,
        settle: Settle,
        *,
        posts_per_turn: int,
    ) -> None:
        self._supervisor = supervisor
        self._webhook = webhook
        self._types = None if webhook.types is None else frozenset(webhook.types)
        self._limits = limits
        self._settle = settle
        self._posts_per_turn = posts_per_turn
        self.ending = False
        """Set when no further message is to be begun."""
        self.missed = 0
        """Events that were trimmed away before they were taken."""

    async def deliver(self, session_id: str, upto: int) -> bool:
        """Post what is behind the cursor, up to seq ``upto`` at least. False if the turn was over
        before. Raises UnknownSession, CursorHeld, StoreFailed, and what ``settle`` raises."""
        session = self._supervisor.handle(session_id)
        after = 0
        first: int | None = None
        while True:
            try:
                async with session.subscribe(after=after, name=self._webhook.cursor) as done:
                    if done.cursor == 0 and first is None:
                        after = first = await self._first_wanted(session)
                        if after:
                            continue
                    if done.cursor >= upto:
                        return True
                    async with session.subscribe(
                        after=done.cursor, name=self._webhook.offered_cursor
                    ) as offered:
                        return await self._bring(session_id, done, offered, upto)
            except CursorExpired as error:
                if error.after:
                    self._tell_missed(session_id, error)
                elif first is None:  # there is no cursor yet, as of a session that is not trimmed
                    first = await self._first_wanted(session)
                after = max(error.oldest_seq - 1, first or 0)

    def _tell_missed(self, session_id: str, error: CursorExpired) -> None:
        count = error.oldest_seq - 1 - error.after
        self.missed += count
        logger.warning(
            "webhook_missed_events", webhook=self._webhook.id, session_id=session_id, count=count
        )

    async def _first_wanted(self, session: Session) -> int:
        """The seq behind which the webhook begins in a session that has no cursor of it yet."""
        since_ns = self._webhook.since_ns
        info = await session.info()
        if info.created_at_ns >= since_ns:
            return 0
        first = before = info.head_seq + 1
        while before > 1:
            events = await session.events(before=before, limit=LOOKED_AT_EVENTS)
            recent = [event.seq for event in events if event.time_ns >= since_ns]
            if not recent:
                break
            first, before = recent[0], events[0].seq
        return first - 1

    async def _bring(
        self, session_id: str, done: Subscription, offered: Subscription, upto: int
    ) -> bool:
        taken, owed = done.cursor, offered.cursor
        batches = done.batches()
        left: list[Event] = []
        posts = 0
        while taken < upto:
            left = left or await anext(batches, [])
            while left and left[-1].seq < owed and (more := await anext(batches, None)):
                left += more
            if not left:
                return True  # the session is closed, or the supervisor leaves
            batch = self._next_batch(left, owed)
            last = left[batch.seen - 1]
            if batch.lines:
                if self.ending or posts == self._posts_per_turn:
                    return False
                if last.seq > owed:
                    await _offer(offered, last)
                place = Range(session_id=session_id, first_seq=taken + 1, last_seq=last.seq)
                message = events_message(self._webhook.id, batch, **attrs.asdict(place))
                await self._settle(message, place)
                posts += 1
            await done.ack(last)
            taken = last.seq
            left = left[batch.seen :]
        return True

    def _next_batch(self, events: list[Event], owed: int) -> Batch:
        """The next message's events. Those up to ``owed`` were one message, and are again."""
        if events[0].seq > owed:
            return first_batch(events, self._types, self._limits)
        seen = bisect_right(events, owed, key=lambda event: event.seq)
        return whole_batch(events[:seen], self._types)


async def _offer(offered: Subscription, last: Event) -> None:
    batches = offered.batches()
    while offered.cursor < last.seq:
        if await anext(batches, None) is None:
            return
    await offered.ack(last)
