"""Requests over HTTP, sent again where that is safe, and streams, each read as it is wanted.

httpx and anyio alone: all of it works under trio and under asyncio.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import anyio
import httpx
from moorage.runtime.errors import BufferFull, InvalidArgument, MoorageError
from moorage.runtime.reversible_json import dump_line

from .backoff import Backoff
from .errors import ServerUnreachable, error_of, not_a_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from .limits import ClientLimits

Result = TypeVar("Result")

CLOSING_SECONDS_MAX = 2.0
WAITING_TOLD_SECONDS = 1.0
"""A server that is back before is not told of as one that we wait for."""
GATEWAY_ANSWERS = frozenset({502, 504})
"""Of a proxy whose server is not there, or went away in the middle of the request."""
NOTHING_DONE = frozenset({408, 429, 503})
"""The request was refused as a whole, and another time it may not be."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_MISTAKES = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class Refusal(Exception):
    """An answer that is no success; ``problem`` is what it says why, if it does."""

    def __init__(
        self, status: int, problem: dict[str, Any] | None, retry_after_seconds: float | None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds

    def error(self) -> MoorageError:
        """What to raise for it."""
        if self.problem is None or "code" not in self.problem:
            return not_a_gateway(f"HTTP status {self.status} without a reason", self.status)
        return error_of(self.problem, self.status)


class Incoming:
    """An answer whose body is read piece by piece, as fast as one takes it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()

    async def piece(self) -> bytes | None:
        """The next piece, None at the end. Raises httpx.TransportError; whatever it raises, being
        cancelled as well, is the end of this answer."""
        return await anext(self._pieces, None)

    async def body(self, *, bytes_max: int) -> bytes:
        """All of it. Raises BufferFull."""
        pieces, size = [], 0
        while (piece := await self.piece()) is not None:
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                raise BufferFull(
                    "answer_bytes_max", used=size, limit=bytes_max, remedy="ask for less at once"
                )
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Give the connection back, or cut it."""
        with anyio.CancelScope() as scope:
            # The generators of httpx are one within the other: closing the outermost would leave
            # the others to the garbage collector. A read that is cancelled ends them all.
            scope.cancel()
            with suppress(httpx.HTTPError, httpx.StreamError):
                while await self.piece() is not None:
                    pass
        with anyio.move_on_after(CLOSING_SECONDS_MAX, shield=True):
            await self.response.aclose()


class Transport:
    """One server, and how patient we are with it."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        limits: ClientLimits,
        token: str | None,
        on_waiting: Callable[[float], None] | None = None,
    ) -> None:
        self._client = client
        self.url = url
        self.limits = limits
        self._headers = {"accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._on_waiting = on_waiting
        self._was_reached = False
        self._gone_since: float | None = None
        self._told_of_waiting = False

    def backoff(self) -> Backoff:
        return Backoff(self.limits, anyio.current_time, random.random, self._patience)

    def _patience(self) -> float:
        first = self.limits.first_seconds_max
        if self._was_reached or first is None:
            return self.limits.unreachable_seconds_max
        return min(first, self.limits.unreachable_seconds_max)

    def _reached(self) -> None:
        self._was_reached, self._gone_since, self._told_of_waiting = True, None, False

    def _is_gone(self) -> None:
        """Say once that we wait, unless it comes back at once."""
        now = anyio.current_time()
        if self._gone_since is None:
            self._gone_since = now
        if self._on_waiting is None or self._told_of_waiting:
            return
        if now - self._gone_since >= WAITING_TOLD_SECONDS:
            self._told_of_waiting = True
            self._on_waiting(self._patience())

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
        silence_seconds: float | None = None,
    ) -> Any:
        """The JSON that a request is answered with.

        ``repeatable``: doing it twice is as good as once, so that it is sent again when the
        connection was cut. Raises the error of a problem document, ServerUnreachable, BufferFull.
        """
        sent = dict(headers or {})
        content = None
        if body is not None:
            content = _encoded(body)
            sent["content-type"] = "application/json"
        if silence_seconds is None:
            silence_seconds = self.limits.request_seconds_max
        request = partial(
            self._open,
            method,
            path,
            query=query,
            headers=sent,
            content=content,
            silence_seconds=silence_seconds,
        )

        async def once() -> Any:
            incoming = await request()
            try:
                received = await incoming.body(bytes_max=self.limits.answer_bytes_max)
            finally:
                await incoming.aclose()
            return _decoded(received, incoming.response.status_code)

        return await self.persist(once, repeatable=repeatable, backoff=self.backoff())

    async def stream(
        self, path: str, *, query: Sequence[tuple[str, str]], backoff: Backoff
    ) -> Incoming:
        """Open a stream of events, which the caller has to close. Raises as ``call``."""
        opening = partial(
            self._open,
            "GET",
            path,
            query=query,
            headers={"accept": "text/event-stream", "cache-control": "no-store"},
            content=None,
            silence_seconds=self.limits.silence_seconds_max,
        )
        return await self.persist(opening, repeatable=True, backoff=backoff)

    async def persist(
        self, attempt: Callable[[], Awaitable[Result]], *, repeatable: bool, backoff: Backoff
    ) -> Result:
        """What ``attempt`` returns, tried again as long as that is safe and may help."""
        while True:
            try:
                return await attempt()
            except Refusal as refusal:
                again = await self._passes(refusal, repeatable=repeatable)
                seconds = backoff.next_seconds(refusal.retry_after_seconds) if again else None
                if seconds is None:
                    raise self._error(refusal) from None
            except httpx.TransportError as error:
                seconds = await self.after_cut(error, repeatable=repeatable, backoff=backoff)
                await anyio.sleep(seconds)
                continue
            await anyio.sleep(seconds)

    async def after_cut(
        self, error: httpx.TransportError, *, repeatable: bool, backoff: Backoff
    ) -> float:
        """How many seconds to wait before the next try. Raises ServerUnreachable and, for what
        can't be sent at all, InvalidArgument."""
        if isinstance(error, _MISTAKES):
            raise InvalidArgument(f"{self.url}: {error}") from error
        if isinstance(error, httpx.PoolTimeout):
            limit = self.limits.connections_max
            raise BufferFull(
                "connections_max",
                used=limit,
                limit=limit,
                remedy="raise the limit, or leave some subscriptions",
            ) from error
        never_sent = isinstance(error, _NEVER_SENT)
        seconds = backoff.next_seconds() if repeatable or never_sent else None
        if seconds is None:
            why = str(error) or type(error).__name__
            raise ServerUnreachable(
                self.url, why=why, written=False if never_sent else None
            ) from error
        self._is_gone()
        return seconds

    async def is_leaving(self) -> bool:
        """Whether the server drains, or is gone: what it refuses now, the next one may not."""
        try:
            incoming = await self._open(
                "GET",
                "/readyz",
                query=(),
                headers={},
                content=None,
                silence_seconds=self.limits.request_seconds_max,
            )
        except Refusal as refusal:
            return (refusal.problem or {}).get("reason") == "draining"
        except httpx.TransportError:
            return True
        await incoming.aclose()
        return False

    async def _passes(self, refusal: Refusal, *, repeatable: bool) -> bool:
        """Whether the same request may be answered later, and may be sent again."""
        code = None if refusal.problem is None else refusal.problem.get("code")
        if code is None:
            return refusal.status in NOTHING_DONE or (
                repeatable and refusal.status in GATEWAY_ANSWERS
            )
        if code in ("too_many_requests", "too_many_streams", "body_too_slow"):
            return True
        if refusal.status != 503 or not (repeatable or code == "admission_closed"):
            return False
        return await self.is_leaving()

    def _error(self, refusal: Refusal) -> MoorageError:
        if refusal.problem is not None or refusal.status not in NOTHING_DONE | GATEWAY_ANSWERS:
            return refusal.error()
        written = False if refusal.status in NOTHING_DONE else None
        return ServerUnreachable(self.url, why=f"HTTP status {refusal.status}", written=written)

    async def _open(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        content: bytes | None,
        silence_seconds: float,
    ) -> Incoming:
        """Send a request once. Raises Refusal and httpx.TransportError."""
        limits = self.limits
        request = self._client.build_request(
            method,
            self.url + path + (f"?{urlencode(query)}" if query else ""),
            headers=self._headers | _trace_headers() | dict(headers),
            content=content,
            timeout=httpx.Timeout(
                connect=limits.connect_seconds_max,
                read=silence_seconds,
                write=limits.request_seconds_max,
                pool=limits.connect_seconds_max,
            ),
        )
        incoming = Incoming(await self._client.send(request, stream=True))
        response = incoming.response
        self._reached()
        if response.is_success:
            return incoming
        try:
            received = await incoming.body(bytes_max=limits.answer_bytes_max)
        finally:
            await incoming.aclose()
        raise Refusal(response.status_code, _problem(received), _retry_after(response))


def _trace_headers() -> dict[str, str]:
    """The trace that the caller is in. Who is in one has imported OpenTelemetry before."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from moorage.adapters.sinks.telemetry import trace_headers

    return trace_headers()


def path_of(*parts: str) -> str:
    """A path below /v1 of these parts, whatever is in them."""
    return "/v1/" + "/".join(_quoted(part) for part in parts)


def _quoted(part: str) -> str:
    # of dots alone it would be a place in the hierarchy
    return quote(part, safe="") if part.strip(".") else part.replace(".", "%2E")


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return dump_line(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"this cannot be sent as JSON: {error}") from error


def _decoded(content: bytes, status: int) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise not_a_gateway(f"the answer is no JSON ({error})", status) from error


def _problem(content: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        document = json.loads(content)
        if isinstance(document, dict):
            return document
    return None


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
