"""What queries return: pages of sessions, runs and events, and runs as a table shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .events import Event
from .runs import RUN_TERMINAL_STATES, RunState, Usage
from .sessions import SessionInfo

if TYPE_CHECKING:
    from .image import RunRecord

ERROR_MESSAGE_CHARS_MAX = 200


@attrs.frozen
class RunSummary:
    """A run without its input and output, as a table of runs shows it.

    ``seq`` is that of its request. ``agent`` is the name it was submitted with, ``model`` what its
    agent says it used. Times are nanoseconds since 1970; ``started_at_ns`` is that of the last
    attempt, and it and ``ended_at_ns`` are None as long as there is none. ``usage`` adds up what
    was recorded, of attempts that ended with their process too; None if nothing was.
    ``error_message`` is cut at 200 characters.
    """

    session_id: str
    run_id: str
    seq: int
    state: RunState
    agent: str | None
    model: str | None
    key: str | None
    attempt: int
    submitted_at_ns: int
    started_at_ns: int | None
    ended_at_ns: int | None
    usage: Usage | None
    error_code: str | None
    error_message: str | None

    @property
    def ended(self) -> bool:
        return self.state in RUN_TERMINAL_STATES


@attrs.frozen
class SessionPage:
    """``next_cursor`` is where the next page begins, or None if this is the last. A page may have
    fewer items than asked for, or none, and yet be followed by another."""

    items: list[SessionInfo]
    next_cursor: str | None


@attrs.frozen
class RunPage:
    """As SessionPage."""

    items: list[RunSummary]
    next_cursor: str | None


@attrs.frozen
class EventPage:
    """As SessionPage. ``scanned`` says how many events were looked at for it."""

    items: list[Event]
    next_cursor: str | None
    scanned: int


@attrs.frozen
class RunRequested:
    """What a summary takes from a run_submitted event, without the input."""

    session_id: str
    run_id: str
    seq: int
    agent: str | None
    key: str | None
    submitted_at_ns: int

    @staticmethod
    def of(event: Event) -> RunRequested:
        data: dict[str, Any] = event.data
        return RunRequested(
            session_id=event.session_id,
            run_id=event.run_id or "",
            seq=event.seq,
            agent=data.get("agent"),
            key=data.get("key"),
            submitted_at_ns=event.time_ns,
        )


@attrs.frozen
class RunEnding:
    """What a summary takes from where a run is now: its terminal event, without the output, or,
    while it is unfinished, its record."""

    state: RunState
    model: str | None
    attempt: int
    started_at_ns: int | None
    ended_at_ns: int | None
    usage: Usage | None
    error_code: str | None
    error_message: str | None

    @staticmethod
    def of(event: Event) -> RunEnding:
        data: dict[str, Any] = event.data
        output, error = data.get("output"), data.get("error") or {}
        model = output.get("model") if type(output) is dict else None
        message = error.get("message")
        return RunEnding(
            state=RunState(event.type.removeprefix("run_")),
            model=model if type(model) is str else None,
            attempt=data.get("attempt", 0),
            started_at_ns=data.get("started_at_ns"),
            ended_at_ns=event.time_ns,
            usage=data.get("usage"),
            error_code=error.get("code"),
            error_message=None if message is None else message[:ERROR_MESSAGE_CHARS_MAX],
        )

    @staticmethod
    def so_far(record: RunRecord) -> RunEnding:
        return RunEnding(
            state=record.state,
            model=None,
            attempt=record.attempt,
            started_at_ns=record.started_at_ns,
            ended_at_ns=None,
            usage=record.usage,
            error_code=None,
            error_message=None,
        )

    @property
    def may_lack_usage(self) -> bool:
        """Whether an attempt may have used what only its own events tell: what one that ended
        with its process has used is not in the run's end."""
        if self.attempt > 1 or self.state is RunState.INTERRUPTED:
            return True
        return self.usage is None and self.state in (RunState.CANCELLED, RunState.TIMED_OUT)


def summary_of(run: RunRequested, now: RunEnding) -> RunSummary:
    """Both together."""
    return RunSummary(
        session_id=run.session_id,
        run_id=run.run_id,
        seq=run.seq,
        state=now.state,
        agent=run.agent,
        model=now.model,
        key=run.key,
        attempt=now.attempt,
        submitted_at_ns=run.submitted_at_ns,
        started_at_ns=now.started_at_ns,
        ended_at_ns=now.ended_at_ns,
        usage=now.usage,
        error_code=now.error_code,
        error_message=now.error_message,
    )


def larger_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """Of two incomplete sums of the same things the larger, number by number.

    What a run's end tells lacks attempts that ended with their process, and what its events tell
    lacks those that were trimmed away.
    """
    if not one or not other:
        return one or other or None
    usage = dict(one)
    for name, value in other.items():
        known = usage.get(name)
        if not is_number(known) or (is_number(value) and value > known):
            usage[name] = value
    return usage


def is_number(value: object) -> bool:
    """Whether a value can be added up; True, which Python counts as 1, cannot."""
    return type(value) in (int, float)
