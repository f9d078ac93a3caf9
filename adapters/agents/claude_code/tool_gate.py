"""ToolGate: what Claude Code asks before and after it uses a tool, answered by hooks and people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.runs import approval_request

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
from .putting_off import MARK, UNASKED, PutOff, keep_from_others

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..tools import Tool
    from .emitting import Emitter
    from .messages import MessageReader

HOOK_SECONDS_MAX = 3600.0
"""How long Claude Code waits for a hook of ours; the run's own timeout is the real limit."""

WHOLE_SECONDS = 30.0
"""How long a call waits for the end of its message before it is asked for in its slot."""

HookOutput = dict[str, Any]


@attrs.frozen(kw_only=True)
class ApprovalRules:
    """How permissions are decided where no hook does. With ``allow_all`` nobody is asked."""

    mode: PermissionMode
    allow_all: bool
    timeout_seconds: float | None
    default: ApprovalDefault
    parks: bool = False
    """Whether calls are put off until they are answered, where that can be done."""


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
        put_off: PutOff | None = None,
    ) -> None:
        self._context = context
        self._request = request
        self._hooks = hooks
        self._reader = reader
        self._emitter = emitter
        self._rules = rules
        self._own = own
        self._taken: set[str] = set()
        self._put_off = put_off
        self._told = trio.lowlevel.ParkingLot()
        self.parking = False
        """Whether the run is being parked: Claude Code is to end as it is."""

    @property
    def parks(self) -> bool:
        return self._rules.parks

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
        if self._put_off is not None and self._is_put_off(call):
            return await self._park(self._put_off)
        return await request_approval(
            self._context,
            self._request,
            call,
            hold=True,  # else Claude Code cannot be left in the middle of a turn
            timeout_seconds=self._rules.timeout_seconds,
            default=self._rules.default,
            metadata=self._reader.metadata(),
            taken=self._taken,
        )

    async def _park(self, put_off: PutOff) -> Decision:
        """What was answered. Without an answer this ends Claude Code and parks the run."""
        name = approval_request(self._context.run_id, put_off.call.tool_call_id)[1]
        if name not in self._request.answers:
            await keep_from_others(self._context, put_off.session)
            self.parking = True
        return await request_approval(
            self._context,
            self._request,
            put_off.call,
            hold=False,
            timeout_seconds=self._rules.timeout_seconds,
            default=self._rules.default,
            metadata={**self._reader.metadata(), "provider_session": put_off.session, MARK: True},
        )

    def heard(self) -> None:
        """The reader has read on."""
        self._told.unpark_all()

    async def _can_be_put_off(self, asked: Mapping[str, Any], call: ToolCall) -> bool:
        """Whether the call may wait while Claude Code does not run.

        Not one of a subagent, and none of several in one message: of those it would put off the
        last, and forget the others. Not one of a server of tools, ours or another: when Claude Code
        is resumed it looks for the tool before it knows them.
        """
        if (
            not self._rules.parks
            or call.tool_name in UNASKED[self._rules.mode]
            or str(asked.get("tool_name")).startswith("mcp__")
            or asked.get("agent_id")
            or self._is_put_off(call)
        ):
            return False
        with trio.move_on_after(WHOLE_SECONDS):
            while call.tool_call_id not in self._reader.calls_at_once:
                await self._told.park()
        return self._reader.calls_at_once == [call.tool_call_id]

    def _is_put_off(self, call: ToolCall) -> bool:
        return self._put_off is not None and call.tool_call_id == self._put_off.call.tool_call_id

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
        if await self._can_be_put_off(asked, call):
            return _specific("PreToolUse", permissionDecision="defer")
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
    if hooks.before_tool or gate.parks:
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
