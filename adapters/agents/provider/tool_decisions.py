"""ToolDecisions: whether a tool may run, asked of hooks, of the permission mode, then of people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs
from moorage.runtime.agents import RunContext
from moorage.runtime.runs import RunRequest

from .approvals import ApprovalDefault, Decision, ToolCall, request_approval
from .hooks import Allow, Ask, Deny, Hooks, ToolResult
from .settings import PermissionMode

ToolEffect = Literal["reads", "edits", "other"]

ALLOWED: dict[str, frozenset[ToolEffect]] = {
    "default": frozenset(),
    "accept_edits": frozenset({"edits"}),
    "plan": frozenset({"reads"}),
    "full_auto": frozenset({"reads", "edits", "other"}),
    "dangerously_skip_permissions": frozenset({"reads", "edits", "other"}),
}
"""Permission mode -> effects of the tools that run without anybody being asked."""


@attrs.frozen(kw_only=True)
class ToolDecisions:
    """Decides for one run of a program that cannot be left in the middle of a turn.

    ``effect`` says what a call does; with ``reads_free`` what only reads runs in every mode.
    """

    context: RunContext
    request: RunRequest
    hooks: Hooks
    mode: PermissionMode
    effect: Callable[[ToolCall], ToolEffect]
    timeout_seconds: float | None
    default: ApprovalDefault
    reads_free: bool = False
    metadata: dict[str, Any] | None = None
    _taken: set[str] = attrs.field(factory=set, init=False)

    async def decide(self, call: ToolCall) -> Decision:
        """Whether ``call`` may run, and with which input if not with its own.

        The first of these that has an opinion counts: the hooks before a tool, which may deny or
        change the input; the permission handlers; the mode; whoever answers the approval. The
        ``tool_input`` of the decision is None if nothing changes it.
        """
        checked = await self.hooks.before(self.context, call)
        if isinstance(checked, Deny):
            return Decision(False, checked.reason, by="hook")
        changed = None if checked.tool_input == call.tool_input else checked.tool_input
        opinion = await self.hooks.decide(self.context, checked)
        if isinstance(opinion, Deny):
            return Decision(False, opinion.reason, by="hook")
        if isinstance(opinion, Allow):
            return Decision(True, tool_input=changed, by="hook")
        if not isinstance(opinion, Ask):
            effect = self.effect(checked)
            if effect in ALLOWED[self.mode] or (self.reads_free and effect == "reads"):
                return Decision(True, tool_input=changed)
            if self.mode == "plan":
                return Decision(False, "in plan mode only tools that read may run", by="mode")
        decision = await request_approval(
            self.context,
            self.request,
            checked,
            hold=True,
            timeout_seconds=self.timeout_seconds,
            default=self.default,
            metadata=self.metadata,
            taken=self._taken,
        )
        if decision.approved and decision.tool_input is None and changed is not None:
            return attrs.evolve(decision, tool_input=changed)
        return decision

    async def replaced(self, call: ToolCall, output: Any, *, is_error: bool) -> ToolResult | None:
        """What the hooks after a tool put in place of its result, or None if they leave it."""
        before = ToolResult(call, output, is_error, "tool_failed" if is_error else None)
        after = await self.hooks.after(self.context, before)
        return None if after is before else after
