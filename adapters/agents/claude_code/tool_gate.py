"""ToolGate: what Claude Code asks before and after it uses a tool, answered by hooks and people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..provider.approvals import (
    ApprovalDefault,
    Decision,
    ToolCall,
    request_approval,
)
from ..provider.hooks import Allow, Deny, Hooks, ToolResult
from ..provider.settings import PermissionMode
from ..tools.gate import mode_verdict
from . import mapping
from .own_tools import OwnTools

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..tools import Tool
    from .emitting import Emitter
    from .messages import MessageReader

HOOK_SECONDS_MAX = 3600.0
"""How long Claude Code waits for a hook of ours; the run's own timeout is the real limit."""

HookOutput = dict[str, Any]


@attrs.frozen(kw_only=True)
class ApprovalRules:
    """How permissions are decided where no hook does. With ``allow_all`` nobody is asked."""

    mode: PermissionMode
    allow_all: bool
    timeout_seconds: float | None
    default: ApprovalDefault


class ToolGate:
    """Answers for one run. ``own`` are our own tools, which say themselves whether to ask."""

    def __init__(
        self,
        context: RunContext,
        request: RunRequest,
        hooks: Hooks,
        reader: MessageReader,
        emitter: Emitter,
        *,
        rules: ApprovalRules,
        own: Mapping[str, Tool],
    ) -> None:
        self._context = context
        self._request = request
        self._hooks = hooks
        self._reader = reader
        self._emitter = emitter
        self._rules = rules
        self._own = own
        self._taken: set[str] = set()

    async def permit(self, name: str, tool_input: dict[str, Any], call_id: str) -> Decision:
        """Whether a call may run; Claude Code asks for those that its own rules do not decide."""
        call = ToolCall(call_id, mapping.own_name(name), tool_input)
        await self._emitter.emit(self._reader.call_started(call.data(), trio.current_time()))
        await self._emitter.flush()  # whoever is asked has read what the model said before
        decision = await self._decide(call)
        if not decision.approved:
            self._reader.call_denied(call_id)
        return decision

    async def _decide(self, call: ToolCall) -> Decision:
        opinion = await self._hooks.decide(self._context, call)
        by = None if opinion is None else "hook"
        if opinion is None and (tool := self._own.get(call.tool_name)) is not None:
            opinion = mode_verdict(self._rules.mode, tool, call.tool_input)
        if isinstance(opinion, Deny):
            return Decision(False, opinion.reason, by=by)
        if isinstance(opinion, Allow) or self._rules.allow_all:
            return Decision(True, by=by)
        return await request_approval(
            self._context,
            self._request,
            call,
            hold=True,  # Claude Code cannot be left in the middle of a turn
            timeout_seconds=self._rules.timeout_seconds,
            default=self._rules.default,
            metadata=self._reader.metadata(),
            taken=self._taken,
        )

    async def before(self, asked: Mapping[str, Any]) -> HookOutput:
        """The output of a PreToolUse hook."""
        call = _call(asked)
        decided = await self._hooks.before(self._context, call)
        if isinstance(decided, Deny):
            self._reader.call_denied(call.tool_call_id)
            return _specific(
                "PreToolUse", permissionDecision="deny", permissionDecisionReason=decided.reason
            )
        if decided.tool_input != call.tool_input:
            return _specific("PreToolUse", updatedInput=decided.tool_input)
        return {}

    async def after(self, asked: Mapping[str, Any]) -> HookOutput:
        """The output of a PostToolUse or PostToolUseFailure hook."""
        event = str(asked.get("hook_event_name"))
        if str(asked.get("tool_name")).startswith(mapping.TOOL_PREFIX):
            return {}  # our own tools have called the hooks already
        failed = event == "PostToolUseFailure"
        output = asked.get("error") if failed else asked.get("tool_response")
        code = "tool_failed" if failed else None
        result = ToolResult(_call(asked), mapping.tool_output(output), failed, code)
        replaced = await self._hooks.after(self._context, result)
        if replaced is result:
            return {}
        if failed:  # an error cannot be replaced, but it can be explained
            return _specific(event, additionalContext=str(replaced.output))
        return _specific(event, updatedToolOutput=replaced.output)


@attrs.frozen(kw_only=True)
class Answers:
    """Who answers what Claude Code asks in the middle of a run.

    ``asks``: whether it asks for permissions at all. ``hooks``: its hook events -> who answers
    them. ``tools`` are those that we offer.
    """

    gate: ToolGate
    asks: bool
    hooks: Mapping[str, Callable[[Any], Awaitable[HookOutput]]]
    tools: OwnTools


def hook_table(
    gate: ToolGate, hooks: Hooks
) -> Mapping[str, Callable[[Any], Awaitable[HookOutput]]]:
    """Claude Code's hook events -> what answers them, for the hooks that there are."""
    table: dict[str, Callable[[Any], Awaitable[HookOutput]]] = {}
    if hooks.before_tool:
        table["PreToolUse"] = gate.before
    if hooks.after_tool:
        table["PostToolUse"] = gate.after
        table["PostToolUseFailure"] = gate.after
    return table


def _call(asked: Mapping[str, Any]) -> ToolCall:
    name = mapping.own_name(str(asked.get("tool_name")))
    return ToolCall(str(asked.get("tool_use_id")), name, asked.get("tool_input"))


def _specific(event: str, **output: Any) -> HookOutput:
    return {"hookSpecificOutput": {"hookEventName": event, **output}}
