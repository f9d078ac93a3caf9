"""Conversations: messages, labels, checkpoints, branches, forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.messages import message_to_plain
from moorage.runtime.reversible_json import to_json

from .call import reply
from .durable_streams.reserved import check_no_stream
from .encoding import data_of, events_to_json, fields
from .operations import Operation, Parameter
from .responses import answers
from .schemas import (
    APPEND_EVENTS_MAX,
    METADATA,
    PAGE_LIMIT,
    SESSION_ID,
    many,
    record,
    ref,
    text,
    whole,
)
from .session_routes import session_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime import Message, Transcript
    from starlette.responses import Response

    from .call import Call

MESSAGES_DEFAULT = 100
SUMMARY_BYTES_MAX = 1_048_576


async def _transcript(call: Call) -> Transcript:
    """The session's conversation; those that were read last are kept."""
    await call.session.info()
    return await call.state.transcripts.read(call.session)


def _told(messages: Iterable[Message]) -> dict[str, Any]:
    return {"messages": [to_json(message_to_plain(message)) for message in messages]}


async def get_messages(call: Call) -> Response:
    """The first messages whose seq is above ``after``."""
    messages = (await _transcript(call)).since(call.query.get("after", 0))
    return reply(_told(messages[: call.query.get("limit", MESSAGES_DEFAULT)]))


async def get_context(call: Call) -> Response:
    return reply(_told((await _transcript(call)).context()))


async def add_messages(call: Call) -> Response:
    """Record messages that were said elsewhere."""
    messages = [data_of(message) for message in call.body["messages"]]
    events = await call.session.add_messages(messages)
    after = events[-1].seq if events else (await call.session.info()).head_seq
    return reply({"events": events_to_json(events), "next_after": after}, 201)


async def get_labels(call: Call) -> Response:
    labels = (await _transcript(call)).labels.values()
    return reply({"labels": [fields(label) for label in labels]})


async def put_label(call: Call) -> Response:
    label = await call.session.label(
        call.path["label"], seq=call.body.get("seq"), description=call.body.get("description")
    )
    return reply(fields(label))


async def delete_label(call: Call) -> Response:
    return reply({"changed": await call.session.unlabel(call.path["label"])})


async def get_checkpoints(call: Call) -> Response:
    checkpoints = (await _transcript(call)).checkpoints.values()
    return reply({"checkpoints": [fields(checkpoint) for checkpoint in checkpoints]})


async def make_checkpoint(call: Call) -> Response:
    checkpoint = await call.session.checkpoint(
        metadata=data_of(call.body.get("metadata")), label=call.body.get("label")
    )
    return reply(fields(checkpoint), 201)


async def restore_checkpoint(call: Call) -> Response:
    await call.session.restore(call.path["checkpoint_id"])
    return reply({"changed": True})


async def get_branches(call: Call) -> Response:
    branches = (await _transcript(call)).branches
    return reply({"branches": [fields(branch) for branch in branches]})


async def make_branch(call: Call) -> Response:
    body = call.body
    await call.session.branch(body["seq"], summary=body.get("summary"), name=body.get("name"))
    return reply({"changed": True})


async def _clear(call: Call) -> Response:
    await call.session.clear()
    return reply({"changed": True})


async def fork(call: Call) -> Response:
    session_id = call.new_session_id(call.body.get("session_id"))
    await check_no_stream(call.session)
    forked = await call.session.fork(session_id, seq=call.body.get("seq"))
    return await session_reply(forked, 201)


async def rotate(call: Call) -> Response:
    session_id = call.new_session_id(call.body.get("session_id"))
    await check_no_stream(call.session)
    rotated = await call.session.rotate(call.body["summary"], session_id=session_id)
    return await session_reply(rotated, 201)


_TAG = "conversation"
_PATH = "/v1/sessions/{session_id}"
_SUMMARY = text("What was said so far.", maximum=SUMMARY_BYTES_MAX)

CONVERSATION_OPERATIONS = (
    Operation(
        id="get_messages",
        method="GET",
        path=f"{_PATH}/messages",
        summary="What was said on the active branch.",
        tag=_TAG,
        scope="read",
        handler=get_messages,
        parameters=(
            Parameter(name="after", schema=whole(), description="Only those above this seq."),
            Parameter(name="limit", schema=PAGE_LIMIT, description="At most so many."),
        ),
        answers=answers({200: "MessageList"}),
    ),
    Operation(
        id="add_messages",
        method="POST",
        path=f"{_PATH}/messages",
        summary="Record messages that were said elsewhere.",
        tag=_TAG,
        scope="write",
        handler=add_messages,
        body=record(
            {"messages": many(ref("Message"), minimum=1, maximum=APPEND_EVENTS_MAX)},
            required=("messages",),
        ),
        answers=answers({201: "EventPage"}),
    ),
    Operation(
        id="get_context",
        method="GET",
        path=f"{_PATH}/context",
        summary="What a model would be given now.",
        tag=_TAG,
        scope="read",
        handler=get_context,
        answers=answers({200: "MessageList"}),
    ),
    Operation(
        id="list_labels",
        method="GET",
        path=f"{_PATH}/labels",
        summary="The session's bookmarks.",
        tag=_TAG,
        scope="read",
        handler=get_labels,
        answers=answers({200: "LabelList"}),
    ),
    Operation(
        id="put_label",
        method="PUT",
        path=f"{_PATH}/labels/{{label}}",
        summary="Set a bookmark at a seq, or at the last event.",
        tag=_TAG,
        scope="write",
        handler=put_label,
        body=record({"seq": whole(minimum=1), "description": text(minimum=0, maximum=4_096)}),
        body_required=False,
        answers=answers({200: "Label"}),
    ),
    Operation(
        id="delete_label",
        method="DELETE",
        path=f"{_PATH}/labels/{{label}}",
        summary="Take a bookmark away.",
        tag=_TAG,
        scope="write",
        handler=delete_label,
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="list_checkpoints",
        method="GET",
        path=f"{_PATH}/checkpoints",
        summary="The session's checkpoints, the oldest first.",
        tag=_TAG,
        scope="read",
        handler=get_checkpoints,
        answers=answers({200: "CheckpointList"}),
    ),
    Operation(
        id="make_checkpoint",
        method="POST",
        path=f"{_PATH}/checkpoints",
        summary="Note where the conversation is, with a checksum of all that was said.",
        tag=_TAG,
        scope="write",
        handler=make_checkpoint,
        body=record({"metadata": METADATA, "label": text()}),
        body_required=False,
        answers=answers({201: "Checkpoint"}),
    ),
    Operation(
        id="restore_checkpoint",
        method="POST",
        path=f"{_PATH}/checkpoints/{{checkpoint_id}}/restore",
        summary="Go back to a checkpoint; nothing is lost from the log.",
        tag=_TAG,
        scope="write",
        handler=restore_checkpoint,
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="list_branches",
        method="GET",
        path=f"{_PATH}/branches",
        summary="The session's branches; the last one is the active one.",
        tag=_TAG,
        scope="read",
        handler=get_branches,
        answers=answers({200: "BranchList"}),
    ),
    Operation(
        id="make_branch",
        method="POST",
        path=f"{_PATH}/branches",
        summary="Go on from a seq, which may be one that was left before.",
        tag=_TAG,
        scope="write",
        handler=make_branch,
        body=record({"seq": whole(), "summary": _SUMMARY, "name": text()}, required=("seq",)),
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="clear_conversation",
        method="POST",
        path=f"{_PATH}/clear",
        summary="Forget what was said, except for the settings; the log keeps it.",
        tag=_TAG,
        scope="write",
        handler=_clear,
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="fork_session",
        method="POST",
        path=f"{_PATH}/forks",
        summary="A new session that begins with what was said up to a seq.",
        tag=_TAG,
        scope="write",
        handler=fork,
        admits=True,
        body=record({"session_id": SESSION_ID, "seq": whole()}),
        body_required=False,
        answers=answers({201: "Session"}),
    ),
    Operation(
        id="rotate_session",
        method="POST",
        path=f"{_PATH}/rotate",
        summary="Close this session and go on in a new one that begins with a summary.",
        tag=_TAG,
        scope="write",
        handler=rotate,
        admits=True,
        body=record({"summary": _SUMMARY, "session_id": SESSION_ID}, required=("summary",)),
        answers=answers({201: "Session"}),
    ),
)
