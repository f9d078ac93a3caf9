"""References: what stands in an event, an input or an output where a large payload was.

::

    {"artifact": {"key": "ses-1/0a1b...", "bytes": 123456, "sha256": "...", "media_type": "..."}}

Text was ``text/plain; charset=utf-8``, bytes ``application/octet-stream``, and a whole structure
that is large although none of its parts is, ``application/vnd.msgpack``.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import InvalidArgument

from .port import BINARY, ArtifactDamaged, check_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime.events import Data

    from .port import Stored

TEXT = "text/plain; charset=utf-8"
MSGPACK = "application/vnd.msgpack"
_FIELD = "artifact"
_FIELDS = frozenset({"key", "bytes", "sha256", "media_type"})
_PLAIN_ID = re.compile(r"[A-Za-z0-9_=+~-][A-Za-z0-9_=+~.-]{0,99}")


@attrs.frozen
class Reference:
    """An artifact as an event names it. ``bytes`` is its size, ``sha256`` is in hex."""

    key: str
    bytes: int
    sha256: str
    media_type: str

    @classmethod
    def of(cls, stored: Stored, media_type: str) -> Reference:
        return cls(stored.key, stored.bytes, stored.sha256, media_type)

    def to_plain(self) -> dict[str, Any]:
        return {_FIELD: attrs.asdict(self)}


def reference_in(value: Data) -> Reference | None:
    """The reference that ``value`` is, None if it is anything else."""
    if type(value) is not dict or len(value) != 1:
        return None
    fields = value.get(_FIELD)
    if type(fields) is not dict or fields.keys() != _FIELDS:
        return None
    reference = Reference(**fields)
    if type(reference.bytes) is not int or type(reference.sha256) is not str:
        return None
    try:
        check_key(reference.key)
    except InvalidArgument:
        return None
    return reference


def references_in(value: Data) -> Iterator[Reference]:
    """Every reference anywhere in the value."""
    stack = [value]
    while stack:
        item = stack.pop()
        reference = reference_in(item)
        if reference is not None:
            yield reference
        elif type(item) is dict:
            stack += item.values()
        elif type(item) is list:
            stack += item


def folder_of(session_id: str) -> str:
    """The first part of the key of each artifact of a session: its id where that can be one."""
    if _PLAIN_ID.fullmatch(session_id) and not session_id.startswith("~"):
        return session_id
    return "~" + hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def to_bytes(value: Data) -> tuple[bytes, str]:
    """What is kept of a payload, and its media type."""
    if type(value) is str:
        return value.encode(), TEXT
    if type(value) is bytes:
        return value, BINARY
    return pack(value), MSGPACK


def from_bytes(content: bytes, reference: Reference) -> Data:
    """The payload again. Raises ArtifactDamaged."""
    try:
        if reference.media_type == TEXT:
            return content.decode()
        if reference.media_type == MSGPACK:
            return unpack(content)
    except ValueError as error:
        raise ArtifactDamaged(
            reference.key, reason=f"it is no {reference.media_type}: {error}"
        ) from error
    return content
