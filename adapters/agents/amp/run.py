"""One run of Amp: what it writes is told, what its gate asks is answered, steers go in."""

from __future__ import annotations

import base64
import itertools
import math
from typing import TYPE_CHECKING, Any

import trio

from ..provider.approvals import Decision, ToolCall
from ..provider.failures import ProviderExited, ProviderTimeout, TurnsExceeded
from ..provider.side_tasks import open_side_tasks
from ..provider.steering import RepeatedSteers, tell_undelivered
from . import mapping
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from moorage.runtime.agents import RunContext

    from ..provider.line_process import LineProcess
    from ..provider.run_report import RunReport
    from ..provider.text_prompts import TextPrompt
    from ..provider.tool_decisions import ToolDecisions

CALL_SECONDS = 1.0
"""How long to wait for the message that a call is in, when the gate is asked before it came."""
START_SECONDS = 60.0
"""How long Amp may take to say its first word, which is not the model's."""
DELIVERY_SECONDS = 30.0
"""How long Amp may take to go on with a steer that came with its last word."""
END_SECONDS = 10.0
"""How long Amp may take to end once it has answered and its input is closed."""


class AmpRun:
    """``execute`` asks Amp and returns when it has answered."""

    def __init__(
        self,
        context: RunContext,
        report: RunReport,
        decisions: ToolDecisions,
        *,
        turns_max: int | None,
    ) -> None:
        self._context = context
        self._report = report
        self._decisions = decisions
        self._turns_max = turns_max
        self._steers = RepeatedSteers(context, report)
        self._calls: dict[str, ToolCall] = {}
        self._asked: set[str] = set()
        self._changed = trio.Event()
        self._made_up = itertools.count(1)
        self._failure: Exception | None = None
        self._result: Mapping[str, Any] = {}
        self._scope = trio.CancelScope()
        self.heard = False
        """Whether Amp has said anything."""

    async def execute(self, process: LineProcess, prompt: TextPrompt) -> None:
        """Say the prompt and return when Amp has ended.

        Raises an AgentFailure if Amp or its model fails, and what the session raises. Tool calls
        that did not end are told as failed, whatever ends this.
        """
        try:
            async with open_side_tasks() as nursery:
                self._scope.deadline = trio.current_time() + START_SECONDS
                with self._scope:
                    await process.send(user_message(prompt))
                    nursery.start_soon(self._guarded, self._steer, process)
                    await self._read(process)
                if self._scope.cancelled_caught:
                    self._check_silence(process)
        except ProviderExited:
            if (failure := mapping.failure_of_result(self._result)) is not None:
                raise failure from None  # it said why before it ended
            raise
        finally:
            self._report.close_calls("interrupted", "the run ended before the tool did")
        await self._conclude()

    async def decide(self, name: str, tool_input: Any) -> Decision:
        """The answer to Amp's gate. Does not raise: what goes wrong ends the run."""
        try:
            call = await self._call(name, tool_input)
            await self._report.flush()
            return await self._decisions.decide(call)
        except Exception as error:  # raised by execute
            self._fail(error)
            return Decision(False, "the run has failed")

    async def _guarded(self, function: Callable[..., Awaitable[object]], *given: Any) -> None:
        try:
            await function(*given)
        except Exception as error:  # raised by execute
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._scope.cancel()

    async def _read(self, process: LineProcess) -> None:
        closed = False
        async for message in process.messages():
            self.heard = True
            if not closed:
                self._scope.deadline = math.inf
            await self._take(message)
            if closed or not mapping.is_last(message):
                continue
            seconds = DELIVERY_SECONDS
            if not self._steers.waiting:
                closed, seconds = True, END_SECONDS
                self._steers.end()
                process.close_input()
            self._scope.deadline = trio.current_time() + seconds

    def _check_silence(self, process: LineProcess) -> None:
        """The scope was cancelled: raise what it was for. An Amp that has answered and does not
        end has done its work."""
        if self._failure is not None:
            raise self._failure
        if not self.heard:
            raise ProviderTimeout(
                f"Amp said nothing within {START_SECONDS:g} seconds of its start",
                provider=PROVIDER,
                stderr=process.stderr,
            )

    async def _take(self, message: Mapping[str, Any]) -> None:
        if (thread := mapping.session_of(message)) is not None:
            self._report.provider_session = thread
        if message.get("type") == "result":
            self._result = message
        await self._steers.repeated(mapping.said_by_user(message))
        for type_, data, metadata in mapping.events_of(message):
            if type_ in ("delta", "thinking"):
                await self._report.delta("text" if type_ == "delta" else "thinking", data["text"])
                continue
            await self._report.emit(type_, data, metadata)
            if type_ == "tool_call_started":
                self._know(data)
        self._check_turns(message)

    def _know(self, data: Mapping[str, Any]) -> None:
        call_id = data["tool_call_id"]
        self._calls[call_id] = ToolCall(call_id, data["tool_name"], data.get("tool_input"))
        self._changed.set()
        self._changed = trio.Event()

    def _check_turns(self, message: Mapping[str, Any]) -> None:
        wants_more = message.get("type") == "assistant" and not mapping.is_last(message)
        if self._turns_max is not None and wants_more and self._report.turns >= self._turns_max:
            raise TurnsExceeded(
                f"the model wanted to go on after turns_max, {self._turns_max} turns",
                provider=PROVIDER,
            )

    async def _steer(self, process: LineProcess) -> None:
        await self._steers.give(
            lambda steer: process.send({**user_message(steer.prompt), "steer": True})
        )

    async def _call(self, name: str, tool_input: Any) -> ToolCall:
        """The call that the gate asks about, which is told by name and input alone."""
        with trio.move_on_after(CALL_SECONDS):
            while True:
                for call in self._calls.values():
                    fits = call.tool_name == name and call.tool_input == tool_input
                    if fits and call.tool_call_id not in self._asked:
                        self._asked.add(call.tool_call_id)
                        return call
                await self._changed.wait()
        return ToolCall(f"gate-{next(self._made_up)}", name, tool_input)

    async def _conclude(self) -> None:
        await tell_undelivered(self._steers.waiting, self._report)
        if (failure := mapping.failure_of_result(self._result)) is not None:
            raise failure
        data = {"stop_reason": self._report.stop_reason, "turns": self._report.turns}
        await self._report.emit("turn_completed", data)


def user_message(prompt: TextPrompt) -> dict[str, Any]:
    """The line by which a user says ``prompt``."""
    content: list[dict[str, Any]] = []
    if prompt.text:
        content.append({"type": "text", "text": prompt.text})
    for image in prompt.images:
        data = base64.b64encode(image["data"]).decode("ascii")
        source = {"type": "base64", "media_type": image["media_type"], "data": data}
        content.append({"type": "image", "source": source})
    return {"type": "user", "message": {"role": "user", "content": content}}
