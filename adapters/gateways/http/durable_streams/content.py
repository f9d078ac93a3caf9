"""What a stream holds: bytes cut into events, or JSON messages, and how they are put together."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING

from ..operations import JSON
from ..problems import MalformedRequest
from ..validation import read_json
from .refusals import TooManyMessages

if TYPE_CHECKING:
    from collections.abc import Sequence

OCTETS = "application/octet-stream"
CONTENT_TYPE_CHARACTERS_MAX = 256
PIECE_BYTES = 64 * 1024
"""A longer append is cut into events of this size, so that it can be read piece by piece."""
MESSAGES_MAX = 10_000
"""Of one append: each is an event."""
UTF8_TRAIL_BYTES_MAX = 3
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")

Content = str | bytes
"""Text where it is text, so that a person can read it in the log."""


def media_type(content_type: str) -> str:
    """What content types are compared by: without parameters and case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether the stream holds messages, and not bytes."""
    return media_type(content_type) == JSON


def is_text(content_type: str) -> bool:
    """Whether server-sent events carry it as it is; anything else is Base64 there."""
    return media_type(content_type).startswith("text/") or is_json(content_type)


def cut(content_type: str, body: bytes) -> list[Content]:
    """A body as what events hold. Raises MalformedRequest for what is no JSON, but should be."""
    if is_json(content_type):
        return list(messages(body)) if body else []
    return [_readable(piece) for piece in _pieces(body, text=is_text(content_type))]


def messages(body: bytes) -> list[str]:
    """The JSON texts of the messages in a body, exactly as they came: the elements of an array, or
    the value that it is. Raises MalformedRequest, and TooManyMessages."""
    value = read_json(body)
    text = body.decode()
    start = _skip(text, 0)
    if not isinstance(value, list):
        return [text[start:].rstrip(" \t\n\r")]
    if len(value) > MESSAGES_MAX:
        raise TooManyMessages(count=len(value), limit=MESSAGES_MAX)
    found = []
    for _ in value:
        begin = _skip(text, start + 1)  # behind the bracket or the comma
        end = _DECODER.raw_decode(text, begin)[1]
        found.append(text[begin:end])
        start = _skip(text, end)
    return found


def _skip(text: str, index: int) -> int:
    found = _SPACE.match(text, index)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _pieces(body: bytes, *, text: bool) -> list[bytes]:
    found = []
    start = 0
    while start < len(body):
        end = start + PIECE_BYTES
        if text:  # no character is cut through, if it is UTF-8
            for _ in range(UTF8_TRAIL_BYTES_MAX):
                if end < len(body) and body[end] & 0xC0 == 0x80:
                    end -= 1
        found.append(body[start:end])
        start = end
    return found


def _readable(piece: bytes) -> Content:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece


def octets(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def size(content_type: str, content: Content) -> int:
    """What sub-offsets count: messages, or bytes."""
    return 1 if is_json(content_type) else len(octets(content))


def joined(content_type: str, contents: Sequence[Content]) -> bytes:
    """What is there as one body: bytes behind each other, or an array of messages."""
    parts = [octets(content) for content in contents]
    return b"[" + b",".join(parts) + b"]" if is_json(content_type) else b"".join(parts)


def data_event(content_type: str, contents: Sequence[Content]) -> bytes:
    """The same as a server-sent event. However it is made, a line of it stays data."""
    body = joined(content_type, contents)
    if not is_text(content_type):
        return b"event: data\ndata:%s\n\n" % b64encode(body)
    lines = [
        b"data:" + (b" " if line.startswith(b" ") else b"") + line
        for line in _LINE_ENDS.split(body)
    ]
    return b"event: data\n" + b"\n".join(lines) + b"\n\n"


def checked_type(content_type: str) -> str:
    """A content type that may go into a header again. Raises MalformedRequest."""
    given = content_type.strip()
    kind, slash, sub = media_type(given).partition("/")
    if (
        not (kind and slash and sub)
        or len(given) > CONTENT_TYPE_CHARACTERS_MAX
        or not (given.isascii() and given.isprintable())
    ):
        raise MalformedRequest(
            f"Content-Type is {given[:100]!r}: send TYPE/SUBTYPE of at most "
            f"{CONTENT_TYPE_CHARACTERS_MAX} characters"
        )
    return given
