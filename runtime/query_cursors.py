"""Page cursors: opaque text that says where a query's next page begins.

A cursor is bound to what it was made by: the kind of query, its ordering and its filters. With any
other it is refused, since the position would mean something else. It grants nothing, since all
that is returned is selected by the filters of the call, and so it is checked but not signed.

::

    version (1 byte) | checksum (4 bytes) | JSON: [kind, order, digest of the filters, position...]

as URL-safe base64 without padding. Later versions keep the first two fields as they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .errors import InvalidArgument, InvalidCursor
from .identifiers import check_session_id

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
CURSOR_CHARS_MAX = 2_048
"""More than any position takes; what is longer is no cursor."""
_SEED = 0x4D4F4F52
_HEAD = 5
_DIGEST_CHARS = 16
_NUMBER_MAX = 2**63


@attrs.frozen
class Query:
    """What a cursor is bound to. ``order`` names the ordering with its direction, ``filters`` are
    plain JSON; ``position`` are the types of what says where a page begins."""

    kind: str
    order: str
    filters: Mapping[str, Any]
    position: tuple[type, ...]

    @property
    def digest(self) -> str:
        given = {name: value for name, value in self.filters.items() if value not in (None, "", {})}
        text = json.dumps(given, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]


def encode_cursor(query: Query, position: Sequence[int | str]) -> str:
    """The cursor of the page that begins behind ``position``."""
    fields = [query.kind, query.order, query.digest, *position]
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    version = bytes((VERSION,))
    raw = version + _checksum(version, body) + body
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(query: Query, cursor: object) -> tuple[Any, ...]:
    """The position in it. Raises InvalidArgument for what is no text, and InvalidCursor."""
    if type(cursor) is not str:
        raise InvalidArgument(
            f"cursor must be None or the next_cursor of a page, not {type(cursor).__name__}"
        )
    kind, order, digest, *position = _fields(cursor)
    if kind != query.kind:
        raise InvalidCursor(
            "kind",
            f"it is of a search for {kind} and this one is for {query.kind}: "
            "give it to the search that returned it",
        )
    if order != query.order:
        raise InvalidCursor(
            "order",
            f"it was made with the order {order!r} and this is {query.order!r}: keep the "
            "order of the first page, or begin anew without cursor",
        )
    if digest != query.digest:
        raise InvalidCursor(
            "filters",
            "it was made with other filters: keep those of the first page (only limit may "
            "change), or begin anew without cursor",
        )
    if tuple(map(type, position)) != query.position or not all(map(_is_possible, position)):
        raise _damaged()
    return tuple(position)


def _fields(cursor: str) -> list[Any]:
    if not cursor or len(cursor) > CURSOR_CHARS_MAX or not cursor.isascii():
        raise _damaged()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise _damaged() from None
    version, body = raw[:1], raw[_HEAD:]
    if len(raw) < _HEAD or raw[1:_HEAD] != _checksum(version, body):
        raise _damaged()
    if version[0] != VERSION:
        raise InvalidCursor(
            "version",
            f"it has the version {version[0]} and this release knows {VERSION}: "
            "begin anew without cursor, or use the release that made it",
        )
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise _damaged() from None
    if type(fields) is not list or len(fields) < 3:
        raise _damaged()
    return fields


def _is_possible(value: int | str) -> bool:
    if isinstance(value, int):
        return 0 <= value < _NUMBER_MAX
    try:
        return value == "" or bool(check_session_id(value))
    except InvalidArgument:
        return False


def _checksum(version: bytes, body: bytes) -> bytes:
    return zlib.crc32(version + body, _SEED).to_bytes(4, "big")


def _damaged() -> InvalidCursor:
    return InvalidCursor(
        "damaged", "it is damaged or cut off: pass it on exactly as it came, or begin anew without"
    )
