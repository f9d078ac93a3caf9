"""How far a run has come, from its own events: what an agent that is called again goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunRequest

PAGE_EVENTS = 1_000

TYPES = frozenset({"message_sent", "message_received", "turn_completed"})


@attrs.define
class Progress:
    """``sent`` counts the input's messages that are recorded, ``turns`` the model's answers.

    ``last`` is the data of the last of these. ``call_ids`` are those of all calls so far. ``said``
    tells that a message came behind the last answer, which the model has not seen.
    """

    sent: int = 0
    turns: int = 0
    last: Mapping[str, Any] | None = None
    call_ids: set[str] = attrs.field(factory=set)
    said: bool = False
    ended: bool = False

    def apply(self, type: str, data: Mapping[str, Any]) -> None:
        """Take in an event of the run, in order."""
        if type == "message_sent":
            self.sent += "steer_id" not in data
            self.said = True
        elif type == "message_received":
            self.turns += 1
            self.last = data
            self.said = False
            self.call_ids |= {call["tool_call_id"] for call in data.get("tool_calls") or ()}
        elif type == "turn_completed":
            self.ended = True


async def recorded_progress(request: RunRequest, context: RunContext) -> Progress:
    """The progress that earlier calls of the agent recorded; none in a run's first call."""
    progress = Progress()
    if request.attempt == 1 and not request.answers:
        return progress
    after = 0
    while True:
        page: list[Event] = await context.session.events(
            after=after, limit=PAGE_EVENTS, types=set(TYPES), run_id=context.run_id
        )
        for event in page:
            progress.apply(event.type, event.data)
        if len(page) < PAGE_EVENTS:
            return progress
        after = page[-1].seq
