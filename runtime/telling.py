"""Telling: what of a dialogue is shown to people, and what is given to a model.

People see what was said. A model must see a result for every call it made, so where there is none
it is told so. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .dialogue import Compaction, Group

if TYPE_CHECKING:
    from .messages import Message


def told(group: Group) -> list[Message]:
    """Everything said in a group, each call followed by what results there are."""
    messages: list[Message] = []
    for spoken in group.spoken:
        if spoken.message.blocks:
            messages.append(spoken.message)
            messages += [call.result for call in spoken.calls if call.result is not None]
    return messages


def told_for_good(group: Group) -> list[Message]:
    """What is told in a group, without what events to come may replace."""
    if group.ended_seq is not None:
        return told(group)
    kept = [spoken for spoken in group.spoken if not spoken.provisional]
    return told(Group(group.run_id, kept))


def asked(group: Group, *, own: bool, from_seq: int) -> list[Message]:
    """What a model is told of a group, from ``from_seq`` on: every call with a result.

    Of an agent's ``own`` run it is what the agent recorded, without a stream that is not over.
    """
    messages: list[Message] = []
    for spoken in group.spoken:
        message = spoken.message
        if not message.blocks or message.seq < from_seq:
            continue
        if own and spoken.provisional:
            continue
        messages.append(message)
        messages += [call.result or call.synthetic_result(message) for call in spoken.calls]
    return messages


@attrs.frozen
class PendingCall:
    """A tool call without a result. ``started`` says that it may have had effects already,
    ``request_id`` that it waits for that approval."""

    tool_call_id: str
    tool_name: str
    tool_input: Any
    started: bool
    request_id: str | None


def pending_calls(group: Group) -> list[PendingCall]:
    """Calls of the group's last assistant message that have no result."""
    for spoken in reversed(group.spoken):
        if spoken.message.role == "assistant" and not spoken.message.partial:
            return [
                PendingCall(
                    call.id,
                    call.block["tool_name"],
                    call.block["tool_input"],
                    call.started,
                    call.asked,
                )
                for call in spoken.calls
                if call.result is None
            ]
    return []


def kept_from(group: Group, compaction: Compaction) -> int:
    """From which seq on a group's messages are kept: all of those of a run that went on while
    others were summed up, since the summary cannot have them."""
    unseen = group.run_id not in (None, compaction.run_id) and (
        group.ended_seq is None or group.ended_seq > compaction.seq
    )
    return 0 if unseen else compaction.first_kept_seq
