"""A supervisor's statistics as plain numbers with names, for whatever shows metrics."""

from __future__ import annotations

import math
from typing import Any

import attrs

COUNTERS = frozenset(
    {
        "appends",
        "bytes",
        "checkpoints",
        "commits",
        "commits_failed",
        "compactions",
        "loads",
        "records",
        "resolved",
        "rotations",
        "sent",
        "syncs",
    }
)
"""Fields of stores' statistics that only grow while the store is open; the others are sizes."""

IDENTITIES = frozenset({"node"})
"""Numbers that count nothing."""

DEPTH_MAX = 4


def supervisor_gauges(statistics: Any) -> dict[str, float]:
    """Sizes of now: name (below ``moorage_``) -> value."""
    return {
        "sessions_resident": statistics.sessions_resident,
        "sessions_idle": statistics.sessions_idle,
        "run_permits": statistics.runs.limit,
        "run_permits_in_use": statistics.runs.in_use,
        "run_permits_waiting": statistics.runs.waiting,
        "tail_cache_bytes": statistics.tail.bytes,
        "recent_runs_bytes": statistics.recent.bytes,
        "draining": int(statistics.draining),
    }


def store_numbers(statistics: Any, depth: int = DEPTH_MAX) -> dict[str, float]:
    """The numbers of a store's own statistics by field; of a store around another, both's."""
    found: dict[str, float] = {}
    if not attrs.has(type(statistics)) or depth == 0:
        return found
    for field in attrs.fields(type(statistics)):
        value = getattr(statistics, field.name)
        if isinstance(value, (bool, int, float)):
            if field.name not in IDENTITIES and math.isfinite(value):
                found[field.name] = value + 0
        else:
            inside = store_numbers(value, depth - 1)
            prefix = "" if field.name == "inner" else f"{field.name}_"
            found |= {prefix + name: number for name, number in inside.items()}
    return found


def is_counter(name: str) -> bool:
    """Whether a number of a store only grows."""
    return name in COUNTERS
