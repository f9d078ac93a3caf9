"""One webhook: which of its sessions is next, what a failure means, and when it is given up.

A session that has something new is a number in a table until one of the few posts at once is free
for it; it costs no task. A failing message holds up its session, for longer each time, and a target
that fails is left alone altogether, for longer each time; neither holds up another webhook.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from typing import TYPE_CHECKING, Protocol

import attrs
import structlog
import trio
from moorage.adapters.sinks.delivery import Backoff
from moorage.runtime.errors import CursorHeld, MoorageError, UnknownSession

from .dead_letters import DeadLetter
from .session_lane import SessionLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from moorage.adapters.sinks.webhook import AddressRules, PostLimits
    from moorage.adapters.sinks.webhook.messages import Message
    from moorage.adapters.sinks.webhook.posting import Posted
    from moorage.runtime import SessionInfo, Supervisor

    from .limits import WebhookLimits
    from .registry import Webhook
    from .session_lane import Range
    from .webhook_file import WebhookFile

logger = structlog.get_logger("moorage")

HELD_SECONDS = 1.0
"""Until one looks again whether a cursor is still somebody else's."""
BROKEN_SECONDS = 30.0
"""Until a session is tried again that could not be read."""
SCANNED_SESSIONS = 1_000
"""Looked at in one go."""


class Poster(Protocol):
    """Posts messages; see sinks.webhook.posting.WebhookPoster."""

    rules: AddressRules
    limits: PostLimits

    def opened(self) -> AbstractAsyncContextManager[None]: ...
    async def post(self, url: str, secrets: Sequence[str], message: Message) -> Posted: ...


@attrs.define
class Progress:
    """What became of a webhook's messages, in this process."""

    delivered_messages: int = 0
    delivered_events: int = 0
    failures: int = 0
    dead_letters: int = 0
    missed_events: int = 0
    last_success_at_ns: int | None = None
    last_failure_at_ns: int | None = None
    last_status: int | None = None
    last_error: str | None = None


@attrs.define
class _Pending:
    """A session that has something new, up to ``head_seq``, since trio's time ``since``."""

    head_seq: int
    since: float


@attrs.define
class _Failing:
    """The message that a session cannot get past."""

    message_id: str
    since: float
    attempts: int = 0


class _Postponed(Exception):
    """A message is to come again, so many seconds later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Disabled(Exception):
    """Nothing more is to be posted."""


class WebhookDelivery:
    """Runs one webhook, as it is, until ``end`` is called or it is disabled."""

    def __init__(
        self,
        webhook: Webhook,
        supervisor: Supervisor,
        poster: Poster,
        file: WebhookFile,
        limits: WebhookLimits,
        progress: Progress,
        *,
        in_thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
        time_ns: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.webhook = webhook
        self.progress = progress
        self._poster = poster
        self._file = file
        self._limits = limits
        self._in_thread = in_thread
        self._time_ns = time_ns
        self._chance = chance
        self._retry = Backoff(
            first_seconds=min(limits.retry_first_seconds, limits.retry_seconds_max),
            seconds_max=limits.retry_seconds_max,
        )
        self._lane = SessionLane(
            supervisor, webhook, poster.limits, self._settle, posts_per_turn=limits.posts_per_turn
        )
        self._supervisor = supervisor
        self._wants_scan = trio.Event()
        """Set when there are sessions with something new that are not remembered."""
        self._room = trio.Event()
        self._pending: dict[str, _Pending] = {}
        self._due: list[tuple[float, int, str]] = []
        self._order = 0
        self._failing: dict[str, _Failing] = {}
        self._failures = 0
        self._failing_since: float | None = None
        self._resume_at = -math.inf
        self._changed = trio.Event()
        self._scanning = trio.CancelScope()
        self._disabled: str | None = None

    # ---- what there is to do ----

    def note(self, info: SessionInfo) -> None:
        """A session has something new, perhaps."""
        webhook = self.webhook
        if info.modified_at_ns < webhook.since_ns or not webhook.matches(info):
            return
        known = self._pending.get(info.id)
        if known is not None:
            known.head_seq = max(known.head_seq, info.head_seq)
        elif len(self._pending) >= self._limits.sessions_pending_max:
            self._wants_scan.set()
        else:
            self._pending[info.id] = _Pending(info.head_seq, trio.current_time())
            self._push(info.id, 0)

    def facts(self) -> dict[str, Any]:
        """How far it is behind."""
        now = trio.current_time()
        oldest = next(iter(self._pending.values()), None)
        return {
            "pending_sessions": len(self._pending),
            "oldest_pending_seconds": 0.0 if oldest is None else now - oldest.since,
            "paused_seconds": max(0.0, self._resume_at - now),
        }

    def end(self) -> None:
        """Begin nothing more; ``run`` returns when what is being posted has ended."""
        self._lane.ending = True
        self._changed.set()

    def _push(self, session_id: str, seconds: float) -> None:
        self._order += 1
        heapq.heappush(self._due, (trio.current_time() + seconds, self._order, session_id))
        self._changed.set()

    async def _next(self) -> str | None:
        """The session whose turn it is; None at the end."""
        while not self._lane.ending:
            when = max(self._due[0][0], self._resume_at) if self._due else math.inf
            if when <= trio.current_time():
                return heapq.heappop(self._due)[2]
            self._changed = trio.Event()
            with trio.move_on_at(when):
                await self._changed.wait()
        return None

    # ---- all sessions ----

    async def _scan(self, task_status: trio.TaskStatus[None]) -> None:
        """Look at all sessions: at the beginning, when more had changed than are remembered, and
        once in a while, for what came with a wrong time."""
        with self._scanning:
            task_status.started()
            while True:
                self._wants_scan = trio.Event()
                pause = self._limits.rescan_seconds
                try:
                    await self._scan_all()
                except MoorageError as error:
                    pause = BROKEN_SECONDS
                    logger.warning(
                        "webhook_scan_failed", webhook=self.webhook.id, reason=str(error)
                    )
                with trio.move_on_after(pause):
                    await self._wants_scan.wait()

    async def _scan_all(self) -> None:
        webhook, cursor = self.webhook, None
        prefix = webhook.session_id or max(webhook.prefix, webhook.tenant, key=len)
        while True:
            # in the order of ids nobody is left out because others change meanwhile
            page = await self._supervisor.search_sessions(
                prefix=prefix,
                include_deleted=True,  # softly: what was accepted is owed
                order="id",
                descending=False,
                limit=SCANNED_SESSIONS,
                cursor=cursor,
            )
            for info in page.items:
                while len(self._pending) > self._limits.sessions_pending_max // 2:
                    self._room = trio.Event()
                    await self._room.wait()
                self.note(info)
            cursor = page.next_cursor
            if cursor is None:
                return

    # ---- doing it ----

    async def run(self) -> None:
        free = trio.Semaphore(self._limits.posts_max)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._scan)
            while True:
                await free.acquire()
                session_id = await self._next()
                if session_id is None:
                    break
                nursery.start_soon(self._turn, session_id, free, nursery.cancel_scope)
            self._scanning.cancel()
        if self._disabled is not None:
            await self._in_thread(self._file.disable, self.webhook, self._disabled)

    async def _turn(
        self, session_id: str, free: trio.Semaphore, everything: trio.CancelScope
    ) -> None:
        pending = self._pending[session_id]
        upto = pending.head_seq
        again: float | None = 0.0
        try:
            done = await self._lane.deliver(session_id, upto)
            if done and pending.head_seq == upto:
                again = None
        except _Postponed as error:
            again = error.seconds
        except _Disabled:
            everything.cancel()
        except UnknownSession:
            again = None  # deleted, with all that was owed of it
        except CursorHeld:
            again = HELD_SECONDS
        except Exception as error:
            # a session that cannot be read must not end what is owed of all others
            again = BROKEN_SECONDS
            logger.warning(
                "webhook_session_failed",
                webhook=self.webhook.id,
                session_id=session_id,
                reason=f"{type(error).__name__}: {error}",
            )
        finally:
            free.release()
        self.progress.missed_events += self._lane.missed
        self._lane.missed = 0
        if again is None:
            del self._pending[session_id]
            self._room.set()
            self._failing.pop(session_id, None)
            if not self._pending:
                self._failing_since = None  # nothing is asked of it, so it does not fail
        else:
            self._push(session_id, again)

    async def _settle(self, message: Message, place: Range) -> None:
        webhook = self.webhook
        posted = await self._poster.post(webhook.url, webhook.keys(self._time_ns()), message)
        if posted.verdict == "taken":
            self._note_success(message)
            self._failing.pop(place.session_id, None)
            return
        self._note_failure(posted)
        failing = self._failing.get(place.session_id)
        if failing is None or failing.message_id != message.id:
            failing = _Failing(message.id, trio.current_time())
            self._failing[place.session_id] = failing
        failing.attempts += 1
        self._tell(posted, message, place, failing)
        if posted.verdict == "gone":
            self._disable(f"gone: the target {posted.error}")
        if posted.verdict == "never" or self._is_enough(failing):
            await self._give_up(message, place, failing, posted)
            return
        seconds = self._retry.seconds(failing.attempts, self._chance())
        raise _Postponed(max(seconds, posted.retry_after_seconds))

    def _is_enough(self, failing: _Failing) -> bool:
        limits = self._limits
        age = trio.current_time() - failing.since
        return failing.attempts >= limits.attempts_max or age >= limits.give_up_seconds

    def _note_success(self, message: Message) -> None:
        self._failures = 0
        self._failing_since = None
        self._resume_at = -math.inf
        self._changed.set()  # whoever waits for the end of the pause need not any more
        progress = self.progress
        progress.delivered_messages += 1
        progress.delivered_events += message.events
        progress.last_success_at_ns = self._time_ns()

    def _note_failure(self, posted: Posted) -> None:
        progress, limits, now = self.progress, self._limits, trio.current_time()
        progress.failures += 1
        progress.last_failure_at_ns = self._time_ns()
        progress.last_status, progress.last_error = posted.status, posted.error
        if posted.verdict != "later":
            return  # it is there, and answers
        self._failures += 1
        pause = min(self._retry.seconds(self._failures, self._chance()), limits.pause_seconds_max)
        self._resume_at = now + max(pause, posted.retry_after_seconds)
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= limits.disable_seconds:
            self._disable(f"failing: nothing was taken for {limits.disable_seconds:.0f} seconds")

    async def _give_up(
        self, message: Message, place: Range, failing: _Failing, posted: Posted
    ) -> None:
        letters = self._file.dead_letters(self.webhook.id)
        kept = await self._in_thread(letters.letters)
        if len(kept) >= self._limits.dead_letters_max:
            self._disable(f"dead_letters_full: there are {len(kept)}, redeliver or discard them")
        letter = DeadLetter(
            id=message.id,
            session_id=place.session_id,
            first_seq=place.first_seq,
            last_seq=place.last_seq,
            attempts=failing.attempts,
            error=posted.error or "",
            time_ns=self._time_ns(),
        )
        # before the cursor moves: what is in neither place would be lost
        if not await self._in_thread(letters.add, letter):
            return  # the webhook was removed
        self.progress.dead_letters += 1
        logger.warning("webhook_dead_letter", webhook=self.webhook.id, **attrs.asdict(letter))

    def _disable(self, reason: str) -> None:
        if self._disabled is None:
            self._disabled = reason
            logger.error("webhook_disabled", webhook=self.webhook.id, reason=reason)
        raise _Disabled

    def _tell(self, posted: Posted, message: Message, place: Range, failing: _Failing) -> None:
        logger.warning(
            "webhook_failed",
            webhook=self.webhook.id,
            session_id=place.session_id,
            message_id=message.id,
            attempt=failing.attempts,
            status=posted.status,
            reason=posted.error,
        )
