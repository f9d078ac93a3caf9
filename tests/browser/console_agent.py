"""An agent for the console to look at: it does what the first word of its input says."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.agents.provider.approvals import ToolCall, request_approval

if TYPE_CHECKING:
    from moorage.runtime import RunContext, RunRequest

WORD_SECONDS = 0.02


async def agent(request: RunRequest, context: RunContext) -> Any:
    """``count`` streams numbers without an end, ``delete`` asks whether it may, ``ask`` has a
    question, ``stay`` never ends, ``steered`` waits for a message; all else is repeated."""
    text = str(request.input)
    work = _WORK.get(text.partition(" ")[0])
    reply = text if work is None else await work(request, context)
    await context.emit("message_received", {"content": reply})
    return {"content": reply}


async def _count(request: RunRequest, context: RunContext) -> str:
    for number in itertools.count():
        await context.emit("message_streamed", {"delta": f"word-{number} "})
        await context.flush()
        await trio.sleep(WORD_SECONDS)
    raise AssertionError


async def _delete(request: RunRequest, context: RunContext) -> str:
    call = ToolCall("call_1", "delete_files", {"path": "build", "count": 3})
    if not request.answers:
        await context.emit("message_streamed", {"delta": "I need a tool. "})
        await context.emit("message_received", {"content": "", "tool_calls": [call.data()]})
    decision = await request_approval(
        context, request, call, hold=False, timeout_seconds=None, default="deny"
    )
    if not decision.approved:
        await context.emit(
            "tool_call_failed", {**call.data(), "error": {"code": "denied", "message": "no"}}
        )
        return f"Left alone: {decision.reason}"
    given = decision.tool_input or call.tool_input
    await context.emit("tool_call_started", {**call.data(), "tool_input": given})
    await context.emit("tool_call_completed", {**call.data(), "tool_output": "3 files"})
    return f"Deleted {given['path']}"


async def _ask(request: RunRequest, context: RunContext) -> str:
    answer = await context.ask("colour", {"text": "Which colour?"})
    return f"It will be {answer}"


async def _stay(request: RunRequest, context: RunContext) -> str:
    await context.emit("message_streamed", {"delta": "I stay. "})
    await context.flush()
    await trio.sleep_forever()
    raise AssertionError


async def _steered(request: RunRequest, context: RunContext) -> str:
    context.accept_steers()
    await context.emit("message_streamed", {"delta": "Tell me more. "})
    await context.flush()
    await context.wait_steer()
    (steer,) = context.take_steers()
    told = {"role": "user", "content": steer.message, "steer_id": steer.id}
    await context.emit("message_sent", told)
    return f"I was told: {steer.message}"


_WORK = {"count": _count, "delete": _delete, "ask": _ask, "stay": _stay, "steered": _steered}
