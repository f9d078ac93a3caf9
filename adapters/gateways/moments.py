"""Moments as people type them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime

from moorage.runtime import InvalidArgument

FORMS = "2026-01-31, 2026-01-31T12:00 (local time unless it says its zone), or 30m, 24h, 7d ago"
SECOND_NS = 1_000_000_000
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,9})([smhdw])")


def parse_moment(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970. Raises InvalidArgument."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(now_ns - int(ago[1]) * UNIT_SECONDS[ago[2]] * SECOND_NS, 0)
    try:
        moment = datetime.fromisoformat(text).astimezone()
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument(f"{text!r} is no moment: give {FORMS}") from None
    if seconds < 0:
        raise InvalidArgument(f"{text!r} is before 1970: give a later moment")
    return seconds * SECOND_NS + moment.microsecond * 1_000
