"""What goes over the wire, as JSON: the one encoding of events and of everything else.

Data, outputs and metadata are reversible JSON (``moorage.runtime.reversible_json``) both ways.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.reversible_json import dump_line, event_to_json, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunOutcome, RunState
    from moorage.runtime.sessions import SessionInfo


def encode(value: Any) -> bytes:
    """A JSON value in UTF-8, with a line break at its end."""
    return dump_line(value).encode()


def event_line(event: Event) -> bytes:
    """An event as one line of JSON, the same wherever events are sent."""
    return dump_line(event_to_json(event)).encode()


def fields(value: Any) -> dict[str, Any]:
    """One of the runtime's frozen values (a label, a report, a status) as a JSON object."""
    return {name: _plain(getattr(value, name)) for name in attrs.fields_dict(type(value))}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return fields(value) if attrs.has(type(value)) else to_json(value)


def session_to_json(info: SessionInfo) -> dict[str, Any]:
    told = fields(info)
    if info.expire_after_seconds == math.inf:  # JSON has no infinity
        told["expire_after_seconds"] = "never"
    return told


def run_to_json(
    session_id: str, run_id: str, state: RunState, outcome: RunOutcome | None
) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "run_id": run_id,
        "state": state.value,
        "outcome": None if outcome is None else fields(outcome),
    }


def events_to_json(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [event_to_json(event) for event in events]


def page_to_json(events: Sequence[Event], scanned_to: int) -> dict[str, Any]:
    """A page of events, and where the next one begins: for an empty one behind ``scanned_to``."""
    return {
        "events": events_to_json(events),
        "next_after": events[-1].seq if events else scanned_to,
    }


def data_of(value: Any) -> Any:
    """Plain data from a request's JSON. Raises InvalidArgument."""
    return from_json(value)
