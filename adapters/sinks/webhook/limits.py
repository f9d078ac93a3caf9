"""Limits of what is posted: every bound has a name and a unit, and is checked once."""

from __future__ import annotations

from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

KIBIBYTE = 1024


def _check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole, minimum = attribute.metadata["whole"], attribute.metadata["minimum"]
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if type(value) not in kinds or not minimum <= value < float("inf"):
        kind = "a whole number" if whole else "a number"
        raise InvalidArgument(
            f"{attribute.name} must be {kind} of at least {minimum}, not {value!r}"
        )


def _count(default: int) -> Any:
    return attrs.field(default=default, validator=_check, metadata={"whole": True, "minimum": 1})


def _seconds(default: float) -> Any:
    return attrs.field(
        default=default, validator=_check, metadata={"whole": False, "minimum": 0.001}
    )


@attrs.frozen(kw_only=True)
class PostLimits:
    """Bounds of one sender of webhooks. Raises InvalidArgument for a value out of range."""

    batch_events_max: int = _count(100)
    """Events in one message."""
    batch_bytes_max: int = _count(256 * KIBIBYTE)
    """Of one message's events; a larger event goes alone."""
    connect_seconds: float = _seconds(5.0)
    """To resolve the name, connect and agree on encryption."""
    post_seconds: float = _seconds(15.0)
    """From the first to the last: what has not answered by then has failed."""
    answer_bytes_max: int = _count(16 * KIBIBYTE)
    """Of an answer that is read; what comes behind it is cut off."""
    retry_after_seconds_max: float = _seconds(3_600.0)
    """The most that a Retry-After of theirs is obeyed."""
