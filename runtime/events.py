"""Events: immutable facts, numbered 1, 2, 3, ... in each session.

An event's ``data`` has a schema version of its own. ``SCHEMA_VERSIONS`` names the current version
of each of our types, and ``UPCASTERS`` lifts what older versions wrote, one version at a time, when
it is read. Types and fields that this version does not know pass through untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

Data = Any
"""Plain msgpack: None, bool, int (64 bits), float, str, bytes, list, and dict with str keys."""

TIME_NS_MAX = 2**63 - 1
"""Nanoseconds since 1970 in 64 bits with a sign: the year 2262."""


def same_data(one: Data, other: Data) -> bool:
    """Whether two values are the same data.

    Unlike ``==``, True, 1 and 1.0 are three different values, and NaN is the same as NaN.
    """
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other):
            return False
        if type(one) is dict:
            if one.keys() != other.keys():
                return False
            pairs += [(value, other[key]) for key, value in one.items()]
        elif type(one) is list:
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif one != other and (one == one or other == other):  # NaN alone is not itself
            return False
    return True


SESSION_TYPES = frozenset(
    {
        "session_opened",
        "session_configured",
        "session_paused",
        "session_resumed",
        "session_closed",
        "session_reopened",
        "session_quarantined",
        "session_recovered",
        "session_deleted",
        "session_undeleted",
    }
)
RUN_TERMINAL_TYPES = frozenset(
    {"run_completed", "run_failed", "run_cancelled", "run_timed_out", "run_interrupted"}
)
RUN_TYPES = RUN_TERMINAL_TYPES | {
    "run_submitted",
    "run_started",
    "run_waiting",
    "run_resumed",
    "run_asked",
    "run_answered",
    "run_steered",
    "run_steer_taken",
    "run_cancel_requested",
    "run_requeued",
}
STATE_TYPES = SESSION_TYPES | RUN_TYPES
"""Types that change state. Only the session's machine writes them; agents and hosts may not."""

AGENT_TYPES = frozenset(
    {
        "message_sent",
        "message_streamed",
        "message_received",
        "tool_call_started",
        "tool_call_completed",
        "tool_call_failed",
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
        "token_usage_updated",
        "turn_completed",
        "error_occurred",
        "error_recovered",
        "provider_event",
        "workspace_snapshot_taken",
        "workspace_diff_computed",
        "policy_violation",
        "context_compacted",
        "conversation_configured",
        "conversation_cleared",
        "checkpoint_created",
        "session_restored",
        "session_forked",
        "session_labelled",
    }
)
"""The vocabulary that agents map their provider's events to. Other types are allowed."""


@attrs.frozen(slots=True)
class Event:
    """One fact in a session's log.

    ``seq`` counts from 1 in each session, without gaps. ``time_ns`` is wall-clock time in
    nanoseconds since 1970. ``run_id`` is None for what happened outside any run. ``metadata`` is
    None or a map with provider time, correlation and parent ids.
    """

    session_id: str
    seq: int
    time_ns: int
    type: str
    run_id: str | None
    data: Data
    metadata: dict[str, Any] | None = None
    version: int = 1


@attrs.frozen
class NewEvent:
    """An event that has no place in a log yet."""

    type: str
    data: Data
    metadata: dict[str, Any] | None = None


Upcaster = Callable[[Data], Data]

SCHEMA_VERSIONS: Mapping[str, int] = {}
"""Type -> version that this code writes; a type that is missing here is at version 1."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, version) -> function from that version's data to the next version's."""


def schema_version(type: str, versions: Mapping[str, int] = SCHEMA_VERSIONS) -> int:
    """The version of ``type`` that this code writes."""
    return versions.get(type, 1)


def lift(
    type: str,
    version: int,
    data: Data,
    *,
    versions: Mapping[str, int] = SCHEMA_VERSIONS,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> tuple[int, Data]:
    """Lift ``data`` to the version that this code knows; newer data passes through.

    Raises KeyError when a step is missing, which a test over the two tables rules out.
    """
    while version < versions.get(type, 1):
        data = upcasters[type, version](data)
        version += 1
    return version, data
