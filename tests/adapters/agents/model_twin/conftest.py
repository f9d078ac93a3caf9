from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h11
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECONDS = 60
"""More than any exchange with this machine takes."""


@attrs.frozen
class Answer:
    """What came back; ``whole`` is False if the connection ended before the response did."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of server-sent events, decoded, without ``[DONE]``."""
        lines = self.body.decode().splitlines()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(item) for item in data if item != "[DONE]"]


class RawClient:
    """HTTP by hand, over one connection, so that a test sees what goes over the wire."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, path: str, body: object = None, method: str = "POST", **headers: str):
        """Send a request; ``body`` is bytes or becomes JSON, header names have underscores."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if "transfer_encoding" not in headers:
            more.append(("content-length", str(len(data))))
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        head = self.http.send(
            h11.Request(method=method, target=path, headers=[("host", "x"), *more])
        )
        sent = self.http.send(h11.Data(data=data)) if data else b""
        await self.stream.send_all(head + sent + self.http.send(h11.EndOfMessage()))

    async def receive(self) -> Answer:
        """The response, or as much as came of it."""
        response, body, whole = None, b"", False
        while True:
            event = await self._event()
            if event is None:
                break
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                whole = True
                break
        if response is None:
            raise ConnectionResetError("there was no response")
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return Answer(response.status_code, headers, body, whole)

    async def _event(self) -> object:
        while True:
            try:
                event = self.http.next_event()
                if event is not h11.NEED_DATA:
                    return None if isinstance(event, h11.ConnectionClosed) else event
                self.http.receive_data(bytes(await self.stream.receive_some()))
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                return None


@asynccontextmanager
async def open_client(twin: Any) -> AsyncIterator[RawClient]:
    with trio.fail_after(SECONDS):
        async with await trio.open_tcp_stream("127.0.0.1", int(twin.url.rpartition(":")[2])) as it:
            yield RawClient(it)


@pytest.fixture
def connect() -> Callable[..., Any]:
    """Open a connection to a twin: ``async with connect(twin) as client``."""
    return open_client


@pytest.fixture
def ask() -> Callable[..., Any]:
    """One request over a connection of its own: ``await ask(twin, path, body, ...)``."""

    async def exchange(twin: Any, path: str, body: object = None, method: str = "POST", **headers):
        async with open_client(twin) as client:
            await client.send(path, body, method, **headers)
            return await client.receive()

    return exchange
