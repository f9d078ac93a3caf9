"""Whether a call may run: hooks, permission modes, and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.runs import RunRequest

from ..provider.approvals import ApprovalDefault, ToolCall, request_approval
from ..provider.hooks import Allow, Ask, Deny, Hooks
from ..provider.settings import PermissionMode
from .definition import parse_input

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext

    from .definition import Tool

_NEVER_ASKING = ("full_auto", "dangerously_skip_permissions")


@attrs.define(kw_only=True)
class Gate:
    """How calls of one run are let through; ``hold`` and what follows is for ``request_approval``.

    ``parking`` says that the run is being parked, if it is cancelled now.
    """

    request: RunRequest
    mode: PermissionMode
    hold: bool
    timeout_seconds: float | None
    default: ApprovalDefault
    metadata: dict[str, Any] | None = None
    parking: bool = attrs.field(default=False, init=False)

    async def admit(
        self, call: ToolCall, tool: Tool, context: RunContext, hooks: Hooks
    ) -> ToolCall | Deny:
        """The call as it is to run, or why it may not.

        ``before_tool`` hooks come first; then the mode and the permission handlers decide; then,
        if that is the decision, somebody is asked, which may end the task (see ``hold``).
        """
        admitted = await hooks.before(context, call)
        if isinstance(admitted, Deny):
            return admitted
        verdict = await self._verdict(admitted, tool, context, hooks)
        if isinstance(verdict, Deny):
            return verdict
        if isinstance(verdict, Allow):
            return admitted
        self.parking = not self.hold
        decision = await request_approval(
            context,
            self.request,
            admitted,
            hold=self.hold,
            timeout_seconds=self.timeout_seconds,
            default=self.default,
            metadata=self.metadata,
        )
        self.parking = False
        if not decision.approved:
            return Deny(decision.reason or "the user denied it")
        if decision.tool_input is None:
            return admitted
        return attrs.evolve(admitted, tool_input=decision.tool_input)

    async def _verdict(
        self, call: ToolCall, tool: Tool, context: RunContext, hooks: Hooks
    ) -> Allow | Deny | Ask:
        verdict = mode_verdict(self.mode, tool, call.tool_input)
        if isinstance(verdict, Deny) or self.mode == "dangerously_skip_permissions":
            return verdict
        opinion = await hooks.decide(context, call)
        if isinstance(opinion, Ask) and self.mode in _NEVER_ASKING:
            return Allow()
        return verdict if opinion is None else opinion


def mode_verdict(mode: PermissionMode, tool: Tool, tool_input: Any) -> Allow | Ask | Deny:
    """What a permission mode alone says about a call of ``tool``."""
    if mode in _NEVER_ASKING:
        return Allow()
    if mode == "plan" and not tool.reads_only:
        return Deny(
            f"{tool.name} is not marked as only reading, and nothing else runs while a plan is "
            "made: describe what you would do"
        )
    if mode == "accept_edits" and tool.edits:
        return Allow()
    read = parse_input(tool_input) if type(tool_input) is str else tool_input
    return Ask() if tool.asks(read) else Allow()
