"""The dispatcher: one task finds out which sessions have changed, for all webhooks together.

Sessions are listed by their last change, the newest first, and only as far as has not been seen: an
idle session costs nothing, however many there are. What changed before a webhook started, each
finds for itself (see ``delivery``).
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio
from moorage.adapters.sinks.webhook import AddressRules, PostLimits
from moorage.adapters.sinks.webhook.messages import events_message, ping_message, whole_batch
from moorage.adapters.sinks.webhook.posting import WebhookPoster
from moorage.runtime.errors import CursorExpired, InvalidArgument, MoorageError, UnknownSession

from .delivery import Progress, WebhookDelivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from moorage.adapters.sinks.webhook.posting import Posted
    from moorage.runtime import Event, Supervisor

    from .dead_letters import DeadLetter
    from .delivery import Poster
    from .limits import WebhookLimits
    from .registry import Webhook
    from .webhook_file import WebhookFile

logger = structlog.get_logger("moorage")

PAGE_SESSIONS = 1_000
OVERLAP_NS = 10_000_000_000
"""How far back one looks each time: nodes' clocks differ, and commits come in another order."""
RESTART_SECONDS = 30.0
"""Until a webhook is begun again whose delivery failed in a way that it should not."""
STANDBY_SECONDS = 2.0
"""Until one tries again to become the process that delivers."""
SHARE = 10
"""A look at the sessions may take one part in so many of the time."""


@attrs.define
class Redelivered:
    """What became of dead letters: ``gone`` are those whose events are not there any more."""

    delivered: int = 0
    failed: int = 0
    gone: int = 0
    error: str | None = None


class WebhookDispatcher:
    """Delivers the webhooks of a file, within its limits unless others are given. One process that
    has it open does, the others wait until that one ends."""

    def __init__(
        self,
        supervisor: Supervisor,
        file: WebhookFile,
        *,
        allowed_networks: Collection[str] = (),
        limits: WebhookLimits | None = None,
        post_limits: PostLimits | None = None,
        poster: Poster | None = None,
        in_thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.file = file
        self.limits = limits or file.limits
        self.poster: Poster = poster or WebhookPoster(
            AddressRules(allowed_networks), post_limits or PostLimits()
        )
        self.in_thread = in_thread
        self.delivers = False
        """Whether it is this process that delivers."""
        self._supervisor = supervisor
        self._time_ns = time_ns
        self._deliveries: dict[str, WebhookDelivery] = {}
        self._progress: dict[str, Progress] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._poked = trio.Event()
        self._ending = trio.Event()
        self._newest_ns = time_ns()
        self._seen: dict[str, int] = {}

    # ---- running ----

    async def run(self) -> None:
        """Deliver until ``end`` is called."""
        async with self.poster.opened():
            delivering = None
            try:
                while delivering is None and not self._ending.is_set():
                    delivering = self._take_delivery()
                    if delivering is None:
                        with trio.move_on_after(STANDBY_SECONDS):
                            await self._ending.wait()
                if delivering is not None:
                    self.delivers = True
                    await self._deliver()
                await self._ending.wait()
            finally:
                self.delivers = False
                if delivering is not None:
                    os.close(delivering)

    def end(self) -> None:
        """Begin nothing more, and have ``run`` return when what is being posted has ended, or its
        time is over."""
        self._ending.set()
        self._poked.set()

    def poke(self) -> None:
        """The file has changed: look at it now."""
        self._poked.set()

    def _take_delivery(self) -> int | None:
        try:
            return self.file.take_delivery()
        except OSError as error:
            logger.error("webhooks_not_delivered", reason=str(error))
            return None

    async def _deliver(self) -> None:
        async with trio.open_nursery() as nursery:
            while not self._ending.is_set():
                began = trio.current_time()
                try:
                    self._reconcile(nursery)
                    await self._look()
                except Exception as error:
                    # whatever it is, the server has more to do than webhooks
                    self._stamp = None
                    logger.warning("webhooks_not_looked_at", reason=_told(error))
                took = trio.current_time() - began
                with trio.move_on_after(max(self.limits.poll_seconds, SHARE * took)):
                    await self._poked.wait()
                self._poked = trio.Event()
            for delivery in self._deliveries.values():
                delivery.end()
            nursery.cancel_scope.deadline = trio.current_time() + self.limits.end_seconds
        self._deliveries.clear()

    def _reconcile(self, nursery: trio.Nursery) -> None:
        """Run what the file has, as it has it."""
        stamp = self.file.stamp()
        if stamp == self._stamp:
            return
        wanted = {webhook.id: webhook for webhook in self.file.webhooks() if webhook.enabled}
        for id, delivery in list(self._deliveries.items()):
            if wanted.get(id) != delivery.webhook:
                delivery.end()
                del self._deliveries[id]
        for webhook in wanted.values():
            if webhook.id not in self._deliveries:
                delivery = self._delivery(webhook)
                self._deliveries[webhook.id] = delivery
                nursery.start_soon(self._run, delivery)
        self._stamp = stamp

    def _delivery(self, webhook: Webhook) -> WebhookDelivery:
        return WebhookDelivery(
            webhook,
            self._supervisor,
            self.poster,
            self.file,
            self.limits,
            self.progress(webhook.id),
            in_thread=self.in_thread,
            time_ns=self._time_ns,
        )

    async def _run(self, delivery: WebhookDelivery) -> None:
        try:
            await delivery.run()
        except Exception as error:
            logger.error("webhook_ended", webhook=delivery.webhook.id, reason=_told(error))
            with trio.move_on_after(RESTART_SECONDS):
                await self._ending.wait()
        if self._deliveries.get(delivery.webhook.id) is delivery:
            # whatever it ended of, the file says whether it is to be begun again
            del self._deliveries[delivery.webhook.id]
            self._stamp = None
        self.poke()

    # ---- which sessions have changed ----

    async def _look(self) -> None:
        if not self._deliveries:
            return
        newest_ns, now_ns = self._newest_ns, self._time_ns()
        floor_ns = newest_ns - OVERLAP_NS
        seen: dict[str, int] = {}
        cursor: str | None = None
        while True:
            page = await self._supervisor.search_sessions(
                include_deleted=True, limit=PAGE_SESSIONS, cursor=cursor
            )
            for info in page.items:
                if info.modified_at_ns < floor_ns:
                    break
                # a time that is yet to come must not hide what comes before it
                newest_ns = max(newest_ns, min(info.modified_at_ns, now_ns))
                if info.modified_at_ns >= newest_ns - OVERLAP_NS:
                    seen[info.id] = info.head_seq
                if self._seen.get(info.id) != info.head_seq:
                    for delivery in self._deliveries.values():
                        delivery.note(info)
            else:
                cursor = page.next_cursor
                if cursor is not None:
                    continue
            break
        self._newest_ns, self._seen = newest_ns, seen

    # ---- asked for ----

    def progress(self, id: str) -> Progress:
        """What became of a webhook's messages since this process began."""
        return self._progress.setdefault(id, Progress())

    def forget(self, id: str) -> None:
        """The webhook is no more."""
        self._progress.pop(id, None)
        self.poke()

    def facts(self, id: str) -> dict[str, Any]:
        """How a webhook is doing."""
        delivery = self._deliveries.get(id)
        behind = {"pending_sessions": 0, "oldest_pending_seconds": 0.0, "paused_seconds": 0.0}
        return {
            "delivering": delivery is not None,
            **attrs.asdict(self.progress(id)),
            **(behind if delivery is None else delivery.facts()),
        }

    async def ping(self, webhook: Webhook) -> Posted:
        """Post a message without events, once. Raises AdmissionClosed unless ``run`` runs."""
        now_ns = self._time_ns()
        return await self.poster.post(
            webhook.url, webhook.keys(now_ns), ping_message(webhook.id, now_ns)
        )

    async def redeliver(self, webhook: Webhook, letters: Sequence[DeadLetter]) -> Redelivered:
        """Post these once more, in this order, and forget those that are taken, and those whose
        events are gone; the first failure ends it. Raises AdmissionClosed unless ``run`` runs."""
        told = Redelivered()
        kept = self.file.dead_letters(webhook.id)
        for letter in letters:
            try:
                posted = await self._redeliver(webhook, letter)
            except UnknownSession:
                posted = None
            if posted is None:
                told.gone += 1
            elif posted.verdict == "taken":
                told.delivered += 1
            else:
                told.failed, told.error = 1, posted.error
                break
            await self.in_thread(partial(kept.remove, {letter.id}))
        return told

    async def _redeliver(self, webhook: Webhook, letter: DeadLetter) -> Posted | None:
        """Post what is left of its events; None if nothing is."""
        events = await self._events_of(webhook, letter)
        if not events:
            return None
        message = events_message(
            webhook.id,
            whole_batch(events, None),
            session_id=letter.session_id,
            first_seq=letter.first_seq,
            last_seq=letter.last_seq,
        )
        return await self.poster.post(webhook.url, webhook.keys(self._time_ns()), message)

    async def _events_of(self, webhook: Webhook, letter: DeadLetter) -> list[Event]:
        session = self._supervisor.handle(letter.session_id)
        types = None if webhook.types is None else set(webhook.types)
        found: list[Event] = []
        after = letter.first_seq - 1
        while after < letter.last_seq:
            try:
                page = await session.events(after=after, limit=PAGE_SESSIONS, types=types)
            except CursorExpired as error:
                after = error.oldest_seq - 1
                continue
            if not page:
                break
            found += [event for event in page if event.seq <= letter.last_seq]
            after = page[-1].seq
        return found


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def check_target(poster: Poster, url: str) -> str:
    """The URL if a webhook may have it, as far as can be told now. Raises InvalidArgument."""
    try:
        poster.rules.check_url(url)
    except InvalidArgument:
        raise
    except MoorageError as error:
        raise InvalidArgument(f"url: {error}") from error
    return url
