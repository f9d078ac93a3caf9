"""Checking what queries are given: filters, orders, limits. Raises InvalidArgument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .arguments import check_choice, check_count, check_run_id, check_tags, check_types
from .errors import InvalidArgument
from .identifiers import SESSION_ID_BYTES_MAX, check_name, check_session_id
from .query_filters import EventFilter, RunFilter, SessionFilter
from .runs import RunState
from .sessions import SessionState
from .usage import GROUPINGS, TAG_PREFIX

if TYPE_CHECKING:
    import enum

PAGE_ITEMS_MAX = 1_000
TEXT_BYTES_MAX = 1_024
"""Of a text to look for, in UTF-8."""

State = TypeVar("State", bound="enum.Enum")


def check_page_limit(limit: object) -> int:
    return check_count("limit", limit, minimum=1, maximum=PAGE_ITEMS_MAX)


def check_flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise InvalidArgument(f"{name} must be True or False, not {value!r}")
    return value


def check_prefix(value: object) -> str:
    """What ids begin with; "" is any."""
    if value == "":
        return ""
    return check_name("prefix", value, bytes_max=SESSION_ID_BYTES_MAX)


def check_text(value: object) -> str | None:
    """A text to look for, folded."""
    if value is None:
        return None
    return check_name("text", value, bytes_max=TEXT_BYTES_MAX).casefold()


def check_states(value: object, kind: type[State]) -> frozenset[State] | None:
    """States by name or as what they are; None means any."""
    if value is None:
        return None
    names = ", ".join(state.value for state in kind)
    if isinstance(value, str) or not isinstance(value, (set, frozenset, list, tuple)) or not value:
        raise InvalidArgument(f"states must be None or a set of {names}, not {value!r}")
    states = set()
    for item in value:
        try:
            states.add(kind(item))
        except ValueError:
            raise InvalidArgument(f"states must be among {names}: {item!r} is not") from None
    return frozenset(states)


def check_times(**bounds: object) -> dict[str, Any]:
    """Bounds by name, as they are."""
    for name, value in bounds.items():
        if value is not None:
            check_count(name, value, minimum=0, maximum=2**63 - 1, also="None")
    return bounds


def session_filter(
    *,
    prefix: object = "",
    tags: object = None,
    states: object = None,
    text: object = None,
    include_deleted: object = False,
    **bounds: object,
) -> SessionFilter:
    """A filter of what a caller gave; ``bounds`` are its bounds of time by name."""
    return SessionFilter(
        prefix=check_prefix(prefix),
        tags=check_tags(tags) or None,
        states=check_states(states, SessionState),
        text=check_text(text),
        include_deleted=check_flag("include_deleted", include_deleted),
        **check_times(**bounds),
    )


def run_filter(
    *,
    states: object = None,
    agent: object = None,
    key: object = None,
    text: object = None,
    **bounds: object,
) -> RunFilter:
    """As ``session_filter``."""
    return RunFilter(
        states=check_states(states, RunState),
        agent=None if agent is None else check_name("agent name", agent),
        key=None if key is None else check_name("key", key),
        text=check_text(text),
        **check_times(**bounds),
    )


def event_filter(
    *, types: object = None, run_id: object = None, text: object = None, **bounds: object
) -> EventFilter:
    return EventFilter(
        types=check_types(types),
        run_id=None if run_id is None else check_run_id(run_id),
        text=check_text(text),
        **check_times(**bounds),
    )


def check_where(session_id: object, prefix: object) -> str | None:
    """One session, or those with a prefix."""
    if session_id is None:
        return None
    if prefix != "":
        raise InvalidArgument("give session_id or prefix, not both: session_id is one session")
    return check_session_id(session_id)


def check_grouping(by: object) -> str:
    """What usage is summed up by."""
    if type(by) is str and by.startswith(TAG_PREFIX):
        check_name("tag", by.removeprefix(TAG_PREFIX))
        return by
    try:
        return str(check_choice("by", by, GROUPINGS))
    except InvalidArgument:
        raise InvalidArgument(
            f"by must be one of {', '.join(GROUPINGS)}, or tag:NAME, not {by!r}"
        ) from None
