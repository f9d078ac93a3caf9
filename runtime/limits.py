"""Limits: every bound has a name and a unit, and is checked once."""

from __future__ import annotations

from typing import Any

import attrs

from .errors import InvalidArgument

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
WHOLE_MAX = 2**63 - 1


def _at_least(minimum: float) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        whole = attribute.metadata.get("whole", False)
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        if type(value) not in kinds or not value >= minimum:  # NaN is not
            kind = "whole number" if whole else "number"
            raise InvalidArgument(
                f"{attribute.name} must be a {kind} of at least {minimum}, not {value!r}"
            )
        if type(value) is int and value > WHOLE_MAX:
            remedy = "" if whole else ", or math.inf for no limit"
            raise InvalidArgument(
                f"{attribute.name} must be at most 2**63 - 1{remedy}, not {value:#x}"
            )

    return check


def _count(default: int, minimum: int = 1) -> Any:
    return attrs.field(
        default=default,
        validator=_at_least(minimum),
        metadata={"whole": True, "minimum": minimum},
    )


def _seconds(default: float, minimum: float = 0) -> Any:
    return attrs.field(default=default, validator=_at_least(minimum), metadata={"minimum": minimum})


@attrs.frozen(kw_only=True)
class SupervisorLimits:
    """Bounds of one supervisor. The unit is the last or the middle word of each name.

    Raises InvalidArgument on construction for a value out of range.
    """

    runs_queued_max: int = _count(1_000)
    """Queued runs of one session; more raise QueueFull."""
    queue_bytes_max: int = _count(64 * MEBIBYTE)
    """Encoded inputs of one session's unfinished runs, in bytes; more raise QueueFull."""
    session_slots_default: int = _count(1)
    """Runs at once in a session that is opened for the first time, where nobody says; recorded."""
    runs_running_max: int = _count(1_000)
    """Runs executing at once over all sessions; more wait, in turn by session."""
    sessions_resident_max: int = _count(10_000)
    """Sessions with a worker in memory; beyond it idle ones leave, or opening waits."""
    idle_seconds: float = _seconds(300.0)
    """A session with nothing to do leaves memory after this long."""
    record_bytes_max: int = _count(16 * MEBIBYTE, 1_024)
    """One encoded event or input, in bytes; larger ones raise RecordTooLarge."""
    tail_cache_bytes_max: int = _count(64 * MEBIBYTE, 0)
    """Recent events kept for live subscribers over all sessions, in encoded bytes."""
    outcome_cache_bytes_max: int = _count(16 * MEBIBYTE, 0)
    """Recent outcomes kept for whoever waits for them, over all sessions, in encoded bytes."""
    emit_ahead_bytes_max: int = _count(4 * MEBIBYTE, 1_024)
    """Emitted events of one run that are not durable yet, in bytes; emit waits beyond it."""
    inbox_commands_max: int = _count(10_000)
    """Commands waiting for one session's worker; more raise BufferFull."""
    drain_seconds: float = _seconds(10.0)
    """How long leaving the supervisor waits for running work."""
    cancel_grace_seconds: float = _seconds(5.0)
    """How long a cancelled agent may take to end before it is reported as unresponsive."""
    loop_blocked_seconds: float = _seconds(0.5, 0.01)
    """An agent that keeps the event loop for longer is reported; infinity turns this off."""
    restarts_max: int = _count(3, 0)
    """Worker crashes within restart_period_seconds before a session is quarantined."""
    restart_period_seconds: float = _seconds(60.0)
    """The period in which restarts_max counts."""
    snapshot_events_max: int = _count(1_000)
    """State-changing events after which a worker saves a snapshot."""
    retention_sessions_per_second_max: float = _seconds(50.0, 0.001)
    """Sessions that retention deletes, trims or measures by reading; infinity does not hold it."""
    retention_sessions_at_once_max: int = _count(4)
    """Sessions that retention works on at the same time."""
