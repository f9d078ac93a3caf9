"""Plays one reply onto a connection, and says how that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chat_dialect import ChatDialect
from .messages_dialect import MessagesDialect
from .playing import Dialect, Step, Told, dumps
from .replies import Cut, Garbage, HttpError, Part, Stall
from .responses_dialect import ResponsesDialect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .http_connection import HttpConnection
    from .twin_request import Outcome, TwinRequest

DIALECTS: dict[str, Dialect] = {
    "messages": MessagesDialect(),
    "responses": ResponsesDialect(),
    "chat": ChatDialect(),
}

BLOCK_BYTES = 16_384
"""Events without silence between them are sent together, so that a stream costs little."""

JSON = ("content-type", "application/json")


async def play(connection: HttpConnection, told: Told) -> Outcome:
    """Send the reply. Returns "answered", "cut" or "client_left"; the request has its status.

    Raises what HttpConnection raises when the client leaves while something is sent.
    """
    parts = told.parts
    while parts and isinstance(parts[0], Stall):  # before the head
        if await connection.pause(parts[0].seconds):
            return "client_left"
        parts = parts[1:]
    first = parts[0] if parts else None
    if isinstance(first, Cut):
        return _cut(connection, first)
    if isinstance(first, Garbage):
        await connection.send_raw(first.data)
        return "cut"
    error = _error(parts, streaming=told.request.streaming)
    if error is not None:
        await _send_error(connection, told.request, error)
        return "answered"
    told = Told(request=told.request, parts=parts, token=told.token, created=told.created)
    dialect = DIALECTS[told.request.dialect]
    if told.request.streaming:
        return await _stream(connection, told, dialect.stream(told))
    return await _whole(connection, told, dumps(dialect.whole(told)))


async def _send_error(connection: HttpConnection, request: TwinRequest, error: HttpError) -> None:
    """Answer with an error, in the request's dialect; where it has none, in OpenAI's."""
    dialect = DIALECTS.get(request.dialect, DIALECTS["chat"])
    body = dumps(dialect.error(error)) if error.body is None else error.body
    headers = {"content-type": "application/json", "request-id": f"twin_{request.number}"}
    headers["x-request-id"] = headers["request-id"]
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    headers |= {name.lower(): value for name, value in error.headers.items()}
    request.status = error.status
    await connection.respond(error.status, headers.items(), body)


def _error(parts: tuple[Part, ...], *, streaming: bool) -> HttpError | None:
    """The error that is the whole response: the first part, or any if nothing is streamed."""
    candidates = parts[:1] if streaming else parts
    return next((part for part in candidates if isinstance(part, HttpError)), None)


async def _stream(connection: HttpConnection, told: Told, steps: Iterator[Step]) -> Outcome:
    told.request.status = 200
    await connection.begin(
        200,
        [
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
            *_ids(told.request),
        ],
    )
    waiting: list[bytes] = []
    size = 0
    for step in steps:
        if isinstance(step, bytes):
            waiting.append(step)
            size += len(step)
            if size < BLOCK_BYTES:
                continue
        if waiting:
            await connection.send(b"".join(waiting))
            waiting, size = [], 0
        if isinstance(step, Stall) and await connection.pause(step.seconds):
            return "client_left"
        if isinstance(step, Cut):
            return _cut(connection, step)
    if waiting:
        await connection.send(b"".join(waiting))
    await connection.finish()
    return "answered"


async def _whole(connection: HttpConnection, told: Told, body: bytes) -> Outcome:
    """All silences come before the response; garbage and a cut in the middle of its body."""
    told.request.status = 200
    for part in told.parts:
        if isinstance(part, Stall) and await connection.pause(part.seconds):
            return "client_left"
    garbage = b"".join(part.data for part in told.parts if isinstance(part, Garbage))
    cut = next((part for part in told.parts if isinstance(part, Cut)), None)
    middle = len(body) // 2
    body = body[:middle] + garbage + body[middle:]
    length = ("content-length", str(len(body)))
    await connection.begin(200, [JSON, length, *_ids(told.request)])
    if cut is not None:
        await connection.send(body[:middle])
        return _cut(connection, cut)
    await connection.send(body)
    await connection.finish()
    return "answered"


def _ids(request: TwinRequest) -> list[tuple[str, str]]:
    """Both providers' names for the id of a request."""
    number = f"twin_{request.number}"
    return [("request-id", number), ("x-request-id", number)]


def _cut(connection: HttpConnection, cut: Cut) -> Outcome:
    if cut.reset:
        connection.reset()
    return "cut"
