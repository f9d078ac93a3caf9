"""Talking to a Codex app server that runs: turns, steers and what it asks in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.agents import RunContext

from ..provider.failures import (
    ProtocolViolated,
    ProviderTimeout,
    RequestInvalid,
    TurnsExceeded,
)
from ..provider.foreign_tools import AskedCalls, decide_foreign, tell_event
from ..provider.json_rpc import METHOD_NOT_FOUND, JsonRpc, RpcRefused
from ..provider.line_process import LineProcess
from ..provider.run_report import RunReport
from ..provider.side_tasks import open_side_tasks
from ..provider.steering import ReadSteer, read_steer
from ..provider.tool_decisions import ToolDecisions
from .mapping import PROVIDER, TurnReader, mapping_at
from .options import prompt_input
from .server_requests import ANSWERS
from .turn_failures import failure_of_error

if TYPE_CHECKING:
    from ..provider.text_prompts import TextPrompt

REQUEST_SECONDS = 60.0
"""How long the server may take for anything but a turn."""
INTERRUPT_SECONDS = 5.0


@attrs.define(kw_only=True, eq=False)
class Conversation:
    """One run's exchange. ``decisions`` answer what Codex wants approved; ``reader`` is there once
    there is a thread."""

    context: RunContext
    process: LineProcess
    report: RunReport
    turns_max: int | None
    decisions: ToolDecisions | None = None
    reader: TurnReader | None = None
    _over: trio.Event = attrs.field(factory=trio.Event, init=False)
    _steering: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _asked: AskedCalls = attrs.field(factory=AskedCalls, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)

    async def told(self, method: str, params: Any) -> None:
        """A notification of the server."""
        reader = self.reader
        if reader is None:
            return  # about the program: there is no thread yet
        params = params if isinstance(params, Mapping) else {}
        for event in reader.read(method, params):
            await tell_event(self.decisions, self.report, reader.calls, event)
        if reader.status is not None or self._exceeded():
            self._over.set()

    async def asked(self, method: str, params: Any) -> Any:
        """A request of the server: the answer to it. Raises RpcRefused for one that nobody here
        can answer."""
        answer = ANSWERS.get(method)
        if answer is None or self.decisions is None or self.reader is None:
            raise RpcRefused(METHOD_NOT_FOUND, f"nobody here answers {method}")
        params = params if isinstance(params, Mapping) else {}
        call = answer.call(params, self.reader.calls)
        if call is None:
            return answer.response(params, False)
        call = self._asked.named(call)
        decision = await decide_foreign(self.decisions, self.report, call)
        return answer.response(params, decision.approved)

    async def hold(self, rpc: JsonRpc, prompt: TextPrompt) -> None:
        """Ask ``prompt``, and return when it, and every steer that was taken, is answered.

        Raises the AgentFailure that a turn is, and TurnsExceeded.
        """
        async with open_side_tasks() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(self._steer_on, rpc, scope)
                await self._turn(rpc, prompt, None)
                while (steer := await self._undelivered()) is not None:
                    await self._turn(rpc, steer.prompt, steer.id)
                    self._reader().steers.pop(steer.id, None)  # never the same one twice
        if self._failure is not None:
            raise self._failure

    def conclude(self) -> None:
        """Put what the run's output needs into the report."""
        reader = self._reader()
        self.report.turns = reader.turns
        self.report.stop_reason = reader.stop_reason

    async def _turn(self, rpc: JsonRpc, prompt: TextPrompt, steer_id: str | None) -> None:
        reader = self._reader()
        self._over, reader.status = trio.Event(), None
        params: dict[str, Any] = {"threadId": reader.thread_id, "input": prompt_input(prompt)}
        if steer_id is not None:
            params["clientUserMessageId"] = steer_id
        answer = await rpc.request("turn/start", params, timeout_seconds=REQUEST_SECONDS)
        await self._over.wait()
        if self._stopped_early():
            turn_id = mapping_at(answer, "turn").get("id")
            with trio.move_on_after(INTERRUPT_SECONDS):
                interrupt = {"threadId": reader.thread_id, "turnId": turn_id}
                await rpc.request("turn/interrupt", interrupt)
            raise TurnsExceeded(
                f"Codex wanted to go on after turns_max={self.turns_max} answers of the model",
                provider=PROVIDER,
            )
        if reader.error:
            raise failure_of_error(reader.error, stderr=self.process.stderr)

    def _reader(self) -> TurnReader:
        if self.reader is None:
            raise ProtocolViolated("there is no thread yet", provider=PROVIDER)
        return self.reader

    def _stopped_early(self) -> bool:
        return self._reader().status is None

    def _exceeded(self) -> bool:
        reader, limit = self._reader(), self.turns_max
        return limit is not None and reader.turns >= limit and reader.asks_again

    # ---- steering ----

    async def _steer_on(self, rpc: JsonRpc, block: trio.CancelScope) -> None:
        try:
            while True:
                await self.context.wait_steer()
                async with self._steering:
                    for taken in self.context.take_steers():
                        steer = await read_steer(taken, self.report)
                        if steer is not None:
                            await self._steer(rpc, steer)
        except Exception as error:  # raised where the block is left
            self._failure = error
            block.cancel()

    async def _steer(self, rpc: JsonRpc, steer: ReadSteer) -> None:
        reader = self._reader()
        reader.steers[steer.id] = steer
        if reader.turn_id is None or reader.status is not None:
            return  # it begins the next turn
        params = {
            "threadId": reader.thread_id,
            "expectedTurnId": reader.turn_id,
            "input": prompt_input(steer.prompt),
            "clientUserMessageId": steer.id,
        }
        try:
            await rpc.request("turn/steer", params, timeout_seconds=REQUEST_SECONDS)
        except (RequestInvalid, ProtocolViolated, ProviderTimeout):
            return  # the turn has ended meanwhile: it begins the next one

    async def _undelivered(self) -> ReadSteer | None:
        """A steer that no turn has got."""
        async with self._steering:
            return next(iter(self._reader().steers.values()), None)
