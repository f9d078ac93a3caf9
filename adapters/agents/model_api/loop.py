"""The loop of an agent that asks a model API: ask, execute the calls, ask again.

It keeps no state of its own that a run depends on. Where a run is follows from its session's log,
so the agent may be called again from its beginning, by another process too, and goes on where the
log ends: an approval that was answered executes its call, a call that was begun and has no result
is answered as interrupted and not executed again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.errors import InvalidArgument, MoorageError
from moorage.runtime.messages import input_messages
from moorage.runtime.telling import PendingCall

from ..provider.approvals import ToolCall
from ..provider.deltas import DeltaStream
from ..provider.failures import AgentFailure, ProviderNotConfigured, TurnsExceeded
from ..provider.settings import AgentSettings, changes_to_record, resolve
from ..tools.execution import execute_calls
from .asking import Asking
from .progress import Progress, recorded_progress
from .reply import cut_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moorage.runtime.agents import RunContext, Steer
    from moorage.runtime.messages import Message
    from moorage.runtime.runs import RunRequest
    from moorage.runtime.transcript import Transcript

    from .answering import ModelApi
    from .options import LoopParts
    from .reply import Reply

TURNS_MAX = 100
"""How often a model is asked in one run if nobody says otherwise."""

INTERRUPTED = (
    "interrupted: the process ended while this call was executed, so its outcome is unknown; find "
    "out what it did before you try again"
)

CUT = (
    "the answer was cut off at its limit of tokens before the arguments of this call were whole, "
    "so it was not executed: call again with shorter arguments, in several steps if need be"
)

UNFINISHED_REASONS = frozenset({"pause_turn"})
"""Reasons to stop after which the model wants to be asked again without anything new."""


class Loop:
    """One call of the agent, for one run."""

    def __init__(
        self,
        parts: LoopParts,
        api: ModelApi,
        request: RunRequest,
        context: RunContext,
    ) -> None:
        self._parts = parts
        self._api = api
        self._request = request
        self._context = context
        self._metadata = {"provider": api.provider}
        self._settings = AgentSettings()
        self._progress = Progress()
        self._steers: list[Steer] = []
        self._asking: Asking

    async def run(self) -> dict[str, Any]:
        """The run's output. Raises AgentFailure and InvalidArgument."""
        hooks, context, request = self._parts.hooks, self._context, self._request
        await hooks.started(context, request)
        try:
            output = await self._run()
        except trio.Cancelled:
            self._keep_steers()
            raise
        except Exception as error:
            if isinstance(error, AgentFailure):
                await self._emit("error_occurred", error.event())
            await hooks.ended(context, request, error)
            raise
        await hooks.ended(context, request, output)
        return output

    async def _run(self) -> dict[str, Any]:
        self._context.accept_steers()
        transcript = await self._parts.transcripts.read(self._context.session)
        calls = await self._begin(transcript)
        seconds = self._parts.coalesce_seconds
        async with (
            self._asking.opened(transcript),
            DeltaStream(self._context, seconds, metadata=self._metadata) as deltas,
        ):
            while True:
                if calls:
                    await self._settle(calls)
                await self._take_steers()
                if self._is_over():
                    break
                calls = await self._ask(deltas)
        return await self._finish()

    async def _begin(self, transcript: Transcript) -> Sequence[PendingCall]:
        """Record what was said and how, unless that is done; return calls that are left."""
        messages = input_messages(self._request.input)
        recorded = transcript.settings
        self._settings = resolve(
            self._parts.settings, self._request.input, recorded, provider=self._api.provider
        )
        self._asking = Asking(
            self._parts, self._api, self._settings, self._model(), self._context, self._emit
        )
        self._progress = await recorded_progress(self._request, self._context)
        pending: Sequence[PendingCall] = []
        if self._progress.sent >= len(messages):
            pending = transcript.pending_calls(self._context.run_id)
        else:
            for message in messages:
                await self._say(message)
        await self._record_settings(recorded)
        return pending

    def _model(self) -> str:
        if not self._settings.model:
            raise ProviderNotConfigured(
                f"{self._api.provider} needs the name of a model: give the agent model=..., or the "
                "run's input options with a model",
                provider=self._api.provider,
            )
        return self._settings.model

    async def _say(self, message: Message, **more: Any) -> None:
        content = message.content
        if message.role == "user":
            content = await self._parts.hooks.prompted(self._context, content)
        await self._emit("message_sent", {"role": message.role, "content": content, **more})

    async def _record_settings(self, recorded: Mapping[str, Any]) -> None:
        changed = changes_to_record(
            self._settings, recorded, provider=self._api.provider, tools=list(self._parts.tools)
        )
        if changed:
            await self._emit("conversation_configured", changed)

    async def _settle(self, calls: Sequence[PendingCall]) -> None:
        """Give every call its result. Ends the task where somebody has to be asked first."""
        rest: list[ToolCall] = []
        cut_id = cut_call(self._progress.last or {})
        for pending in calls:
            call = ToolCall(pending.tool_call_id, pending.tool_name, pending.tool_input)
            if call.tool_call_id == cut_id:
                if not pending.started:
                    await self._emit("tool_call_started", call.data())
                await self._fail(call, "tool_call_cut", CUT)
            elif pending.started:
                await self._fail(call, "tool_interrupted", INTERRUPTED)
            else:
                rest.append(call)
        if rest:
            await self._execute(rest)

    async def _fail(self, call: ToolCall, code: str, message: str) -> None:
        data = {"tool_call_id": call.tool_call_id, "tool_name": call.tool_name}
        await self._emit("tool_call_failed", {**data, "error": {"code": code, "message": message}})

    async def _execute(self, calls: Sequence[ToolCall]) -> None:
        parts = self._parts
        await execute_calls(
            calls,
            parts.tools,
            self._context,
            parts.hooks,
            request=self._request,
            permission_mode=self._settings.permission_mode or "default",
            approval_timeout_seconds=parts.approval_timeout_seconds,
            approval_default=parts.approval_default,
            hold=False,
            limits=parts.tool_limits,
            skip=self._is_steered,
            metadata=self._metadata,
        )

    def _is_steered(self) -> bool:
        """Whether something was said on the way that comes before calls not started yet."""
        self._steers += self._context.take_steers()
        return bool(self._steers)

    async def _take_steers(self) -> bool:
        """Bring in what was said to the run on its way; whether there was anything."""
        if self._is_over() and self._progress.turns >= self._turns_max:
            return False  # nothing could come of it here, so it becomes a run of its own
        self._steers += self._context.take_steers()
        steered = bool(self._steers)
        while self._steers:
            steer = self._steers[0]
            try:
                for message in input_messages(steer.message):
                    await self._say(message, steer_id=steer.id)
            except InvalidArgument as error:
                data = {"code": "steer_invalid", "category": "request", "retryable": False}
                await self._emit("error_occurred", {**data, "message": str(error)})
            del self._steers[0]
        return steered

    def _keep_steers(self) -> None:
        """Record what was taken and not brought in yet: the run ends here, or goes on later."""
        with contextlib.suppress(MoorageError):  # the log has no room, or a message says nothing
            for steer in self._steers:
                for message in input_messages(steer.message):
                    data = {"role": message.role, "content": message.content, "steer_id": steer.id}
                    self._context.emit_nowait("message_sent", data, metadata=self._metadata)

    def _is_over(self) -> bool:
        """Whether the model has said its last word."""
        last = self._progress.last
        return (
            last is not None
            and not self._progress.said
            and not last.get("tool_calls")
            and last.get("stop_reason") not in UNFINISHED_REASONS
        )

    @property
    def _turns_max(self) -> int:
        return self._settings.turns_max or TURNS_MAX

    async def _ask(self, deltas: DeltaStream) -> Sequence[PendingCall]:
        """Ask the model, record its answer, and return the calls that it makes."""
        if self._progress.turns >= self._turns_max:
            raise TurnsExceeded(
                f"the model wanted to go on after {self._progress.turns} turns "
                f"(turns_max {self._turns_max})",
                provider=self._api.provider,
            )
        asking = self._asking
        reply = await asking.answer(deltas)
        await deltas.flush()
        reply = reply.with_new_ids(
            self._progress.call_ids, f"{self._context.run_id}:{self._progress.turns + 1}"
        )
        asking.continuing.answered(reply)
        await self._emit("message_received", reply.data(), **self._origin(reply))
        await asking.record_usage(reply)
        return [PendingCall(**call, started=False, request_id=None) for call in reply.tool_calls]

    async def _finish(self) -> dict[str, Any]:
        """Record the end, unless that is done, and return the run's output."""
        last = self._progress.last or {}
        stop_reason = last.get("stop_reason") or ""
        if not self._progress.ended:
            data = {"stop_reason": stop_reason, "turns": self._progress.turns}
            await self._emit("turn_completed", data)
        await self._asking.continuing.save()
        output = {
            "content": last.get("content", ""),
            "stop_reason": stop_reason,
            "provider": self._api.provider,
            "model": last.get("model") or self._asking.model,
            "turns": self._progress.turns,
        }
        if self._asking.continuing.previous is not None:
            output["provider_session"] = self._asking.continuing.previous
        return output

    def _origin(self, reply: Reply) -> dict[str, Any]:
        origin = {
            "provider_time_ns": reply.time_ns,
            "provider_session": self._asking.continuing.previous,
        }
        return {name: value for name, value in origin.items() if value is not None}

    async def _emit(self, type: str, data: dict[str, Any], **metadata: Any) -> None:
        await self._context.emit(type, data, metadata={**self._metadata, **metadata})
        self._progress.apply(type, data)
