"""The runtime's values, from the JSON that the gateway makes of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from moorage.runtime import (
    Branch,
    Checkpoint,
    EventPage,
    Label,
    RunPage,
    RunSummary,
    SessionPage,
    UsageRow,
    UsageSummary,
)
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, message_from_plain
from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder
from moorage.runtime.reversible_json import event_from_json, from_json
from moorage.runtime.runs import RunOutcome, RunProblem, RunState, SteerOutcome
from moorage.runtime.sessions import DrainReport, SessionInfo, SessionState, SessionStatus

from .errors import not_a_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moorage.runtime.events import Event

Value = TypeVar("Value")


def _read(kind: type[Value], document: Any, reading: Mapping[str, Callable[[Any], Any]]) -> Value:
    """A value of an attrs class; fields that a newer server adds are left out."""
    known = attrs.fields_dict(kind)  # type: ignore[arg-type]
    try:
        return kind(
            **{
                name: reading.get(name, from_json)(item)
                for name, item in document.items()
                if name in known
            }
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise not_a_gateway(f"the answer is no {kind.__name__} ({error})") from error


def session_info(document: Any) -> SessionInfo:
    reading: dict[str, Callable[[Any], Any]] = {
        "state": SessionState,
        "expire_after_seconds": _expiry,
        "agents": tuple,
    }
    return _read(SessionInfo, document, reading)


def _expiry(value: Any) -> Any:
    return math.inf if value == "never" else value


def session_page(document: Any) -> SessionPage:
    infos = [session_info(item) for item in member(document, "sessions")]
    return SessionPage(infos, member(document, "next_cursor"))


def run_summary(document: Any) -> RunSummary:
    return _read(RunSummary, document, {"state": RunState})


def run_page(document: Any) -> RunPage:
    runs = [run_summary(item) for item in member(document, "runs")]
    return RunPage(runs, member(document, "next_cursor"))


def event_page(document: Any) -> EventPage:
    found = events(document)
    return EventPage(found, member(document, "next_cursor"), member(document, "scanned"))


def usage_row(document: Any) -> UsageRow:
    return _read(UsageRow, document, {})


def usage_summary(document: Any) -> UsageSummary:
    def rows(items: Any) -> list[UsageRow]:
        return [usage_row(item) for item in items]

    return _read(UsageSummary, document, {"rows": rows, "total": usage_row})


def session_status(document: Any) -> SessionStatus:
    ids = ("running", "queued", "waiting", "cancelling", "unresponsive")
    return _read(SessionStatus, document, {"state": SessionState, **dict.fromkeys(ids, tuple)})


def drain_report(document: Any) -> DrainReport:
    return _read(DrainReport, document, dict.fromkeys(attrs.fields_dict(DrainReport), tuple))


def run_outcome(document: Any) -> RunOutcome:
    return _read(RunOutcome, document, {"state": RunState, "error": _run_problem})


def _run_problem(document: Any) -> RunProblem | None:
    return None if document is None else _read(RunProblem, document, {})


def run_state(document: Any) -> RunState:
    """The state in a run's document."""
    try:
        return RunState(document["state"])
    except (TypeError, KeyError, ValueError) as error:
        raise not_a_gateway(f"the answer is no run ({error!r})") from error


def nodes(document: Any) -> list[NodeInfo]:
    """Those of a list of nodes."""
    reading = {"state": lambda item: None if item is None else _node_state(item)}
    return [_read(NodeInfo, item, reading) for item in member(document, "nodes")]


def session_holder(document: Any) -> SessionHolder | None:
    holder = member(document, "holder")
    return None if holder is None else _read(SessionHolder, holder, {})


def _node_state(document: Any) -> NodeState:
    return _read(NodeState, document, {"offer": frozenset})


def steer_outcome(document: Any) -> SteerOutcome:
    return _read(SteerOutcome, document, {})


def label(document: Any) -> Label:
    return _read(Label, document, {})


def checkpoint(document: Any) -> Checkpoint:
    return _read(Checkpoint, document, {})


def branch(document: Any) -> Branch:
    return _read(Branch, document, {})


def messages(document: Any) -> list[Message]:
    """Those of a list of messages."""
    return [message_from_plain(from_json(item)) for item in member(document, "messages")]


def events(document: Any) -> list[Event]:
    """Those of a page of events."""
    try:
        return [event_from_json(item) for item in member(document, "events")]
    except InvalidArgument as error:
        raise not_a_gateway(f"the answer has no events ({error})") from error


def member(document: Any, name: str) -> Any:
    """One member of an answer. Raises RequestRefused if there is none."""
    try:
        return document[name]
    except (TypeError, KeyError) as error:
        raise not_a_gateway(f"the answer has no {name!r}") from error
