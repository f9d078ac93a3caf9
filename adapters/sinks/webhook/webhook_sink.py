"""A sink that posts events to a URL, signed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from moorage.adapters.sinks.port import SinkFailed
from moorage.runtime.errors import MoorageError
from moorage.runtime.identifiers import check_name

from .addresses import AddressRules
from .limits import PostLimits
from .messages import events_message, first_batch
from .posting import WebhookPoster
from .signing import key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from moorage.runtime.events import Event

    from .posting import Posted


class PostFailed(MoorageError):
    """The target did not take a message, and may later. ``status`` None: it did not answer."""

    code = "post_failed"
    retryable = True

    def __init__(self, message: str, *, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class WebhookSink:
    """Posts events to ``url`` as JSON, several in a message, signed with each of ``secrets``.

    ``name`` is part of the messages' ids: it has to be another for each sink whose messages the
    same receiver gets, and the same after a restart. ``allowed_networks`` may be posted to
    although they are not public, or not encrypted. Raises InvalidArgument and AddressRefused.
    """

    def __init__(
        self,
        url: str,
        secrets: str | Sequence[str],
        *,
        name: str = "webhook",
        allowed_networks: Collection[str] = (),
        limits: PostLimits | None = None,
    ) -> None:
        rules = AddressRules(allowed_networks)
        self._host = rules.check_url(url).hostname  # paths of such URLs are secrets, often
        self._url = url
        self._secrets = [secrets] if isinstance(secrets, str) else list(secrets)
        for secret in self._secrets or [""]:
            key_of(secret)
        self._name = check_name("name", name)
        self._limits = limits or PostLimits()
        self._poster = WebhookPoster(rules, self._limits)
        self._taken: dict[str, int] = {}
        """How far a session came whose last write failed in the middle."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self._poster.opened():
            yield

    async def write(self, events: Sequence[Event]) -> None:
        """Raises PostFailed, after the time that a Retry-After asks for, and SinkFailed for a
        target that is gone or finds no fault but with the message."""
        session_id = events[0].session_id
        taken = self._taken.get(session_id, 0)
        left = [event for event in events if event.seq > taken]
        while left:
            batch = first_batch(left, None, self._limits)
            message = events_message(
                self._name,
                batch,
                session_id=session_id,
                first_seq=left[0].seq,
                last_seq=left[batch.seen - 1].seq,
            )
            await self._check(await self._poster.post(self._url, self._secrets, message))
            self._taken[session_id] = left[batch.seen - 1].seq
            left = left[batch.seen :]
        self._taken.pop(session_id, None)

    async def _check(self, posted: Posted) -> None:
        if posted.verdict == "taken":
            return
        told = f"{self._host}: {posted.error}"
        if posted.verdict != "later":
            raise SinkFailed(told)
        await trio.sleep(posted.retry_after_seconds)
        raise PostFailed(told, status=posted.status)
