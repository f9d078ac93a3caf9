"""What queries select by, as values. Pure.

Bounds of time are nanoseconds since 1970: ``..._after_ns`` is the first one that is included and
``..._before_ns`` the first one that is not, so that ranges can be laid side by side. ``text`` is
found anywhere in a text, in upper or lower case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .runs import RunState
from .sessions import SessionState

if TYPE_CHECKING:
    from .events import Data, Event
    from .sessions import SessionInfo


def within(time_ns: int | None, after_ns: int | None, before_ns: int | None) -> bool:
    """Whether a time lies in the range; one that is not there lies in no range but the whole."""
    if time_ns is None:
        return after_ns is None and before_ns is None
    return (after_ns is None or time_ns >= after_ns) and (before_ns is None or time_ns < before_ns)


def has_text(data: Data, folded: str) -> bool:
    """Whether any text in plain data (its maps' values, not their keys) contains ``folded``."""
    left = [data]
    while left:
        value = left.pop()
        if type(value) is str:
            if folded in value.casefold():
                return True
        elif type(value) is dict:
            left += value.values()
        elif type(value) is list:
            left += value
    return False


def text_bytes(data: Data) -> int:
    """About how much memory plain data takes, in bytes: what its texts and bytes have."""
    size, left = 0, [data]
    while left:
        value = left.pop()
        if isinstance(value, (str, bytes)):
            size += len(value)
        elif type(value) is dict:
            left += value.values()
            size += 16 * len(value)
        elif type(value) is list:
            left += value
            size += 8 * len(value)
    return size


@attrs.frozen
class SessionFilter:
    """Which sessions. ``tags`` must all match; ``text`` is looked for in id and summary.
    ``include_deleted`` takes those too that are softly deleted."""

    prefix: str = ""
    tags: dict[str, str] | None = None
    states: frozenset[SessionState] | None = None
    text: str | None = None
    created_after_ns: int | None = None
    created_before_ns: int | None = None
    modified_after_ns: int | None = None
    modified_before_ns: int | None = None
    include_deleted: bool = False

    def matches(self, info: SessionInfo) -> bool:
        text = self.text
        return (
            (self.include_deleted or info.deleted_at_ns is None)
            and info.id.startswith(self.prefix)
            and (not self.tags or self.tags.items() <= info.tags.items())
            and (self.states is None or info.state in self.states)
            and within(info.created_at_ns, self.created_after_ns, self.created_before_ns)
            and within(info.modified_at_ns, self.modified_after_ns, self.modified_before_ns)
            and (
                text is None
                or text in info.id.casefold()
                or text in (info.summary or "").casefold()
            )
        )


@attrs.frozen
class RunFilter:
    """Which runs. ``text`` is looked for in a run's input."""

    states: frozenset[RunState] | None = None
    agent: str | None = None
    key: str | None = None
    text: str | None = None
    submitted_after_ns: int | None = None
    submitted_before_ns: int | None = None
    ended_after_ns: int | None = None
    ended_before_ns: int | None = None

    def matches_request(self, event: Event) -> bool:
        """Whether a run_submitted event may be that of a run that is wanted."""
        data: dict[str, Any] = event.data
        return (
            (self.agent is None or data.get("agent") == self.agent)
            and (self.key is None or data.get("key") == self.key)
            and within(event.time_ns, self.submitted_after_ns, self.submitted_before_ns)
            and (self.text is None or has_text(data.get("input"), self.text))
        )

    def matches_end(self, state: RunState, ended_at_ns: int | None) -> bool:
        """Whether a run with a request that matches is wanted, by where it is now."""
        return (self.states is None or state in self.states) and within(
            ended_at_ns, self.ended_after_ns, self.ended_before_ns
        )


@attrs.frozen
class EventFilter:
    """Which events. ``text`` is looked for in all texts of an event's data."""

    types: frozenset[str] | None = None
    run_id: str | None = None
    text: str | None = None
    after_ns: int | None = None
    before_ns: int | None = None

    def matches(self, event: Event) -> bool:
        return within(event.time_ns, self.after_ns, self.before_ns) and (
            self.text is None or has_text(event.data, self.text)
        )


def plain_filter(filter: Any) -> dict[str, Any]:
    """A filter as plain JSON, the same for equal filters."""
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in attrs.asdict(filter, recurse=False).items()
    }
