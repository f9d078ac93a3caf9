from __future__ import annotations

import pytest
import trio
import trio.testing
from moorage.adapters.agents.claude_code.emitting import Emitter
from moorage.adapters.agents.claude_code.messages import MessageReader
from moorage.adapters.agents.claude_code.putting_off import PutOff
from moorage.adapters.agents.claude_code.tool_gate import ApprovalRules, ToolGate, hook_table
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.hooks import (
    Allow,
    Ask,
    ChangeInput,
    Deny,
    Hooks,
    ReplaceResult,
)
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.tools import tool
from moorage.runtime.runs import RunState


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

    def __init__(
        self,
        hooks=None,
        *,
        mode="default",
        answers=None,
        allow_all=False,
        parks=False,
        put_off=None,
    ):
        self.context = RecordingContext(answers=answers)
        self.reader = MessageReader()
        self.hooks = hooks or Hooks()
        self.rules = ApprovalRules(
            mode=mode, allow_all=allow_all, timeout_seconds=0.01, default="deny", parks=parks
        )
        self.put_off = put_off

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
                put_off=self.put_off,
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


BASH = {"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"a": 1}}
DEFER = {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "defer"}}
PUT_OFF = PutOff(ToolCall("t1", "Bash", {"a": 1}), "claude-1")


async def test_a_call_that_is_alone_in_its_message_is_put_off_once_that_is_whole(autojump_clock):
    gate, given = Gate(parks=True), []

    async def ask(tool_gate):
        async def before():
            given.append(await tool_gate.before(BASH))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(before)
            await trio.testing.wait_all_tasks_blocked()
            tool_gate.heard()
            await trio.testing.wait_all_tasks_blocked()
            assert given == []
            gate.reader.calls_at_once = ["t1"]
            tool_gate.heard()

    await gate.use(ask)

    assert given == [DEFER]


@pytest.mark.parametrize(
    ("facts", "asked", "at_once"),
    [
        ({"parks": False}, {}, ["t1"]),
        ({}, {"tool_name": "Read"}, ["t1"]),
        ({"mode": "accept_edits"}, {"tool_name": "Write"}, ["t1"]),
        ({}, {"tool_name": "mcp__other__drop"}, ["t1"]),
        ({}, {"tool_name": "mcp__moorage__drop"}, ["t1"]),
        ({}, {"agent_id": "below"}, ["t1"]),
        ({}, {}, ["t1", "t2"]),
        ({}, {}, ["t0"]),
        ({"put_off": PUT_OFF}, {}, ["t1"]),
    ],
    ids=[
        "not wanted",
        "hardly ever asked for",
        "an edit that may go through",
        "of a server",
        "ours",
        "of a subagent",
        "one of two",
        "its message never ends",
        "put off already",
    ],
)
async def test_other_calls_are_not_put_off(autojump_clock, facts, asked, at_once):
    gate = Gate(**{"parks": True, **facts})
    gate.reader.calls_at_once = at_once

    given = await gate.use(lambda tool_gate: tool_gate.before({**BASH, **asked}))

    assert given == {}


async def test_a_call_whose_input_a_hook_changed_is_not_put_off(autojump_clock):
    gate = Gate(Hooks(before_tool=[always(ChangeInput({"b": 2}))]), parks=True)
    gate.reader.calls_at_once = ["t1"]

    given = await gate.use(lambda tool_gate: tool_gate.before(BASH))

    assert given["hookSpecificOutput"] == {
        "hookEventName": "PreToolUse",
        "updatedInput": {"b": 2},
    }


async def test_a_call_that_was_put_off_parks_the_run_and_keeps_its_session_to_it(autojump_clock):
    gate, gates = Gate(parks=True, put_off=PUT_OFF), []

    async def permit(tool_gate):
        gates.append(tool_gate)
        return await tool_gate.permit("Bash", {"a": 1}, "t1")

    async def agent(request, context):
        return await gate.use(permit)

    ended = await execute(agent, gate.context.request("x"), gate.context)

    handle = (await gate.context.session.info()).metadata["provider_session.claude"]
    requested = gate.context.events[-1]
    assert ended.state is RunState.WAITING
    assert ended.parked[0] == "approval:t1"
    assert gates[0].parking
    assert (requested.type, requested.metadata["put_off"]) == ("tool_approval_requested", True)
    assert (handle["id"], handle["run_id"], handle["put_off"]) == ("claude-1", "run", True)


@pytest.mark.parametrize("approved", [True, False])
async def test_once_it_is_answered_it_goes_on_without_parking(autojump_clock, approved):
    gate = Gate(parks=True, put_off=PUT_OFF, answers={"approval:t1": {"approved": approved}})

    async def permit(tool_gate):
        decision = await tool_gate.permit("Bash", {"a": 1}, "t1")
        return decision.approved, tool_gate.parking

    assert await gate.use(permit) == (approved, False)
    assert (await gate.context.session.info()).metadata == {}
