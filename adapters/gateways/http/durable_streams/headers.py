"""The protocol's headers, read and written."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from ..problems import MalformedRequest, shown
from .configs import WHOLE_MAX
from .creating import Fork
from .offsets import write_offset
from .states import Producer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .reading import View

STREAM_REQUEST_HEADERS = (
    "producer-epoch",
    "producer-id",
    "producer-seq",
    "stream-closed",
    "stream-expires-at",
    "stream-fork-offset",
    "stream-fork-sub-offset",
    "stream-forked-from",
    "stream-seq",
    "stream-ttl",
)
STREAM_ANSWER_HEADERS = (
    "producer-epoch",
    "producer-expected-seq",
    "producer-received-seq",
    "producer-seq",
    "stream-closed",
    "stream-cursor",
    "stream-expires-at",
    "stream-next-offset",
    "stream-sse-data-encoding",
    "stream-ttl",
    "stream-up-to-date",
)
PATH = "/v1/stream/"
NAME_CHARACTERS_MAX = 256
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")


def _whole(name: str, text: str) -> int:
    if _WHOLE.fullmatch(text) is None or int(text) > WHOLE_MAX:
        raise MalformedRequest(
            f"{name} is {shown(text)}: send a whole number from 0 to 2**53 - 1, digits only"
        )
    return int(text)


def _name(header: str, text: str) -> str:
    if not 1 <= len(text) <= NAME_CHARACTERS_MAX:
        raise MalformedRequest(
            f"{header} has {len(text)} characters: send 1 to {NAME_CHARACTERS_MAX}"
        )
    return text


def closes(headers: Mapping[str, str]) -> bool:
    """Whether the stream is to be closed. Anything but ``true`` is as if it was not there."""
    return headers.get("stream-closed", "").lower() == "true"


def writer_seq(headers: Mapping[str, str]) -> str | None:
    """Raises MalformedRequest."""
    text = headers.get("stream-seq")
    return None if text is None else _name("Stream-Seq", text)


def producer(headers: Mapping[str, str]) -> Producer | None:
    """Who appends, if that is told. Raises MalformedRequest."""
    names = ("Producer-Id", "Producer-Epoch", "Producer-Seq")
    given = [headers.get(name.lower()) for name in names]
    if given == [None, None, None]:
        return None
    missing = [name for name, text in zip(names, given, strict=True) if text is None]
    if missing:
        raise MalformedRequest(f"{missing[0]} is missing: send {', '.join(names)}, or none of them")
    id, epoch, seq = (text or "" for text in given)
    return Producer(_name(names[0], id), _whole(names[1], epoch), _whole(names[2], seq))


def ttl_seconds(headers: Mapping[str, str]) -> int | None:
    """Raises MalformedRequest."""
    text = headers.get("stream-ttl")
    return None if text is None else _whole("Stream-TTL", text)


def expires_at(headers: Mapping[str, str]) -> tuple[str, int] | None:
    """The text and the nanoseconds since 1970. Raises MalformedRequest."""
    text = headers.get("stream-expires-at")
    if text is None:
        return None
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError
        moment = datetime.fromisoformat(text.upper())
        return text, round(moment.timestamp() * 1_000) * 1_000_000
    except (ValueError, OverflowError):
        raise MalformedRequest(
            f"Stream-Expires-At is {shown(text)}: send an RFC 3339 time, like 2030-01-31T12:00:00Z"
        ) from None


def fork(headers: Mapping[str, str]) -> Fork | None:
    """What to inherit, if anything. Raises MalformedRequest."""
    source = headers.get("stream-forked-from")
    offset = headers.get("stream-fork-offset")
    below = headers.get("stream-fork-sub-offset")
    if source is None:
        if offset is not None or below is not None:
            raise MalformedRequest(
                "Stream-Fork-Offset is nothing without Stream-Forked-From: send that as well"
            )
        return None
    return Fork(
        source=_stream_name(source),
        offset=offset,
        sub_offset=0 if below is None else _whole("Stream-Fork-Sub-Offset", below),
    )


def _stream_name(text: str) -> str:
    """The name in the path or the URL of a stream."""
    path = urlsplit(text).path
    name = path.removeprefix(PATH)
    if name == path or not name or "/" in name:
        raise MalformedRequest(
            f"Stream-Forked-From is {shown(text)}: send the path of a stream, {PATH}NAME"
        )
    try:
        return unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        raise MalformedRequest(f"Stream-Forked-From is not UTF-8: {shown(text)}") from None


def facts(view: View) -> dict[str, str]:
    """What every answer tells of a stream."""
    told = {"content-type": view.content_type, "stream-next-offset": write_offset(view.tail)}
    if view.closed:
        told["stream-closed"] = "true"
    return told


def lifetime(view: View) -> dict[str, str]:
    config = view.config
    told = {}
    if config is not None and config.ttl_seconds is not None:
        told["stream-ttl"] = str(config.ttl_seconds)
    if config is not None and config.expires_at is not None:
        told["stream-expires-at"] = config.expires_at
    return told
