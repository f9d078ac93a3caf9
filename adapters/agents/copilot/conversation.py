"""Talking to a Copilot server that runs: a session, steers and permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.agents import RunContext

from ..provider.failures import AgentFailure, TurnsExceeded
from ..provider.foreign_tools import AskedCalls, decide_foreign, tell_event
from ..provider.line_process import LineProcess
from ..provider.run_report import RunReport
from ..provider.side_tasks import open_side_tasks
from ..provider.steering import ReadSteer, read_steer, tell_undelivered
from ..provider.tool_decisions import ToolDecisions, ToolEffect
from .mapping import PROVIDER, SessionReader, data_of
from .permission_requests import asked_call, permission_result, request_effect
from .session_failures import failure_of_error
from .session_options import prompt_params

if TYPE_CHECKING:
    from ..provider.json_rpc import JsonRpc
    from ..provider.text_prompts import TextPrompt

REQUEST_SECONDS = 60.0
"""How long the server may take for anything but a turn. Its first start unpacks itself."""
INTERRUPT_SECONDS = 5.0
SETTLE_SECONDS = 1.0
"""How long the server may take to say that it is idle, once nothing runs any more."""
DELIVERY_SECONDS = 30.0
"""How long to wait for the server to take up a steer that it has accepted."""


@attrs.define(kw_only=True, eq=False)
class Conversation:
    """One run's exchange in one session. ``decisions`` answer what Copilot wants permitted in its
    ``directory``; ``effects`` has what each of these calls does, by its id."""

    context: RunContext
    process: LineProcess
    report: RunReport
    turns_max: int | None
    directory: str = "."
    reader: SessionReader = attrs.field(factory=SessionReader)
    effects: dict[str, ToolEffect] = attrs.field(factory=dict)
    session_id: str | None = None
    decisions: ToolDecisions | None = None
    _idle: trio.Event = attrs.field(factory=trio.Event, init=False)
    _resting: trio.Event = attrs.field(factory=trio.Event, init=False)
    _permits: list[Mapping[str, Any]] = attrs.field(factory=list, init=False)
    _permit_asked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _steering: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _asked: AskedCalls = attrs.field(factory=AskedCalls, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)

    async def told(self, method: str, params: Any) -> None:
        """A notification of the server."""
        params = params if isinstance(params, Mapping) else {}
        event = params.get("event")
        ours = self.session_id is not None and params.get("sessionId") == self.session_id
        if method != "session.event" or not ours or not isinstance(event, Mapping):
            return
        for found in self.reader.read(event):
            await tell_event(self.decisions, self.report, self.reader.calls, found)
        if self.reader.resting:
            self._resting.set()
        data = data_of(event)
        if event.get("type") == "permission.requested" and data.get("resolvedByHook") is not True:
            self._permits.append(data)
            self._permit_asked.set()
        over = event.get("type") == "assistant.turn_end" and self._exceeded()
        if self.reader.idle or over:
            self._idle.set()

    async def hold(self, rpc: JsonRpc, prompt: TextPrompt) -> None:
        """Ask ``prompt``, and return when it, and every steer that was taken, is answered.

        Raises the AgentFailure that the session fails of, and TurnsExceeded.
        """
        async with open_side_tasks() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(self._steer_on, rpc, scope)
                nursery.start_soon(self._permit_on, rpc, nursery, scope)
                nursery.start_soon(self._settle_on, rpc)
                await self._send(rpc, prompt)
                await self._idle.wait()
                while await self._goes_on():
                    self._idle = trio.Event()
                    with trio.move_on_after(DELIVERY_SECONDS) as limit:
                        await self._idle.wait()
                    if limit.cancelled_caught:
                        await tell_undelivered(self.reader.steers.values(), self.report)
                        self.reader.steers.clear()
                await self._conclude(rpc)
        if self._failure is not None:
            raise self._failure

    async def _send(self, rpc: JsonRpc, prompt: TextPrompt, **more: Any) -> str:
        params = {"sessionId": self.session_id, **prompt_params(prompt), **more}
        answer = await rpc.request("session.send", params, timeout_seconds=REQUEST_SECONDS)
        return str(answer.get("messageId")) if isinstance(answer, Mapping) else ""

    async def _goes_on(self) -> bool:
        """Whether a steer is still to be taken up, or one has set the session to work again."""
        async with self._steering:
            if self._exceeded() or self.reader.error:
                return False
            return bool(self.reader.steers) or not self.reader.idle

    async def _settle_on(self, rpc: JsonRpc) -> None:
        """Notice the end where the server does not tell it: a steer puts commands that run into
        the background, and if several end there it never says that the session is idle."""
        reader = self.reader
        while True:
            await self._resting.wait()
            self._resting = trio.Event()
            try:
                await rpc.request("session.tasks.waitForPending", {"sessionId": self.session_id})
            except AgentFailure:
                return  # a server that cannot tell
            await trio.sleep(SETTLE_SECONDS)
            if reader.resting and not reader.idle:
                await self.told("session.event", _settled(self.session_id))

    async def _conclude(self, rpc: JsonRpc) -> None:
        if self.reader.error:
            raise failure_of_error(self.reader.error, stderr=self.process.stderr)
        if self.reader.idle:
            return
        with trio.move_on_after(INTERRUPT_SECONDS):
            await rpc.request("session.abort", {"sessionId": self.session_id})
        raise TurnsExceeded(
            f"Copilot wanted to go on after turns_max={self.turns_max} answers of the model",
            provider=PROVIDER,
        )

    def _exceeded(self) -> bool:
        reader, limit = self.reader, self.turns_max
        return limit is not None and reader.turns >= limit and reader.asks_again

    # ---- permissions: asked for by notifications, answered by requests of ours ----

    async def _permit_on(
        self, rpc: JsonRpc, nursery: trio.Nursery, block: trio.CancelScope
    ) -> None:
        while True:
            await self._permit_asked.wait()
            self._permit_asked = trio.Event()
            permits, self._permits = self._permits, []
            for data in permits:
                nursery.start_soon(self._permit, rpc, data, block)

    async def _permit(self, rpc: JsonRpc, data: Mapping[str, Any], block: trio.CancelScope) -> None:
        request = data.get("permissionRequest")
        request = request if isinstance(request, Mapping) else {}
        try:
            assert self.decisions is not None, "there are decisions once there is a session"
            call = self._asked.named(asked_call(request, self.reader.calls))
            self.effects[call.tool_call_id] = request_effect(request, self.directory)
            decision = await decide_foreign(self.decisions, self.report, call)
            answer = {
                "sessionId": self.session_id,
                "requestId": data.get("requestId"),
                "result": permission_result(decision),
            }
            await rpc.request(
                "session.permissions.handlePendingPermissionRequest",
                answer,
                timeout_seconds=REQUEST_SECONDS,
            )
        except Exception as error:  # raised where the block is left
            self._failure = self._failure or error
            block.cancel()

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
            self._failure = self._failure or error
            block.cancel()

    async def _steer(self, rpc: JsonRpc, steer: ReadSteer) -> None:
        """Say it at once: a running command goes to the background, an idle session begins anew."""
        id = await self._send(rpc, steer.prompt, mode="immediate")
        if id in self.reader.said:  # told before the answer was
            await self.report.emit(*steer.sent())
        else:
            self.reader.steers[id] = steer


def _settled(session_id: str | None) -> dict[str, Any]:
    return {"sessionId": session_id, "event": {"type": "session.idle", "data": {}}}
