"""Times as providers write them."""

from __future__ import annotations

import datetime


def time_ns_of(timestamp: object) -> int | None:
    """Nanoseconds since 1970 of an ISO 8601 time with a zone, None for anything else."""
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
