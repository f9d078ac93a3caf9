"""Limits of an HTTP client: every bound has a name and a unit, and is checked once."""

from __future__ import annotations

import math
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

MEBIBYTE = 1024 * 1024


def _check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole: bool = attribute.metadata["whole"]
    minimum: float = attribute.metadata["minimum"]
    if type(value) not in ((int,) if whole else (int, float)) or not value >= minimum:
        kind = "a whole number" if whole else "a number"
        raise InvalidArgument(
            f"{attribute.name} must be {kind} of at least {minimum}, not {value!r}"
        )


def _check_optional(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (type(value) not in (int, float) or not value >= 0):
        raise InvalidArgument(
            f"{attribute.name} must be None or a number of at least 0, not {value!r}"
        )


def _count(default: int) -> Any:
    return attrs.field(default=default, validator=_check, metadata={"whole": True, "minimum": 1})


def _seconds(default: float, minimum: float = 0.001) -> Any:
    return attrs.field(
        default=default, validator=_check, metadata={"whole": False, "minimum": minimum}
    )


@attrs.frozen(kw_only=True)
class ClientLimits:
    """Bounds of one HTTP client. The unit is the last or the middle word of each name.

    Raises InvalidArgument on construction for a value out of range.
    """

    unreachable_seconds_max: float = _seconds(60.0, 0)
    """For how long a call or a subscription tries to reach a server that is not there, from the
    first failure on; then it raises ServerUnreachable. Infinity: for ever."""
    first_seconds_max: float | None = attrs.field(default=None, validator=_check_optional)
    """The same as long as that server was never reached, so that a wrong address is told soon.
    None: no other than later."""
    connect_seconds_max: float = _seconds(5.0)
    request_seconds_max: float = _seconds(30.0)
    """How long the server may be silent in an answer, and take nothing of a request."""
    poll_seconds: float = _seconds(30.0)
    """How long one request waits; who waits for longer asks again."""
    silence_seconds_max: float = _seconds(90.0)
    """A stream on which not even a heartbeat came for this long is opened again."""
    backoff_seconds_min: float = _seconds(0.05)
    backoff_seconds_max: float = _seconds(5.0)
    """Between tries: about the minimum, then twice as long each time, up to this."""
    retry_after_seconds_max: float = _seconds(60.0)
    """The longest Retry-After of a server that is believed."""
    connections_max: int = _count(1_000)
    """Each subscription and each waiting call has one."""
    answer_bytes_max: int = _count(256 * MEBIBYTE)
    event_bytes_max: int = _count(64 * MEBIBYTE)
    """Of one event, as JSON, in a stream."""


def limit_of_time(name: str, value: object) -> float:
    """A time limit in seconds, None meaning infinity. Raises InvalidArgument."""
    if value is None:
        return math.inf
    if type(value) not in (int, float) or not value >= 0:  # type: ignore[operator]
        raise InvalidArgument(
            f"{name} must be None or a number of seconds of at least 0.0, not {value!r:.200}"
        )
    return float(value)  # type: ignore[arg-type]
