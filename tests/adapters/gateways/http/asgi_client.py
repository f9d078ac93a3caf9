"""A client that talks to an ASGI application directly: no sockets, any clock, one task."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PATIENCE_SECONDS = 3_600


@attrs.frozen
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """Of the problem that it is."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json()["status"] == self.status
        code: str = self.json()["code"]
        return code


class Stream:
    """An answer that goes on. Nothing is read ahead: who does not read stalls the server."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.opening = b""
        self.ended = trio.Event()
        self._sent, self._chunks = trio.open_memory_channel[bytes](0)
        self._gone = trio.Event()

    async def receive_chunk(self) -> bytes:
        """What was sent in one go; b"" behind the end."""
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                return await self._chunks.receive()
        except trio.EndOfChannel:
            return b""

    async def rest(self) -> bytes:
        """Everything up to the end."""
        content = b""
        while chunk := await self.receive_chunk():
            content += chunk
        return content

    def leave(self) -> None:
        """The client goes away."""
        self._gone.set()


class AsgiClient:
    """Requests, one after the other. ``headers`` come with each of them."""

    def __init__(self, app: Any, headers: Mapping[str, str] | None = None) -> None:
        self.app = app
        self.headers = {"host": "127.0.0.1:8040", **(headers or {})}
        self.address = "192.0.2.1"

    def with_headers(self, **headers: str) -> AsgiClient:
        """The same client, which sends these as well; underscores are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return AsgiClient(self.app, self.headers | named)

    def scope(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        path, _, query = target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in (self.headers | dict(headers or {})).items()
            ],
            "client": (self.address, 1),
            "server": ("127.0.0.1", 8040),
        }

    async def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answered:
        """One request; ``body`` goes out as JSON, ``content`` as it is."""
        sent = dict(headers or {})
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            sent = {"content-type": "application/json", **sent}
        parts = [{"type": "http.request", "body": content or b"", "more_body": False}]
        messages: list[Any] = []

        async def receive() -> Any:
            if parts:
                return parts.pop()
            await trio.sleep_forever()
            return None

        async def send(message: Any) -> None:
            await trio.lowlevel.checkpoint()
            messages.append(message)

        await self.app(self.scope(method, target, sent), receive, send)
        start = messages[0]
        return Answered(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in messages[1:]),
        )

    @asynccontextmanager
    async def stream(
        self,
        target: str,
        *,
        accept: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """A request whose answer is read piece by piece."""
        stream = Stream()
        started = trio.Event()
        begun = False

        async def receive() -> Any:
            nonlocal begun
            if not begun:
                begun = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await stream._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                stream.status = message["status"]
                stream.headers = {name.decode(): v.decode() for name, v in message["headers"]}
                started.set()
            elif message.get("body"):
                await stream._sent.send(message["body"])

        async def run() -> None:
            scope = self.scope("GET", target, {"accept": accept, **(headers or {})})
            try:
                await self.app(scope, receive, send)
            finally:
                stream.ended.set()
                stream._sent.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            with trio.fail_after(PATIENCE_SECONDS):
                await started.wait()
            if stream.status == 200:
                stream.opening = await stream.receive_chunk()  # says that the stream is open
            yield stream
            stream.leave()
            nursery.cancel_scope.cancel()


def sse_events(content: bytes) -> list[dict[str, Any]]:
    """Blocks of a stream of server-sent events: ``id``, ``event``, ``data``, as far as given."""
    blocks = []
    for block in content.decode().split("\n\n"):
        fields: dict[str, Any] = {}
        for line in block.splitlines():
            name, _, value = line.partition(": ")
            fields[name or "comment"] = value
        if "data" in fields:
            fields["data"] = json.loads(fields["data"])
        if fields:
            blocks.append(fields)
    return blocks
