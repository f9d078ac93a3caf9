"""The routes of Durable Streams: one path, the methods of the protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from ..authorisation import check_scope, check_session
from ..operations import Answer, Operation, Parameter
from ..problems import MalformedRequest, MethodNotAllowed
from . import headers as read
from .content import checked_type, cut, joined, media_type
from .creating import Wanted, create
from .cursors import next_cursor
from .following import StreamFollower
from .offsets import NOW, read_offset, write_offset
from .reading import contents
from .refusals import ContentTypeMismatch
from .registry import DurableStreams
from .states import Write

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from ..call import Call
    from ..schemas import Schema
    from .reading import Piece, View

CACHE = "private, no-cache"
"""What has been read may be kept, by its reader, and is asked for again by its ETag."""
NO_STORE = "no-store"


def _streams(call: Call) -> DurableStreams:
    return DurableStreams(
        call.supervisor,
        call.state.known_streams,
        call.state.time_ns,
        prefix=call.principal.prefix,
    )


async def create_stream(call: Call) -> Response:
    """PUT: a stream with its first content, or the one that is there as it is wanted."""
    call.state.check_admission()
    headers = call.headers
    given = headers.get("content-type")
    ttl_seconds, expires_at = read.ttl_seconds(headers), read.expires_at(headers)
    if ttl_seconds is not None and expires_at is not None:
        raise MalformedRequest("Stream-TTL and Stream-Expires-At exclude each other: send one")
    fork = read.fork(headers)
    if fork is not None:
        check_scope(call.principal, "read")
        check_session(call.principal, fork.source)
    wanted = Wanted(
        content_type=None if given is None else checked_type(given),
        ttl_seconds=ttl_seconds,
        expires_at=None if expires_at is None else expires_at[0],
        expires_at_ns=None if expires_at is None else expires_at[1],
        fork=fork,
        body=call.content,
        closes=read.closes(headers),
    )
    view, made = await create(_streams(call), call.session_id, wanted)
    told = read.facts(view)
    if made:
        name = quote(call.session_id, safe="")
        told["location"] = f"{call.scheme}://{headers.get('host', '')}{read.PATH}{name}"
    return Response(b"", 201 if made else 200, headers=told)


async def append_to_stream(call: Call) -> Response:
    """POST: append the body, once if its producer is told, and close if that is wanted."""
    headers, streams = call.headers, _streams(call)
    producer, closes = read.producer(headers), read.closes(headers)
    given = headers.get("content-type")
    view = await streams.view(call.session_id)
    if view.config is None:
        raise MethodNotAllowed("POST", allowed=["GET", "HEAD"])
    items: tuple[str | bytes, ...] = ()
    if call.content:
        if given is None:
            raise MalformedRequest(f"there is no Content-Type: send {view.content_type}")
        if media_type(checked_type(given)) != media_type(view.content_type):
            raise ContentTypeMismatch(expected=view.content_type, given=given)
        items = tuple(cut(view.content_type, call.content))
    if not items and not closes:
        raise MalformedRequest("there is nothing to append: send a body, or Stream-Closed: true")
    write = Write(
        contents=items, closes=closes, producer=producer, writer_seq=read.writer_seq(headers)
    )
    done = await streams.append(view, write)
    told = read.facts(done.view)
    del told["content-type"]
    if producer is not None:
        told |= {"producer-epoch": str(producer.epoch), "producer-seq": str(done.producer_seq)}
    new = producer is not None and items and not done.duplicate
    return Response(b"", 200 if new else 204, headers=told)


async def get_stream_facts(call: Call) -> Response:
    view = await _streams(call).view(call.session_id)
    told = read.facts(view) | read.lifetime(view) | {"cache-control": NO_STORE}
    return Response(b"", headers=told)


async def delete_stream(call: Call) -> Response:
    streams = _streams(call)
    if (await streams.view(call.session_id)).config is None:
        raise MethodNotAllowed("DELETE", allowed=["GET", "HEAD"])
    await streams.remove(call.session_id)
    return Response(status_code=204)


async def read_stream(call: Call) -> ASGIApp:
    """What is there behind the offset; with ``live`` what comes, too."""
    query, streams = call.query, _streams(call)
    offset, live = query.get("offset"), query.get("live")
    if live is not None and offset is None:
        raise MalformedRequest(f"live={live} needs an offset: -1, now, or a Stream-Next-Offset")
    position = 0 if offset in (None, NOW) else read_offset(offset)
    view = await streams.view(call.session_id)
    if position > view.tail:
        raise MalformedRequest(
            f"offset is behind the end of the stream, which is {write_offset(view.tail)}"
        )
    await streams.touch(view)
    position = view.tail if offset == NOW else await view.start(position)
    if live == "sse":
        next_cursor(0, query.get("cursor"))
        return StreamFollower(call, streams, view, position, query.get("cursor"))
    pieces, end = await view.read(position, bytes_max=call.state.limits.chunk_bytes)
    if live == "long-poll":
        return await _long_poll(call, view, position, pieces, end)
    return _answer(call, view, position, pieces, end, now=offset == NOW)


async def _long_poll(
    call: Call, view: View, position: int, pieces: list[Piece], end: int
) -> Response:
    if not contents(pieces) and not view.closed:
        call.state.check_admission()
        waiting = partial(view.own.pieces, end, wait_seconds=call.state.limits.long_poll_seconds)
        await call.while_wanted(waiting)
        view = await _streams(call).view(call.session_id)
        pieces, end = await view.read(end, bytes_max=call.state.limits.chunk_bytes)
    cursor = next_cursor(call.state.time_ns(), call.query.get("cursor"))
    told = {"stream-cursor": str(cursor)}
    if contents(pieces):
        return _answer(call, view, position, pieces, end, now=False, more=told)
    told |= read.facts(view) | {"stream-up-to-date": "true", "cache-control": NO_STORE}
    del told["content-type"]
    return Response(status_code=204, headers=told)


def _answer(
    call: Call,
    view: View,
    position: int,
    pieces: list[Piece],
    end: int,
    *,
    now: bool,
    more: dict[str, str] | None = None,
) -> Response:
    told = read.facts(view) | (more or {})
    if end >= view.tail:
        told["stream-up-to-date"] = "true"
    else:
        told.pop("stream-closed", None)
    told["stream-next-offset"] = write_offset(end)
    told["cache-control"] = NO_STORE if now else CACHE
    ended = ":closed" if "stream-closed" in told else ""
    etag = f'"{view.info.created_at_ns:x}:{position:x}:{end:x}{ended}"'
    told["etag"] = etag
    if not now and etag in call.headers.get("if-none-match", ""):
        del told["content-type"]
        return Response(status_code=304, headers=told)
    return Response(joined(view.content_type, contents(pieces)), headers=told)


_ANY: dict[str, Schema] = {"*/*": {}}
_PATH = f"{read.PATH}{{session_id}}"
_TAG = "durable streams"


def _header(name: str, description: str) -> Parameter:
    return Parameter(name=name, place="header", schema={"type": "string"}, description=description)


_CLOSED = _header("Stream-Closed", "`true`: nothing is appended behind this any more.")
_WRITERS = (
    _CLOSED,
    _header("Stream-Seq", "Has to sort behind that of the last append that had one."),
    _header("Producer-Id", "Who appends, so that a retry is told from something new."),
    _header("Producer-Epoch", "Counts the lives of the producer."),
    _header("Producer-Seq", "Counts the appends of a life, from 0."),
)
_MAKERS = (
    _CLOSED,
    _header("Stream-TTL", "Seconds without use after which it is gone."),
    _header("Stream-Expires-At", "When it is gone, as in RFC 3339."),
    _header("Stream-Forked-From", "The path of a stream whose content it begins with."),
    _header("Stream-Fork-Offset", "Up to here; without it, all that is there now."),
    _header("Stream-Fork-Sub-Offset", "So many bytes or messages of what was appended next."),
)
_READERS = (
    Parameter(
        name="offset",
        schema={"type": "string", "minLength": 1},
        description="`-1` for the beginning, `now` for the end, or a Stream-Next-Offset.",
    ),
    Parameter(
        name="live",
        schema={"type": "string", "enum": ["long-poll", "sse"]},
        description="Wait for something new, or follow by server-sent events.",
    ),
    Parameter(
        name="cursor", schema={"type": "string"}, description="The Stream-Cursor that came last."
    ),
    _header("If-None-Match", "An ETag: if nothing has changed, 304."),
)

STREAM_OPERATIONS = (
    Operation(
        id="create_stream",
        method="PUT",
        path=_PATH,
        summary="Create a stream, or find it as it is wanted.",
        tag=_TAG,
        scope="write",
        handler=create_stream,
        raw=True,
        body_required=False,
        parameters=_MAKERS,
        answers={
            200: Answer(description="It was there.", content=_ANY),
            201: Answer(description="It was made.", content=_ANY),
        },
    ),
    Operation(
        id="append_to_stream",
        method="POST",
        path=_PATH,
        summary="Append bytes or JSON messages, once, and close it.",
        tag=_TAG,
        scope="write",
        handler=append_to_stream,
        raw=True,
        body_required=False,
        parameters=_WRITERS,
        answers={
            200: Answer(description="It is appended; its producer is known.", content=_ANY),
            204: Answer(description="It is appended, or was already."),
        },
    ),
    Operation(
        id="read_stream",
        method="GET",
        path=_PATH,
        summary="What a stream holds behind an offset, and what comes. Sessions are streams, too.",
        tag=_TAG,
        scope="read",
        handler=read_stream,
        raw=True,
        parameters=_READERS,
        answers={
            200: Answer(description="Bytes, an array of messages, or events.", content=_ANY),
            204: Answer(description="Nothing new within the time of a long poll."),
            304: Answer(description="Nothing has changed."),
        },
    ),
    Operation(
        id="get_stream_facts",
        method="HEAD",
        path=_PATH,
        summary="Its type, its end, its lifetime.",
        tag=_TAG,
        scope="read",
        handler=get_stream_facts,
        raw=True,
        answers={200: Answer(description="In the headers.", content=_ANY)},
    ),
    Operation(
        id="delete_stream",
        method="DELETE",
        path=_PATH,
        summary="Delete a raw stream; what forks inherit stays for them.",
        tag=_TAG,
        scope="admin",
        handler=delete_stream,
        raw=True,
        answers={204: Answer(description="It is gone.")},
    ),
)
