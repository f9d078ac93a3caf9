"""The agent ``scripted``: answers without any model, so that everything can be tried offline.

It repeats what it is told, word by word, and does what single words ask for: ``tool`` uses a tool,
``approve`` asks before it does (``hold`` keeps its slot meanwhile), ``think`` thinks aloud,
``slow`` takes its time, ``fail`` fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.provider.approvals import ToolCall, request_approval
from moorage.adapters.agents.scripted import Call, Emit, Fail, Return, Say, Step
from moorage.runtime.messages import input_messages

if TYPE_CHECKING:
    from moorage.runtime import RunContext, RunRequest

PROVIDER = "scripted"
WORD_SECONDS = 0.01
SLOW_WORD_SECONDS = 0.5
TOOL = "count_words"
MODEL = "scripted-1"


def offline_agent() -> ScriptedAgent:
    """An agent that needs no network, key or program."""
    return ScriptedAgent(lambda request: _Turn(request).steps())


class _Turn:
    """One run: what it was told, and what it has said so far."""

    def __init__(self, request: RunRequest) -> None:
        messages = input_messages(request.input)
        self._text = messages[-1].text if messages else ""
        self._asks_for = set(re.findall(r"[a-z]+", self._text.lower()))
        self._goes_on = bool(request.answers)
        self._call = ToolCall(f"call_{request.run_id[-8:]}", TOOL, {"text": self._text})
        self._result = ""
        self._said = ""
        options = request.input.get("options") if isinstance(request.input, dict) else None
        self._model = (options or {}).get("model", MODEL)

    def steps(self) -> list[Step]:
        steps: list[Step] = [Call(_accept_steers)]
        if not self._goes_on:
            steps.append(Emit("message_sent", {"role": "user", "content": self._text}))
            if "think" in self._asks_for:
                thought = f"I am asked for {len(self._text.split())} words."
                steps.append(Emit("message_streamed", {"delta": "", "thinking": thought}))
        if "fail" in self._asks_for:
            return [*steps, Say("I begin, "), Fail(message="I was told to fail", code="told_to")]
        if self._asks_for & {"tool", "approve"}:
            steps.append(Call(self._use_tool))
        return [*steps, Call(self._reply), Return(self._output)]

    async def _use_tool(self, request: RunRequest, context: RunContext) -> None:
        call = self._call
        if not self._goes_on:
            calls = [call.data()]
            await context.emit("message_received", {"content": "", "tool_calls": calls})
        if "approve" in self._asks_for:
            decision = await request_approval(
                context,
                request,
                call,
                hold="hold" in self._asks_for,
                timeout_seconds=None,
                default="deny",
            )
            if not decision.approved:
                why = decision.reason or "not allowed"
                error = {"code": "tool_denied", "message": why}
                await self._end_call(context, "tool_call_failed", {"error": error})
                self._result = f"I was not allowed to count: {why}. "
                return
        await context.emit("tool_call_started", call.data())
        count = len(self._text.split())
        await self._end_call(context, "tool_call_completed", {"tool_output": f"{count} words"})
        self._result = f"I counted {count} words. "

    async def _end_call(self, context: RunContext, type: str, result: dict[str, Any]) -> None:
        ids = {"tool_call_id": self._call.tool_call_id, "tool_name": TOOL}
        await context.emit(type, {**ids, **result})

    async def _reply(self, request: RunRequest, context: RunContext) -> None:
        """Say it word by word; what comes on the way is answered behind it."""
        seconds = SLOW_WORD_SECONDS if "slow" in self._asks_for else WORD_SECONDS
        left = Say(f"{self._result}You said: {self._text}").deltas()
        while left:
            delta = left.pop(0)
            self._said += delta
            await context.emit("message_streamed", {"delta": delta})
            await trio.sleep(seconds)
            for steer in context.take_steers():
                messages = input_messages(steer.message)
                text = messages[-1].text if messages else ""
                sent = {"role": "user", "content": text, "steer_id": steer.id}
                await context.emit("message_sent", sent)
                left += Say(f"\nAnd on the way: {text}").deltas()
        received = {"content": self._said, "model": self._model, "stop_reason": "end_turn"}
        await context.emit("message_received", received)
        usage = {"input_tokens": len(self._text.split()), "output_tokens": len(self._said.split())}
        await context.emit("token_usage_updated", usage)
        await context.emit("turn_completed", {"stop_reason": "end_turn"})

    def _output(self, request: RunRequest) -> dict[str, Any]:
        return {
            "content": self._said,
            "stop_reason": "end_turn",
            "provider": PROVIDER,
            "model": self._model,
            "turns": 1,
        }


async def _accept_steers(request: RunRequest, context: RunContext) -> None:
    context.accept_steers()
