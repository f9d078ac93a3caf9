"""A server that answers each request with the next of its answers: what a gateway does not do on
demand, and what stands in front of it does."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CUT = b""
"""The connection ends without an answer."""


def answer(status: int, document: Any = None, **headers: str) -> bytes:
    """An answer of HTTP/1.1, with JSON or, without a document, with nothing."""
    body = b"" if document is None else json.dumps(document).encode()
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


def problem(status: int, code: str, **headers: str) -> bytes:
    document = {"code": code, "detail": f"the detail of {code}", "retryable": True, "facts": {}}
    return answer(status, document, **headers)


class ScriptedServer:
    """``requests`` has the first line, the headers and the body of each."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.address = ""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._answers = list(answers)

    async def handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                piece = await stream.receive_some(65_536)
                if not piece:
                    return
                received += piece
            head, _, body = received.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            while len(body) < int(headers.get("content-length", "0")):
                body += await stream.receive_some(65_536)
            self.requests.append((first, headers, body))
            await stream.send_all(self._answers.pop(0))


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[ScriptedServer]:
    """A server with these answers."""
    server = ScriptedServer(answers)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server.address = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield server
        nursery.cancel_scope.cancel()
