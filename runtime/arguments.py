"""Checking what callers pass: each function returns the value or raises InvalidArgument."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from . import commands
from .codec import private_copy
from .errors import InvalidArgument
from .identifiers import check_name

if TYPE_CHECKING:
    from .limits import SupervisorLimits
    from .sessions import QueuedPolicy

SLOTS_MAX = 10_000
TAGS_MAX = 64
TAG_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
"""Of a session or a run, encoded. Listings and the journal's memory hold it for every session."""
PAGE_EVENTS_MAX = 10_000
SUMMARY_BYTES_MAX = 1_024
REASON_BYTES_MAX = 4_096
"""Of a reason to cancel or to close, in UTF-8."""
SHOWN_BITS_MAX = 256
"""Of a whole number whose digits are shown in an error."""


def check_seconds(name: str, value: float | None, *, minimum: float = 0.0) -> float | None:
    """A time limit in seconds; None and infinity mean without limit."""
    if value is None:
        return None
    if type(value) in (int, float) and value >= minimum:  # NaN is not
        if value == math.inf:
            return None
        if value <= sys.float_info.max:
            return float(value)
    raise InvalidArgument(
        f"{name} must be None or a number of seconds of at least {minimum}, not {_shown(value)}"
    )


def check_count(
    name: str, value: object, *, minimum: int, maximum: int, also: str | None = None
) -> int:
    """A whole number in a range; ``also`` is what else the caller takes, for the error."""
    if type(value) is not int or not minimum <= value <= maximum:
        other = "" if also is None else f", or {also}"
        raise InvalidArgument(
            f"{name} must be a whole number from {minimum} to {maximum}{other}, not {_shown(value)}"
        )
    return value


def _shown(value: object) -> str:
    """``repr``, which Python refuses for whole numbers of some thousand digits."""
    if type(value) is int and value.bit_length() > SHOWN_BITS_MAX:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)


def check_run_id(value: object) -> str:
    """An id that a run may have; whether there is such a run is for the log to say."""
    return check_name("run id", value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise InvalidArgument(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def check_slots(value: int | None) -> int | None:
    return None if value is None else check_count("slots", value, minimum=1, maximum=SLOTS_MAX)


def check_tags(value: object) -> dict[str, str] | None:
    """Tags are a small map of str to str, for filtering."""
    if value is None:
        return None
    if type(value) is not dict or len(value) > TAGS_MAX:
        raise InvalidArgument(
            f"tags must be a dict of str to str with at most {TAGS_MAX} entries, not {value!r}"
        )
    for tag, text in value.items():
        check_name("tag", tag, bytes_max=TAG_BYTES_MAX)
        if type(text) is not str or len(text.encode("utf-8", "replace")) > TAG_BYTES_MAX:
            raise InvalidArgument(
                f"tag {tag!r} must be a str of at most {TAG_BYTES_MAX} bytes, not {text!r}"
            )
    copy, _ = private_copy(value, "tags", bytes_max=TAGS_MAX * (2 * TAG_BYTES_MAX + 8))
    return copy  # type: ignore[no-any-return]


def check_node_tags(value: object) -> dict[str, str] | None:
    """What a node offers or a session demands: names without ``=``, and no value that no database
    could hold."""
    if value is None:
        return None
    if type(value) is not dict or len(value) > TAGS_MAX:
        raise InvalidArgument(
            f"node_tags must be a dict of str to str with at most {TAGS_MAX} entries, not {value!r}"
        )
    for name, text in value.items():
        check_name("node tag", name, bytes_max=TAG_BYTES_MAX)
        if "=" in name:
            raise InvalidArgument(f"the name of a node tag must not contain '=': {name!r}")
        check_name(f"node tag {name!r}", text, bytes_max=TAG_BYTES_MAX)
    return dict(value)


def check_metadata(value: object) -> dict[str, Any] | None:
    """Metadata is a map of plain msgpack."""
    if value is None:
        return None
    if type(value) is not dict:
        raise InvalidArgument(f"metadata must be a dict, not {value!r}")
    copy, _ = private_copy(value, "metadata", bytes_max=METADATA_BYTES_MAX)
    return copy  # type: ignore[no-any-return]


def merged_metadata(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Metadata with single entries changed, or, with None, removed. Raises RecordTooLarge."""
    merged = before | update
    for name in [name for name, value in update.items() if value is None]:
        del merged[name]
    return check_metadata(merged) or {}


def check_types(value: object) -> frozenset[str] | None:
    """A filter of event types; None means all."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (set, frozenset, list, tuple)) or not value:
        raise InvalidArgument(f"types must be None or a set of event types, not {value!r}")
    return frozenset(check_name("event type", item) for item in value)


def check_expiry(value: float | str | None) -> dict[str, Any]:
    """Fields of OpenSession for seconds, "never", "by_policy", or None for what is recorded."""
    if value == "by_policy":
        return {"expire_by_policy": True}
    if value == "never":
        value = math.inf
    if isinstance(value, str):
        raise InvalidArgument(
            f"expire_after_seconds must be seconds, 'never' or 'by_policy', not {value!r}"
        )
    return {
        "expire_after_seconds": value
        if value == math.inf
        else check_seconds("expire_after_seconds", value)
    }


def check_summary(value: str | None) -> str | None:
    if value is None:
        return None
    return check_name("summary", value, bytes_max=SUMMARY_BYTES_MAX)


def check_reason(value: str | None) -> str | None:
    """A reason is free text, so that nothing is left running for the sake of its text; None and
    "" are no reason, and what UTF-8 has no bytes for becomes "?"."""
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"reason must be None or a str, not {value!r}")
    text = (value or "").encode("utf-8", "replace")
    if len(text) > REASON_BYTES_MAX:
        raise InvalidArgument(
            f"reason is {len(text)} bytes of UTF-8 and the limit is {REASON_BYTES_MAX}: shorten it"
        )
    return text.decode() or None


def check_drain(
    limits: SupervisorLimits, timeout_seconds: float | None, queued: QueuedPolicy
) -> commands.Drain:
    """Check what ``drain`` was given: None stands for the limits' time, infinity for any."""
    if timeout_seconds is None:
        timeout_seconds = limits.drain_seconds
    limit = check_seconds("timeout_seconds", timeout_seconds)
    return commands.Drain(
        timeout_seconds=math.inf if limit is None else limit,
        queued=check_choice("queued", queued, ("keep", "finish")),
    )
