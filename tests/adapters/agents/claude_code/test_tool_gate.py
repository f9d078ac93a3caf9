from __future__ import annotations

import pytest
from moorage.adapters.agents.claude_code.emitting import Emitter
from moorage.adapters.agents.claude_code.messages import MessageReader
from moorage.adapters.agents.claude_code.tool_gate import ApprovalRules, ToolGate, hook_table
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.hooks import (
    Allow,
    Ask,
    ChangeInput,
    Deny,
    Hooks,
    ReplaceResult,
)
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.agents.tools import tool


@tool
async def look(path: str) -> str:
    """Look."""
    return path


@tool(needs_approval=True)
async def drop(what: str) -> str:
    """Drop."""
    return what


OWN = {"look": look, "drop": drop}


class Gate:
    """A gate with what it needs; ``answers`` are those of people."""

    def __init__(self, hooks=None, *, mode="default", answers=None, allow_all=False):
        self.context = RecordingContext(answers=answers)
        self.reader = MessageReader()
        self.hooks = hooks or Hooks()
        self.rules = ApprovalRules(
            mode=mode, allow_all=allow_all, timeout_seconds=0.01, default="deny"
        )

    async def use(self, function):
        async with DeltaStream(self.context, 1.0) as stream:
            gate = ToolGate(
                self.context,
                self.context.request("x"),
                self.hooks,
                self.reader,
                Emitter(self.context, stream),
                rules=self.rules,
                own=OWN,
            )
            return await function(gate)

    async def permit(self, name="Bash", tool_input=None):
        return await self.use(lambda gate: gate.permit(name, tool_input or {"a": 1}, "t1"))

    @property
    def types(self):
        return [event.type for event in self.context.events]


def always(value):
    async def hook(*arguments):
        return value

    return hook


async def test_without_an_opinion_people_are_asked_once_the_call_has_been_told(autojump_clock):
    gate = Gate(answers={"approval:t1": {"approved": True, "by": "me"}})

    decision = await gate.permit()

    assert decision.approved
    assert gate.types == ["tool_call_started", "tool_approval_requested", "tool_approval_granted"]


async def test_a_decision_that_nobody_makes_is_the_default(autojump_clock):
    decision = await Gate().permit()

    assert not decision.approved
    assert decision.by == "timeout"


@pytest.mark.parametrize(
    ("opinion", "approved"), [(Allow(), True), (Deny("no"), False), (Ask(), False)]
)
async def test_a_permission_handler_decides_first(autojump_clock, opinion, approved):
    gate = Gate(Hooks(permission=[always(opinion)]))

    decision = await gate.permit()

    assert decision.approved is approved
    assert ("tool_approval_requested" in gate.types) is isinstance(opinion, Ask)


async def test_a_mode_that_allows_all_asks_nobody(autojump_clock):
    gate = Gate(Hooks(permission=[always(Ask())]), mode="full_auto", allow_all=True)

    assert (await gate.permit()).approved
    assert gate.types == ["tool_call_started"]


@pytest.mark.parametrize(
    ("name", "mode", "approved", "asked"),
    [
        ("mcp__moorage__look", "default", True, False),
        ("mcp__moorage__drop", "default", False, True),
        ("mcp__moorage__drop", "full_auto", True, False),
        ("mcp__moorage__look", "plan", False, False),
    ],
)
async def test_our_own_tools_say_whether_to_ask(autojump_clock, name, mode, approved, asked):
    gate = Gate(mode=mode)

    decision = await gate.permit(name)

    assert decision.approved is approved
    assert ("tool_approval_requested" in gate.types) is asked


async def test_a_denied_call_is_known_as_such_when_its_result_comes(autojump_clock):
    gate = Gate(Hooks(permission=[always(Deny("no"))]))
    await gate.permit()
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}

    ((type, data, _),) = gate.reader.feed({"type": "user", "message": {"content": [block]}}, 0.0)

    assert (type, data["error"]["code"]) == ("tool_call_failed", "denied")


ASKED = {
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_use_id": "t1",
    "tool_input": {"command": "ls"},
}


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, {}),
        (
            Deny("no secrets"),
            {
                "hookSpecificOutput": {
                    "hookEventName": "PreToolUse",
                    "permissionDecision": "deny",
                    "permissionDecisionReason": "no secrets",
                }
            },
        ),
        (
            ChangeInput({"command": "pwd"}),
            {
                "hookSpecificOutput": {
                    "hookEventName": "PreToolUse",
                    "updatedInput": {"command": "pwd"},
                }
            },
        ),
    ],
)
async def test_hooks_before_a_tool_deny_it_or_change_its_input(autojump_clock, result, output):
    gate = Gate(Hooks(before_tool=[always(result)]))

    assert await gate.use(lambda one: one.before(ASKED)) == output


async def test_a_hook_before_a_tool_that_fails_has_no_opinion(autojump_clock):
    async def fail(call):
        raise ValueError("broken")

    gate = Gate(Hooks(before_tool=[fail]))

    assert await gate.use(lambda one: one.before(ASKED)) == {}
    assert gate.types == ["error_occurred"]


async def test_hooks_after_a_tool_see_its_result_and_replace_it(autojump_clock):
    seen = []

    async def after(call, result):
        seen.append((call.tool_name, result.output, result.is_error))
        return ReplaceResult({"stdout": "new"})

    asked = {**ASKED, "hook_event_name": "PostToolUse", "tool_response": {"stdout": "old"}}
    gate = Gate(Hooks(after_tool=[after]))

    output = await gate.use(lambda one: one.after(asked))

    assert seen == [("Bash", {"stdout": "old"}, False)]
    assert output["hookSpecificOutput"]["updatedToolOutput"] == {"stdout": "new"}


async def test_an_error_of_a_tool_can_be_explained(autojump_clock):
    asked = {**ASKED, "hook_event_name": "PostToolUseFailure", "error": "it broke"}
    gate = Gate(Hooks(after_tool=[always(ReplaceResult("try ls", is_error=True))]))

    output = await gate.use(lambda one: one.after(asked))

    assert output["hookSpecificOutput"] == {
        "hookEventName": "PostToolUseFailure",
        "additionalContext": "try ls",
    }


@pytest.mark.parametrize("name", ["Bash", "mcp__moorage__look"])
async def test_a_result_that_no_hook_replaces_stays(autojump_clock, name):
    replaces = always(ReplaceResult("x")) if name.startswith("mcp__") else always(None)
    asked = {**ASKED, "tool_name": name, "hook_event_name": "PostToolUse", "tool_response": "old"}

    assert await Gate(Hooks(after_tool=[replaces])).use(lambda one: one.after(asked)) == {}


@pytest.mark.parametrize(
    ("hooks", "events"),
    [
        (Hooks(), set()),
        (Hooks(before_tool=[always(None)]), {"PreToolUse"}),
        (Hooks(after_tool=[always(None)]), {"PostToolUse", "PostToolUseFailure"}),
    ],
)
async def test_claude_code_calls_back_only_for_hooks_that_there_are(autojump_clock, hooks, events):
    async def table(gate):
        return hook_table(gate, hooks)

    assert set(await Gate(hooks).use(table)) == events
