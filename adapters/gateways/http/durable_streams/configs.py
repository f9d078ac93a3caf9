"""What a raw stream was created as: kept in the metadata of its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ..problems import MalformedRequest
from .content import checked_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import SessionInfo

CONFIG = "moorage.stream"
"""The entry of the metadata, and the tag, of the sessions that are raw streams."""
FORK = "moorage.stream.fork."
"""Before the id of a fork: an entry in the metadata of what it inherits from."""
READ_AT = "moorage.stream.read_at_ns"
"""An entry that is renewed by readers, so that a stream in use does not expire."""


WHOLE_MAX = 2**53 - 1
"""The largest whole number that is exact in JavaScript."""
MOMENT_NS_MAX = 10**21
"""Behind the year 9999."""
CHARACTERS_MAX = 1_024
"""Of the texts in a config."""


def _field(check: Callable[[Any], bool], default: Any = attrs.NOTHING) -> Any:
    """Metadata may have been written by anybody: what goes into headers, sums and ids is checked,
    and ValueError raised."""

    def validate(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not (check(value) or (default is None and value is None)):
            raise ValueError(f"{attribute.name} is {value!r}")

    return attrs.field(default=default, validator=validate)


def _is_type(value: Any) -> bool:
    try:
        return type(value) is str and checked_type(value) == value
    except MalformedRequest:
        return False


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= CHARACTERS_MAX


def _is_header(value: Any) -> bool:
    return _is_text(value) and value.isascii() and value.isprintable()


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= WHOLE_MAX


def _is_moment(value: Any) -> bool:
    return type(value) is int and abs(value) <= MOMENT_NS_MAX


@attrs.frozen(kw_only=True)
class StreamConfig:
    """``ttl_seconds`` is how long it stays after its last use, ``expires_at`` (as it came) and
    ``expires_at_ns`` when it goes anyway. A fork has what its source has up to ``fork_position``;
    ``fork_offset`` and ``fork_sub_offset`` are what was asked for."""

    content_type: str = _field(_is_type)
    ttl_seconds: int | None = _field(_is_whole, None)
    expires_at: str | None = _field(_is_header, None)
    expires_at_ns: int | None = _field(_is_moment, None)
    forked_from: str | None = _field(_is_text, None)
    fork_position: int = _field(_is_whole, 0)
    fork_offset: str | None = _field(_is_text, None)
    fork_sub_offset: int = _field(_is_whole, 0)

    def data(self) -> dict[str, Any]:
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


def config_of(info: SessionInfo) -> StreamConfig | None:
    """None for a session that is no raw stream, or whose config is none that was made here. That
    one has it does not make it a stream: its log does, by ``stream_created``."""
    data = info.metadata.get(CONFIG)
    if type(data) is not dict:
        return None
    known = attrs.fields_dict(StreamConfig)
    try:
        return StreamConfig(**{name: value for name, value in data.items() if name in known})
    except (TypeError, ValueError):
        return None


def forks_of(info: SessionInfo) -> list[str]:
    """Ids of the streams that inherit from this one."""
    return [name.removeprefix(FORK) for name in info.metadata if name.startswith(FORK)]
