"""Which session of Copilot a run talks in: the one of before, if it is whole, or a new one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..provider.failures import AgentFailure
from ..provider.provider_sessions import Native
from .conversation import REQUEST_SECONDS
from .mapping import data_of

if TYPE_CHECKING:
    from moorage.runtime.messages import Message

    from ..provider.json_rpc import JsonRpc
    from ..provider.opened_run import OpenedRun


async def open_session(
    rpc: JsonRpc, params: Mapping[str, Any], opened: OpenedRun
) -> tuple[str, OpenedRun]:
    """Resume the session, or create one; its id. Raises ContinuationLost."""
    session_id = opened.native_id
    if session_id is not None:
        lost = await _resume(rpc, {**params, "sessionId": session_id}, opened)
        if lost is None:
            return session_id, opened
        opened = opened.without_native(lost)
    session_id = str(uuid.uuid4())
    create = {**params, "sessionId": session_id}
    await rpc.request("session.create", create, timeout_seconds=REQUEST_SECONDS)
    return session_id, opened


async def _resume(rpc: JsonRpc, params: Mapping[str, Any], opened: OpenedRun) -> str | None:
    """Resume the session; why it cannot be continued, or None.

    Copilot writes its session down a moment after it tells what happens, so where a run did not
    come to its end it may lack what was said, and nobody would be told.
    """
    session_id = params["sessionId"]
    try:
        await rpc.request("session.resume", params, timeout_seconds=REQUEST_SECONDS)
    except AgentFailure as failure:
        if "session not found" not in str(failure).lower():
            raise
        return f"Copilot does not know the session {session_id}"
    run_id = opened.continuation.handle.run_id if isinstance(opened.continuation, Native) else None
    said = [message for message in opened.earlier if message.run_id == run_id]
    if run_id is None or not said:
        return None
    answer = await rpc.request(
        "session.getMessages", {"sessionId": session_id}, timeout_seconds=REQUEST_SECONDS
    )
    events = answer.get("events") if isinstance(answer, Mapping) else None
    if isinstance(events, list) and knows(events, said):
        return None
    return f"Copilot's session {session_id} lacks a part of the run {run_id}"


def knows(events: Sequence[Any], said: Sequence[Message]) -> bool:
    """Whether a session with these events has all that was said and called, whole messages only."""
    datas = [data_of(event) for event in events if isinstance(event, Mapping)]
    texts = [data["content"] for data in datas if isinstance(data.get("content"), str)]
    calls = {
        request.get("toolCallId")
        for data in datas
        for request in data.get("toolRequests") or ()
        if isinstance(request, Mapping)
    }
    for message in said:
        if message.partial or message.role not in ("user", "assistant"):
            continue
        if not any(message.text in text for text in texts):
            return False
        made = {b["tool_call_id"] for b in message.blocks if b["type"] == "tool_call"}
        if not made <= calls:
            return False
    return True
