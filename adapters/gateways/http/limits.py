"""Limits of the HTTP gateway: every bound has a name and a unit, and is checked once."""

from __future__ import annotations

import math
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


def _check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole: bool = attribute.metadata["whole"]
    minimum: float = attribute.metadata["minimum"]
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if type(value) not in kinds or not minimum <= value or (value == math.inf and whole):
        kind = "a whole number" if whole else "a number"
        raise InvalidArgument(
            f"{attribute.name} must be {kind} of at least {minimum}, not {value!r}"
        )


def _count(default: int, minimum: int = 1) -> Any:
    return attrs.field(
        default=default, validator=_check, metadata={"whole": True, "minimum": minimum}
    )


def _number(default: float, minimum: float = 0.001) -> Any:
    return attrs.field(
        default=default, validator=_check, metadata={"whole": False, "minimum": minimum}
    )


@attrs.frozen(kw_only=True)
class HttpLimits:
    """Bounds of one HTTP gateway. The unit is the last or the middle word of each name.

    Raises InvalidArgument on construction for a value out of range.
    """

    body_bytes_max: int = _count(16 * MEBIBYTE)
    """Of a request; a larger one is refused with 413, mostly before it was read."""
    body_seconds_max: float = _number(30.0)
    """How long the body of a request may take to arrive; then 408."""
    header_bytes_max: int = _count(16 * KIBIBYTE, 1_024)
    """Of a request's line and headers together; more are refused with 431."""
    requests_per_second_max: float = _number(1_000.0)
    """Of each token, or of each address without one, on the average; more are refused with 429."""
    requests_burst_max: int = _count(2_000)
    """Requests of a token or an address that may come at once after it was quiet."""
    clients_max: int = _count(10_000)
    """Tokens and addresses whose rate is remembered."""
    connections_max: int = _count(10_000)
    """Open connections; one more is answered with 503 and closed."""
    streams_max: int = _count(10_000)
    """Event streams and waiting requests at once; one more is refused with 429."""
    streams_per_client_max: int = _count(5_000)
    """The same for each token, or each address without one."""
    long_poll_seconds: float = _number(20.0)
    """How long a long poll of a durable stream waits for something new; then it is 204."""
    heartbeat_seconds: float = _number(30.0)
    """An event stream on which nothing was sent for this long gets a comment or an empty line."""
    reconnect_seconds: float = _number(2.0)
    """What a browser is told to wait before it comes back to a stream that was cut."""
    stall_seconds_max: float = _number(30.0)
    """How long a reader may take nothing at all while something is being sent to it; then it is
    cut off."""
    chunk_bytes: int = _count(256 * KIBIBYTE)
    """A stream's events are sent together up to about this size."""
    send_buffer_bytes: int = _count(256 * KIBIBYTE, 4_096)
    """What the kernel may hold of each connection's output."""
    idle_connection_seconds: float = _number(15.0)
    """A connection without a request is closed after this long."""
    retry_after_seconds: int = _count(2)
    """What refused clients are told to wait, where nothing says how long it will take."""
