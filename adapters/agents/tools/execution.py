"""Executing the calls that a model made in one turn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument, MoorageError

from ..provider.approvals import ApprovalDefault, ToolCall
from ..provider.hooks import Deny, Hooks, ToolResult
from .definition import Tool, ToolContext, check_timeout
from .gate import Gate
from .results import RESULT_BYTES_MAX, cut, encodable, plain, text_of
from .schema import ArgumentsInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.settings import PermissionMode

TOOLS_PARALLEL_MAX = 8
ERROR_CHARS_MAX = 8_192
"""Of what an exception says: some carry a whole document."""

SKIPPED = "skipped: the user sent a message before this call was started"
CANCELLED = "the run was cancelled before this call was finished"

logger = structlog.get_logger("moorage")


@attrs.frozen(kw_only=True)
class ToolLimits:
    """``tools_parallel_max`` calls run at once; each for at most ``timeout_seconds`` (None is no
    limit) unless its tool says otherwise; results are cut to ``result_bytes_max`` bytes. Raises
    InvalidArgument for values that are none."""

    tools_parallel_max: int = TOOLS_PARALLEL_MAX
    timeout_seconds: float | None = None
    result_bytes_max: int = RESULT_BYTES_MAX

    def __attrs_post_init__(self) -> None:
        for name in ("tools_parallel_max", "result_bytes_max"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidArgument(f"{name} must be a whole number of at least 1, not {value!r}")
        check_timeout("timeout_seconds", self.timeout_seconds)


async def execute_calls(
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool],
    context: RunContext,
    hooks: Hooks | None = None,
    *,
    request: RunRequest,
    permission_mode: PermissionMode = "default",
    approval_timeout_seconds: float | None = None,
    approval_default: ApprovalDefault = "deny",
    hold: bool = False,
    limits: ToolLimits | None = None,
    skip: Callable[[], bool] | None = None,
    metadata: dict[str, Any] | None = None,
) -> list[ToolResult]:
    """Execute ``calls`` side by side and return their results, in the order of the calls.

    First all calls are decided, one after the other: nothing runs while somebody is asked, so that
    a run which is parked and called again (``hold`` False) has executed nothing yet. Then those
    that may run are started in their order. What goes wrong with a call is its result, with
    ``is_error`` and a text for the model; only errors of the context's ``emit`` are raised.

    ``skip`` is asked before each call is decided and before it is started; once it returns True
    the calls that are left get failed results that say why.

    Each call gets ``tool_call_started`` and then exactly one ``tool_call_completed`` or
    ``tool_call_failed``, also when the run is cancelled; unless it is parked, which leaves the
    calls as they are.
    """
    turn = _Turn(
        tools,
        context,
        hooks or Hooks(),
        Gate(
            request=request,
            mode=permission_mode,
            hold=hold,
            timeout_seconds=approval_timeout_seconds,
            default=approval_default,
            metadata=metadata,
        ),
        limits or ToolLimits(),
        skip or (lambda: False),
        metadata,
    )
    return await turn.execute(calls)


class _Turn:
    """The calls of one turn and what has become of them."""

    def __init__(
        self,
        tools: Mapping[str, Tool],
        context: RunContext,
        hooks: Hooks,
        gate: Gate,
        limits: ToolLimits,
        skip: Callable[[], bool],
        metadata: dict[str, Any] | None,
    ) -> None:
        self._tools = tools
        self._context = context
        self._hooks = hooks
        self._gate = gate
        self._limits = limits
        self._skip = skip
        self._metadata = metadata
        self._started: set[int] = set()
        self._results: dict[int, ToolResult] = {}
        self._failure: Exception | None = None

    async def execute(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        decided: list[ToolCall | ToolResult] = []
        done = False
        try:
            for call in calls:
                decided.append(await self._decide(call))
            await self._run(decided)
            done = True
        finally:
            # not "except Cancelled": of several tasks it comes in a group
            if not done and not self._gate.parking:
                self._fail_rest([*decided, *calls[len(decided) :]])
        return [self._results[index] for index in range(len(calls))]

    async def _decide(self, call: ToolCall) -> ToolCall | ToolResult:
        """The call as it is to run, or the result that it has without running."""
        if (refused := _unkept(call)) is not None:
            return refused
        if self._skip():
            return _failed(call, "tool_skipped", SKIPPED)
        tool = self._tools.get(call.tool_name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            message = f"there is no tool {call.tool_name!r}: there are {known}"
            return _failed(call, "tool_unknown", message)
        if (refused := _unfit(call, tool)) is not None:
            return refused  # nobody is asked about a call that cannot run
        admitted = await self._gate.admit(call, tool, self._context, self._hooks)
        if isinstance(admitted, Deny):
            return _failed(call, "tool_denied", f"denied: {admitted.reason}")
        return _unkept(admitted) or _unfit(admitted, tool) or admitted

    async def _run(self, decided: Sequence[ToolCall | ToolResult]) -> None:
        room = trio.Semaphore(self._limits.tools_parallel_max)
        skipping = False
        async with trio.open_nursery() as nursery:
            try:
                for index, call in enumerate(decided):
                    if isinstance(call, ToolCall):
                        await room.acquire()
                        skipping = skipping or self._skip()
                        if not skipping:
                            await self._emit_started(index, call)
                            nursery.start_soon(self._run_one, index, call, room, nursery)
                            continue
                        room.release()
                        call = _failed(call, "tool_skipped", SKIPPED)
                    await self._emit_started(index, call.call)
                    await self._settle(index, call, None)
            except Exception as error:  # of emit: raised below, not in a group
                self._failure = self._failure or error
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _run_one(
        self, index: int, call: ToolCall, room: trio.Semaphore, nursery: trio.Nursery
    ) -> None:
        started_at = trio.current_time()
        try:
            # what may have effects is in the log before it has any, or a kill would hide it
            await self._context.flush()
            result = await self._hooks.after(self._context, await self._call(call))
            await self._settle(index, self._checked(result), trio.current_time() - started_at)
        except Exception as error:  # of emit, too
            self._failure = self._failure or error
            nursery.cancel_scope.cancel()
        finally:
            room.release()

    async def _call(self, call: ToolCall) -> ToolResult:
        tool = self._tools[call.tool_name]
        limit = tool.timeout_seconds or self._limits.timeout_seconds
        context = ToolContext(
            self._context.session_id, self._context.run_id, call.tool_call_id, self._context
        )
        try:
            with trio.move_on_after(float("inf") if limit is None else limit):
                arguments = tool.arguments(call.tool_input)
                return ToolResult(call, await tool.run(arguments, context))
        except Exception as error:  # the model may know what to do about it
            logger.warning("tool_raised", tool=call.tool_name, exc_info=error)
            return _failed(call, "tool_raised", f"{type(error).__name__}: {error}")
        return _failed(call, "tool_timeout", f"{tool.name} was stopped after {limit} seconds")

    def _checked(self, result: ToolResult) -> ToolResult:
        """With an output that is plain and not too large."""
        try:
            output = plain(result.output)
        except InvalidArgument as error:
            message = f"{result.tool_name} gave a result that cannot be passed on: {error}"
            return _failed(result.call, "tool_result_invalid", message)
        return attrs.evolve(result, output=cut(output, self._limits.result_bytes_max))

    # ---- events ----

    async def _emit_started(self, index: int, call: ToolCall) -> None:
        self._started.add(index)
        await self._context.emit("tool_call_started", call.data(), metadata=self._metadata)

    async def _settle(self, index: int, result: ToolResult, seconds: float | None) -> None:
        self._results[index] = result
        type, data = _ending(result, seconds)
        try:
            await self._context.emit(type, data, metadata=self._metadata)
        except Exception:  # refused; were it cancelled, the event would be there
            del self._results[index]
            raise

    def _fail_rest(self, decided: Sequence[ToolCall | ToolResult]) -> None:
        """The run is cancelled or fails: end what has not ended, without waiting."""
        with contextlib.suppress(MoorageError):  # the log has no room, or the run is over
            for index, call in enumerate(decided):
                if index in self._results:
                    continue
                result = call if isinstance(call, ToolResult) else None
                if result is None:
                    result = _failed(call, "tool_cancelled", CANCELLED)  # type: ignore[arg-type]
                if index not in self._started:
                    data = result.call.data()
                    self._context.emit_nowait("tool_call_started", data, metadata=self._metadata)
                type, data = _ending(result, None)
                self._context.emit_nowait(type, data, metadata=self._metadata)


def _unkept(call: ToolCall) -> ToolResult | None:
    """The result of a call whose input no log can keep: JSON has larger numbers, hooks anything."""
    try:
        pack(call.tool_input, "arguments")
    except InvalidArgument as error:
        shown = attrs.evolve(call, tool_input=encodable(repr(call.tool_input)[:ERROR_CHARS_MAX]))
        return _failed(shown, "tool_arguments_invalid", str(error))
    return None


def _unfit(call: ToolCall, tool: Tool) -> ToolResult | None:
    """The result of a call whose input its tool does not take."""
    try:
        tool.arguments(call.tool_input)
    except ArgumentsInvalid as error:
        return _failed(call, "tool_arguments_invalid", str(error))
    return None


def _failed(call: ToolCall, code: str, message: str) -> ToolResult:
    return ToolResult(call, encodable(message[:ERROR_CHARS_MAX]), True, code)


def _ending(result: ToolResult, seconds: float | None) -> tuple[str, dict[str, Any]]:
    data = {"tool_call_id": result.tool_call_id, "tool_name": result.tool_name}
    if result.is_error:
        error = {"code": result.code or "tool_failed", "message": text_of(result.output)}
        return "tool_call_failed", {**data, "error": error}
    completed: dict[str, Any] = {**data, "tool_output": result.output}
    if seconds is not None:
        completed["duration_seconds"] = seconds
    return "tool_call_completed", completed
