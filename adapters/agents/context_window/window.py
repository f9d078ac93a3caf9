"""ContextWindow: how much of a conversation a model is given."""

from __future__ import annotations

import math
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument


def _limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _count(instance, attribute, value)


def _count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not int or value < 1:
        raise InvalidArgument(
            f"{attribute.name} must be a whole number of at least 1, not {value!r}"
        )


def _fraction(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) not in (int, float) or not 0 < value <= 1:  # type: ignore[operator]
        raise InvalidArgument(f"{attribute.name} must be above 0 and at most 1, not {value!r}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) not in (int, float) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise InvalidArgument(f"{attribute.name} must be a number of seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class ContextWindow:
    """Limits of one request. Of several the strictest counts; without any nothing is left out.

    ``messages_max`` counts messages, ``characters_max`` all their characters (tool payloads too),
    ``tokens_max`` approximate tokens. Compaction goes by tokens: from ``compact_at`` of
    ``tokens_max`` on, older messages are summed up while the agent works, from
    ``compact_blocking_at`` on before the model is asked again; ``keep_recent_tokens`` of the
    newest ones are kept as they are, a half of ``tokens_max`` at most.
    ``finish_seconds`` is how long a run that has its answer waits for a summary in the making.
    Raises InvalidArgument.
    """

    messages_max: int | None = attrs.field(default=None, validator=_limit)
    characters_max: int | None = attrs.field(default=None, validator=_limit)
    tokens_max: int | None = attrs.field(default=None, validator=_limit)
    keep_recent_tokens: int = attrs.field(default=20_000, validator=_count)
    compact_at: float = attrs.field(default=0.8, validator=_fraction)
    compact_blocking_at: float = attrs.field(default=0.95, validator=_fraction)
    finish_seconds: float = attrs.field(default=60.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        if self.compact_at > self.compact_blocking_at:
            raise InvalidArgument(
                f"compact_at is {self.compact_at} and must not be above compact_blocking_at, "
                f"which is {self.compact_blocking_at}"
            )
