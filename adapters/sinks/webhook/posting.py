"""Posting one message: what its target made of it, whatever the target does.

Redirects are not followed: they would lead to where nobody has looked. Neither proxies nor
anything else in the environment counts. Nothing is tried twice here.
"""

from __future__ import annotations

import ssl
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

import attrs
import httpcore
import structlog
import trio
from moorage.runtime.errors import AdmissionClosed

from .addresses import AddressRefused, AddressRules
from .connecting import AnswerTooLong, CheckedBackend, resolve
from .signing import signed_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from .connecting import Resolve
    from .limits import PostLimits
    from .messages import Message

logger = structlog.get_logger("moorage")

KEPT_CONNECTIONS_MAX = 100
KEPT_SECONDS = 15.0
"""Connections that nothing is posted over at the moment."""

Verdict = Literal["taken", "later", "never", "gone"]
"""``later``: ask again; ``never``: not with this message; ``gone``: never again at all."""

NEVER = frozenset({400, 413, 415, 422})
"""Statuses about the message, which will be the same next time. Standard Webhooks asks for all
others to be tried again: 401, 403, 404 and redirects are about how it is set up, and get mended."""
GONE = 410
THROTTLED = frozenset({429, 502, 503, 504})
"""Statuses that say that there is too much: a Retry-After is obeyed."""


@attrs.frozen(kw_only=True)
class Posted:
    """What came of it. ``status`` None: there was no answer, and ``error`` says why."""

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float = 0.0


class WebhookPoster:
    """Posts messages, within ``async with poster.opened()``."""

    def __init__(
        self,
        rules: AddressRules,
        limits: PostLimits,
        *,
        resolve: Resolve = resolve,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self.limits = limits
        self._resolve = resolve
        self._ssl_context = ssl_context
        self._clock = clock
        self._pools: dict[bool, httpcore.AsyncConnectionPool] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        encrypted, plain = self._pool(encrypted=True), self._pool(encrypted=False)
        async with encrypted, plain:
            self._pools = {True: encrypted, False: plain}
            try:
                yield
            finally:
                self._pools = {}

    def _pool(self, *, encrypted: bool) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            # whoever posts has a bound: one here would have targets wait for others that hang
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS_MAX,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=CheckedBackend(
                self.rules,
                self._resolve,
                encrypted=encrypted,
                answer_bytes_max=self.limits.answer_bytes_max,
            ),
        )

    async def post(self, url: str, secrets: Sequence[str], message: Message) -> Posted:
        """Sign the message, as of now, and post it, within ``post_seconds``. Raises AdmissionClosed
        where this is not open, and else nothing, whatever happens."""
        if not self._pools:
            raise AdmissionClosed("the sender of webhooks", reason="not running")
        headers = {
            "content-type": "application/json",
            "content-length": str(len(message.body)),
            "user-agent": "moorage-webhooks/1",
            **signed_headers(secrets, message.id, int(self._clock()), message.body),
        }
        answer = Posted(
            verdict="later", error=f"no answer within {self.limits.post_seconds:g} seconds"
        )
        try:
            with trio.move_on_after(self.limits.post_seconds):
                answer = await self._post(url, headers, message.body)
        except AddressRefused as error:
            logger.warning("webhook_address_refused", message_id=message.id, reason=str(error))
            return Posted(verdict="later", error=error.told)
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
            ssl.SSLError,
        ) as error:
            return Posted(verdict="later", error=_told(error))
        except Exception as error:
            # what nobody has thought of must not end what is owed to others, or be forgotten
            logger.error("webhook_post_failed", message_id=message.id, reason=_told(error))
            return Posted(verdict="later", error=_told(error))
        return answer

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Posted:
        pool = self._pools[url.startswith("https:")]
        timeout = {"connect": self.limits.connect_seconds, "pool": self.limits.post_seconds}
        async with pool.stream(
            "POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            content=_Body(body),
            extensions={"timeout": timeout},
        ) as response:
            # read to the end, if it has one, so that the connection can be used again
            with suppress(AnswerTooLong):
                async for _ in response.aiter_stream():
                    pass
            named = {name.lower(): value for name, value in response.headers}
            return self._judged(response.status, named)

    def _judged(self, status: int, headers: dict[bytes, bytes]) -> Posted:
        if 200 <= status < 300:
            return Posted(verdict="taken", status=status)
        error = f"answered {status}"
        if 300 <= status < 400:
            error += ": redirects are not followed, give the URL where it leads"
        verdict: Verdict = "gone" if status == GONE else "never" if status in NEVER else "later"
        pause = 0.0
        if status in THROTTLED:
            pause = retry_after(headers.get(b"retry-after", b"").decode("latin-1"), self._clock())
        return Posted(
            verdict=verdict,
            status=status,
            error=error,
            retry_after_seconds=min(pause, self.limits.retry_after_seconds_max),
        )


def retry_after(text: str, now: float) -> float:
    """Seconds that a Retry-After asks for, as a number or a date; 0 for one that is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def _told(error: BaseException) -> str:
    """What is wrong: the innermost cause knows it best, as where a certificate is refused. httpcore
    raises ``from None``, which hides it and does not take it away."""
    name, text = type(error).__name__, ""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or text
        cause = cause.__cause__ or cause.__context__
    return f"{name}: {text}".rstrip(": ")[:500]


class _Body:
    """A request's body in one piece, which can be left without having been read."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._given = False

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if self._given:
            raise StopAsyncIteration
        self._given = True
        return self._content
