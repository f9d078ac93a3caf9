"""The body of a request: read within limits, or, if it is refused, discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .operations import JSON
from .problems import BodyTooLarge, BodyTooSlow, MalformedRequest, UnsupportedMediaType

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.responses import Response
    from starlette.types import Message, Receive, Send

    from .limits import HttpLimits

DISCARD_SECONDS_MAX = 2.0
"""How long the rest of a body that was refused is taken, so that the answer can be read."""
LENGTH_DIGITS_MAX = 18


class RequestBody:
    """Reads one request's body; remembers whether it has seen its end."""

    def __init__(self, receive: Receive, headers: Headers, limits: HttpLimits) -> None:
        self._receive = receive
        self._headers = headers
        self._limits = limits
        self.ended = trio.Event()
        """Set when nothing of it will come any more."""
        self.slow = False

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.ended.set()
        return message

    async def read(self, *, any_type: bool = False) -> bytes:
        """All of it; empty if there is none. Of ``any_type``, or JSON.

        Raises BodyTooLarge, BodyTooSlow, UnsupportedMediaType and MalformedRequest.
        """
        limits = self._limits
        self._check_length()
        content = bytearray()
        with trio.move_on_after(limits.body_seconds_max):
            while not self.ended.is_set():
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise MalformedRequest("the client went away before the end of the body")
                content += message.get("body", b"")
                if len(content) > limits.body_bytes_max:
                    raise BodyTooLarge(limit=limits.body_bytes_max)
            if content and not any_type:
                self._check_media_type()
            return bytes(content)
        self.slow = True
        raise BodyTooSlow(
            f"the body took longer than {limits.body_seconds_max:g} seconds (body_seconds_max)"
        )

    def _check_length(self) -> None:
        declared = self._headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            raise MalformedRequest(f"Content-Length is {declared[:40]!r}, no number")
        if len(declared) > LENGTH_DIGITS_MAX or int(declared) > self._limits.body_bytes_max:
            raise BodyTooLarge(limit=self._limits.body_bytes_max)

    def _check_media_type(self) -> None:
        """JSON only: what a page of another origin may send without asking is not JSON."""
        given = self._headers.get("content-type", "")
        if given.partition(";")[0].strip().lower() != JSON:
            raise UnsupportedMediaType(
                f"Content-Type is {given[:100]!r}: send Content-Type: {JSON}"
            )

    async def answer_early(self, response: Response, send: Send) -> None:
        """Send an answer before the end of the body, which is discarded for a while.

        Who sends a large body reads the answer only behind it, and what is closed with something
        unread in it takes the answer back. And the server below stands still, for ever, as soon as
        a few pieces of a body are not fetched: they are until it says that the request is over.
        """
        body = bytes(response.body)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": response.raw_headers,
                }
            )
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if not self.slow:
                with trio.move_on_after(DISCARD_SECONDS_MAX):
                    await self.ended.wait()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            with trio.move_on_after(DISCARD_SECONDS_MAX):
                await self.ended.wait()
            nursery.cancel_scope.cancel()

    async def _discard(self) -> None:
        while not self.ended.is_set():
            await self.receive()
