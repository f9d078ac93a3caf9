"""One run of pi: what it writes is told, what its gate asks is answered, steers go in."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ..provider.approvals import ToolCall
from ..provider.failure_texts import failure_of_text
from ..provider.failures import (
    AgentFailure,
    ProviderNotConfigured,
    ProviderTimeout,
    TurnsExceeded,
)
from ..provider.side_tasks import open_side_tasks
from ..provider.steering import RepeatedSteers, tell_undelivered
from . import gate, mapping
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from moorage.runtime.agents import RunContext

    from ..provider.line_process import LineProcess
    from ..provider.run_report import RunReport
    from ..provider.steering import ReadSteer
    from ..provider.text_prompts import TextPrompt
    from ..provider.tool_decisions import ToolDecisions

START_SECONDS = 60.0
"""How long pi may take until it answers its first command: it loads extensions before."""
ABORT_SECONDS = 0.3
"""How long pi may take to stop when the run is cancelled; then it is ended, within a second."""
IDLE_POLL_SECONDS = 0.05
"""How often to ask again whether pi has nothing left to do, once a turn has ended."""


class PiRun:
    """``execute`` asks pi and returns when it has answered and has nothing left to do."""

    def __init__(
        self,
        context: RunContext,
        process: LineProcess,
        report: RunReport,
        decisions: ToolDecisions,
        *,
        turns_max: int | None,
    ) -> None:
        self._context = context
        self._process = process
        self._report = report
        self._decisions = decisions
        self._turns_max = turns_max
        self.session_file: str | None = None
        """Where pi keeps this conversation; None if it keeps none."""
        self.kept = False
        """Whether that file has all of the run so far: pi writes it before it tells of its end."""
        self._steers = RepeatedSteers(context, report)
        self._retrying = False
        self._answer: Mapping[str, Any] = {}
        self._ready = trio.Event()
        self._idle_asked = 0
        self._failure: Exception | None = None

    async def execute(self, commands: Iterable[Mapping[str, Any]], prompt: TextPrompt) -> None:
        """Send ``commands``, then the prompt; return when it is answered.

        Raises an AgentFailure if pi or its model fails, and what the session raises. Tool calls
        that did not end are told as failed, whatever ends this.
        """
        try:
            async with open_side_tasks() as nursery:
                with trio.CancelScope() as scope:
                    start = self._guard(scope)
                    nursery.start_soon(start, self._watch_start)
                    await self._process.send({"type": "get_state", "id": "start"})
                    for command in commands:
                        await self._process.send({**command, "id": "setting"})
                    await self._process.send({**prompt_command(prompt), "id": "prompt"})
                    nursery.start_soon(start, self._steers.give, self._steer)
                    await self._read(
                        lambda function, *given: nursery.start_soon(start, function, *given)
                    )
                if scope.cancelled_caught and self._failure is not None:
                    raise self._failure
        except trio.Cancelled:
            with trio.move_on_after(ABORT_SECONDS, shield=True), suppress(AgentFailure):
                await self._abort()
            raise
        finally:
            self._report.close_calls("interrupted", "the run ended before the tool did")
        await self._conclude()

    async def _abort(self) -> None:
        """Let pi end the commands of its tools, which are in sessions of their own: pi itself can
        be ended by a signal, and they would go on."""
        await self._process.send({"type": "abort", "id": "abort"})
        async for message in self._process.messages():
            self._note_kept(message)
            if message.get("type") == "response" and message.get("id") == "abort":
                return

    def _note_kept(self, message: Mapping[str, Any]) -> None:
        if message.get("type") in ("agent_start", "agent_end"):
            self.kept = message["type"] == "agent_end"

    def _guard(self, scope: trio.CancelScope) -> Any:
        async def run(function: Callable[..., Awaitable[object]], *given: Any) -> None:
            try:
                await function(*given)
            except Exception as error:  # raised by execute
                self._failure = self._failure or error
                scope.cancel()

        return run

    async def _watch_start(self) -> None:
        with trio.move_on_after(START_SECONDS):
            await self._ready.wait()
            return
        raise ProviderTimeout(
            f"pi did not answer within {START_SECONDS:g} seconds", provider=PROVIDER
        )

    async def _read(self, start: Callable[..., object]) -> None:
        async for message in self._process.messages():
            if await self._take(message, start):
                return
        raise await self._process.exited()

    async def _take(self, message: Mapping[str, Any], start: Callable[..., object]) -> bool:
        """Deal with one message; whether pi has nothing left to do."""
        if (delta := mapping.delta_of(message)) is not None:
            await self._report.delta(*delta)
            return False
        kind = message.get("type")
        if kind == "response":
            return await self._responded(message, start)
        if (question := gate.question_of(message)) is not None:
            start(self._answer_gate, question)
            return False
        if (dismissal := gate.dismissal(message)) is not None:
            await self._process.send(dismissal)
        await self._note(kind, message)
        for event in mapping.events_of(message):
            await self._report.emit(*event)
        return False

    async def _note(self, kind: object, message: Mapping[str, Any]) -> None:
        self._note_kept(message)
        if kind == "message_end":
            said = message.get("message") or {}
            if said.get("role") == "assistant":
                self._answer = said
            elif said.get("role") == "user":
                await self._steers.repeated(mapping.text_of(said.get("content")))
        elif kind == "auto_retry_start":
            self._retrying = True
        elif kind in ("agent_start", "auto_retry_end"):
            self._retrying = False
        elif kind == "agent_end":
            await self._ask_idle()

    async def _responded(self, message: Mapping[str, Any], start: Callable[..., object]) -> bool:
        asked = str(message.get("id"))
        if message.get("success") is not True:
            raise refusal(str(message.get("command")), str(message.get("error")))
        if asked == "start":
            self._ready.set()
            await self._started(message.get("data") or {})
        elif asked == f"idle {self._idle_asked}":
            return await self._is_idle(message.get("data") or {}, start)
        return False

    async def _started(self, state: Mapping[str, Any]) -> None:
        self._report.model = (state.get("model") or {}).get("id")
        if isinstance(state.get("sessionId"), str):
            self._report.provider_session = state["sessionId"]
        if isinstance(state.get("sessionFile"), str):
            self.session_file = state["sessionFile"]

    async def _ask_idle(self) -> None:
        self._idle_asked += 1
        await self._process.send({"type": "get_state", "id": f"idle {self._idle_asked}"})

    async def _ask_idle_soon(self) -> None:
        await trio.sleep(IDLE_POLL_SECONDS)
        await self._ask_idle()

    async def _is_idle(self, state: Mapping[str, Any], start: Callable[..., object]) -> bool:
        if self._retrying:
            return False  # a later end follows
        if state.get("isStreaming") or state.get("isCompacting"):
            start(self._ask_idle_soon)
            return False
        if not state.get("pendingMessageCount") or not self._steers.waiting:
            return True
        # It came between pi's last look at its queue and its end. pi brings the queue in with the
        # next prompt, and has no way to do so without one: the model sees that message twice.
        await self._process.send(
            {**_message(self._steers.waiting[0].prompt.text, ()), "id": "again"}
        )
        return False

    async def _steer(self, steer: ReadSteer) -> None:
        command = {"id": "steer", "streamingBehavior": "steer"}
        await self._process.send({**prompt_command(steer.prompt), **command})

    async def _answer_gate(self, question: gate.Question) -> None:
        call = ToolCall(question.tool_call_id, question.tool_name, dict(question.tool_input))
        await self._report.flush()
        if question.about == "result":
            value = await self._result(question, call)
        else:
            decision = await self._decisions.decide(call)
            value = {"allow": decision.approved}
            if not decision.approved:
                value["reason"] = decision.reason or "it was denied"
            elif decision.tool_input is not None:
                value["input"] = decision.tool_input
        with suppress(AgentFailure):  # the end of pi is told by what reads it
            await self._process.send(gate.answer(question, value))

    async def _result(self, question: gate.Question, call: ToolCall) -> dict[str, Any]:
        output = mapping.text_of(question.content)
        replaced = await self._decisions.replaced(call, output, is_error=question.is_error)
        if replaced is None:
            return {}
        text = replaced.output
        if not isinstance(text, str):
            text = json.dumps(text, ensure_ascii=False, default=str)
        return {"content": [{"type": "text", "text": text}]}

    async def _conclude(self) -> None:
        await tell_undelivered(self._steers.waiting, self._report)
        reason = self._answer.get("stopReason")
        if reason in ("error", "aborted"):
            raise self._failed(str(self._answer.get("errorMessage") or reason))
        data = {"stop_reason": self._report.stop_reason, "turns": self._report.turns}
        await self._report.emit("turn_completed", data)

    def _failed(self, text: str) -> AgentFailure:
        if self._turns_max is not None and self._report.turns >= self._turns_max:
            return TurnsExceeded(
                f"the model wanted to go on after turns_max, {self._turns_max} turns",
                provider=PROVIDER,
            )
        return failure_of_text(PROVIDER, text)


def prompt_command(prompt: TextPrompt) -> dict[str, Any]:
    """The command that says ``prompt``."""
    images = tuple(
        {
            "type": "image",
            "data": base64.b64encode(image["data"]).decode("ascii"),
            "mimeType": image["media_type"],
        }
        for image in prompt.images
    )
    return _message(prompt.text, images)


def refusal(command: str, text: str) -> AgentFailure:
    """The failure that a refused command is."""
    if "API key" in text or "/login" in text or "No model" in text:
        first = text.strip().partition("\n")[0]
        return ProviderNotConfigured(f"pi: {first}", provider=PROVIDER)
    return failure_of_text(PROVIDER, f"it refused {command}: {text}")


def _message(text: str, images: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {"type": "prompt", "message": text, **({"images": list(images)} if images else {})}
