"""What only streams may write: their entries of metadata and tags, and their events.

The config of a stream says what others may read as it, and when it is deleted. Whoever has the
scope ``write`` may set metadata and record events; so the routes that do refuse these. Programs
that hold the supervisor itself may write anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import UnknownSession

from ..problems import InvalidRequest, StreamConflict, shown
from .configs import CONFIG, config_of
from .states import STREAM_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moorage.runtime import Session


def check_event_types(types: Iterable[str]) -> None:
    """Raises InvalidRequest for an event that only a stream records."""
    for index, type in enumerate(types):
        if type in STREAM_TYPES:
            raise InvalidRequest(
                [
                    {
                        "field": f"/events/{index}/type",
                        "value": shown(type),
                        "expected": "another type: only /v1/stream/ records these",
                    }
                ]
            )


async def check_settings(
    session: Session,
    *,
    tags: Mapping[str, str] | None,
    metadata: Mapping[str, Any] | None,
    metadata_update: Mapping[str, Any] | None = None,
) -> None:
    """Raises InvalidRequest unless what a stream keeps in its session stays as it is, and another
    session gets nothing of that kind."""
    for name in _reserved(metadata_update or {}):
        raise _refused("metadata_update", name)
    if tags is None and metadata is None:
        return
    there: dict[str, Mapping[str, Any]]
    try:
        info = await session.info()
        there = {"tags": info.tags, "metadata": info.metadata}
    except UnknownSession:
        there = {"tags": {}, "metadata": {}}
    if tags is not None:
        _check_same("tags", tags, there["tags"])
    if metadata is not None:
        _check_same("metadata", metadata, there["metadata"])


async def check_no_stream(session: Session) -> None:
    """Raises StreamConflict for a raw stream, which is not to be copied as a conversation."""
    if config_of(await session.info()) is not None:
        raise StreamConflict(
            f"{session.id!r} is a raw stream: fork it with PUT /v1/stream/NAME and "
            "Stream-Forked-From"
        )


def _check_same(field: str, given: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    wanted, kept = _reserved(given), _reserved(there)
    for name in sorted({*wanted, *kept}):
        if name not in wanted or name not in kept or wanted[name] != kept[name]:
            raise _refused(field, name)


def _reserved(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name.startswith(CONFIG)}


def _refused(field: str, name: str) -> InvalidRequest:
    expected = f"{CONFIG}... as it is: only /v1/stream/ changes what streams keep there"
    return InvalidRequest([{"field": f"/{field}", "value": shown(name), "expected": expected}])
