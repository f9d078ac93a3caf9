"""Limits of delivering webhooks: every bound has a name and a unit, and is checked once."""

from __future__ import annotations

from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

HOUR = 3_600.0
DAY = 24 * HOUR


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
class WebhookLimits:
    """Bounds of all webhooks of one server, or of each. Raises InvalidArgument for a value out of
    range."""

    webhooks_max: int = _count(1_000)
    """Of all tenants together; one more is refused."""
    webhooks_per_tenant_max: int = _count(100)
    """The same for each tenant. Whoever runs the server is none."""
    posts_max: int = _count(4)
    """Sessions of each webhook that are posted at once."""
    posts_per_turn: int = _count(10)
    """Messages of one session before the others have their turn."""
    sessions_pending_max: int = _count(100_000)
    """Sessions of each webhook that are remembered as having something new; the others are found
    again when these are done."""
    retry_first_seconds: float = _seconds(1.0)
    """The pause behind a message's first failure; each is twice as long, less a part at random."""
    retry_seconds_max: float = _seconds(HOUR)
    """The longest of these pauses."""
    pause_seconds_max: float = _seconds(300.0)
    """The longest pause of a whole webhook whose target fails, whatever the message."""
    attempts_max: int = _count(100)
    """Of one message; then it is a dead letter and its session goes on behind it."""
    give_up_seconds: float = _seconds(3 * DAY)
    """The same, from the first failure on."""
    disable_seconds: float = _seconds(5 * DAY)
    """A webhook of which nothing was taken for so long, and which failed all the time that
    something was to be posted, is disabled; what it is owed stays in the log."""
    dead_letters_max: int = _count(10_000)
    """Of each webhook; one that would have more is disabled."""
    poll_seconds: float = _seconds(0.5)
    """Between two looks at which sessions have changed."""
    rescan_seconds: float = _seconds(HOUR)
    """Between two looks at all sessions, for those that changed at a time of a wrong clock."""
    end_seconds: float = _seconds(2.0)
    """What is being posted gets when the server ends; it comes again otherwise."""
