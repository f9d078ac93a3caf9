"""Hooks: async functions of the user's, called at fixed points of a run.

A hook that raises, or that returns what it may not, counts as one without a result; a permission
handler that does counts as a denial. Either is reported as ``error_occurred`` with the code
``hook_failed``. Hooks of one kind are called one after the other, in the order of their list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import structlog
from moorage.runtime.errors import InvalidArgument

from .approvals import ToolCall

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

MESSAGE_CHARS_MAX = 4_096

logger = structlog.get_logger("moorage")


@attrs.frozen
class Allow:
    """A permission handler lets the call run without asking."""


@attrs.frozen
class Deny:
    """The call does not run; the model is told ``reason``."""

    reason: str = "it was denied"


@attrs.frozen
class Ask:
    """A permission handler wants somebody to be asked."""


@attrs.frozen
class ChangeInput:
    """The call runs with ``input`` in place of what the model gave."""

    input: Any


@attrs.frozen
class ReplaceResult:
    """The model gets ``output``, as an error if ``is_error``, in place of the tool's result."""

    output: Any
    is_error: bool = False


@attrs.frozen
class ToolResult:
    """What the model is given for ``call``: plain ``output``, and for an error its ``code``."""

    call: ToolCall
    output: Any
    is_error: bool = False
    code: str | None = None

    @property
    def tool_call_id(self) -> str:
        return self.call.tool_call_id

    @property
    def tool_name(self) -> str:
        return self.call.tool_name


PromptHook = Callable[[Any], Awaitable[Any]]
StartHook = Callable[["RunRequest"], Awaitable[object]]
EndHook = Callable[["RunRequest", Any], Awaitable[object]]
BeforeTool = Callable[[ToolCall], Awaitable["Deny | ChangeInput | None"]]
AfterTool = Callable[[ToolCall, ToolResult], Awaitable["ReplaceResult | None"]]
PermissionHandler = Callable[[ToolCall], Awaitable["Allow | Deny | Ask | None"]]


def _functions(_: object, attribute: attrs.Attribute[Any], value: Sequence[Any]) -> None:
    for function in value:
        if not callable(function):
            raise InvalidArgument(
                f"hooks.{attribute.name} must be a list of async functions, not of {function!r}"
            )


@attrs.define(kw_only=True)
class Hooks:
    """Lists of async functions; the methods are for the agents that call them.

    - ``prompt(content)``: what the user said (text or blocks), before the model gets it; what it
      returns, unless None, takes its place.
    - ``start(request)`` and ``end(request, result)``: ``result`` is the run's output, or the
      exception it ends with.
    - ``before_tool(call)``: None, ``Deny(reason)`` or ``ChangeInput(input)``.
    - ``after_tool(call, result)``: None or ``ReplaceResult(output)``; of calls that were executed.
    - ``permission(call)``: ``Allow()``, ``Deny(reason)``, ``Ask()``, or None for no opinion; the
      first opinion counts.

    A run that is parked and answered calls the hooks of the waiting calls again.
    """

    prompt: list[PromptHook] = attrs.field(factory=list, validator=_functions)
    start: list[StartHook] = attrs.field(factory=list, validator=_functions)
    end: list[EndHook] = attrs.field(factory=list, validator=_functions)
    before_tool: list[BeforeTool] = attrs.field(factory=list, validator=_functions)
    after_tool: list[AfterTool] = attrs.field(factory=list, validator=_functions)
    permission: list[PermissionHandler] = attrs.field(factory=list, validator=_functions)

    async def prompted(self, context: RunContext, content: Any) -> Any:
        """What the model is to get for ``content``, a str or a list of blocks."""
        for hook in self.prompt:
            result = await _result(context, "prompt", hook, (str, list, type(None)), content)
            content = content if result is None or result is _FAILED else result
        return content

    async def started(self, context: RunContext, request: RunRequest) -> None:
        for hook in self.start:
            await _result(context, "start", hook, None, request)

    async def ended(self, context: RunContext, request: RunRequest, result: Any) -> None:
        for hook in self.end:
            await _result(context, "end", hook, None, request, result)

    async def before(self, context: RunContext, call: ToolCall) -> ToolCall | Deny:
        """The call as the hooks want it to be, or the first denial."""
        for hook in self.before_tool:
            kinds = (Deny, ChangeInput, type(None))
            result = await _result(context, "before_tool", hook, kinds, call)
            if isinstance(result, Deny):
                return result
            if isinstance(result, ChangeInput):
                call = attrs.evolve(call, tool_input=result.input)
        return call

    async def after(self, context: RunContext, result: ToolResult) -> ToolResult:
        """The result as the hooks want it to be; its output is not checked yet."""
        for hook in self.after_tool:
            kinds = (ReplaceResult, type(None))
            replaced = await _result(context, "after_tool", hook, kinds, result.call, result)
            if isinstance(replaced, ReplaceResult):
                code = "tool_result_replaced" if replaced.is_error else None
                result = ToolResult(result.call, replaced.output, replaced.is_error, code)
        return result

    async def decide(self, context: RunContext, call: ToolCall) -> Allow | Deny | Ask | None:
        """The first opinion of the permission handlers."""
        for hook in self.permission:
            kinds = (Allow, Deny, Ask, type(None))
            result = await _result(context, "permission", hook, kinds, call)
            if result is _FAILED:
                return Deny("the permission handler failed")
            if result is not None:
                return result  # type: ignore[no-any-return]
        return None


_FAILED = object()


async def _result(
    context: RunContext,
    kind: str,
    hook: Callable[..., Awaitable[Any]],
    kinds: tuple[type, ...] | None,
    *arguments: Any,
) -> Any:
    """What the hook returns, or _FAILED; with ``kinds`` None whatever it returns is dropped."""
    name = getattr(hook, "__qualname__", repr(hook))
    try:
        result = await hook(*arguments)
        if kinds is not None and not isinstance(result, kinds):
            allowed = ", ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"it returned {result!r:.200}, which is none of {allowed}")
    except Exception as error:  # a hook's failure is not the run's
        logger.warning("hook_failed", kind=kind, hook=name, exc_info=error)
        message = f"the {kind} hook {name} failed: {type(error).__name__}: {error}"
        await context.emit(
            "error_occurred",
            {
                "code": "hook_failed",
                "category": "configuration",
                "message": message[:MESSAGE_CHARS_MAX].encode("utf-8", "replace").decode(),
                "retryable": False,
            },
        )
        return _FAILED
    return None if kinds is None else result
