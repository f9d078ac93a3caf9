"""Approvals for which the real Claude Code is ended, and that a person answers after that."""

from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.agents.model_twin import Text, ToolUse
from moorage.adapters.agents.provider.hooks import Hooks, ReplaceResult
from moorage.runtime import open_supervisor
from moorage.runtime.runs import RunState
from moorage.stores import MemoryStore

from tests.adapters.agents.killed_host import Host
from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
from moorage.adapters.agents.conformance import child_processes  # noqa: E402

from .test_real_claude import SECONDS_MAX, answering, place  # noqa: E402

pytestmark = pytest.mark.real_agent
__all__ = ["place"]


def bash(command="echo ran >> executed"):
    return ToolUse("Bash", {"command": command})


def executed(place):
    path = place.work / "executed"
    return path.read_text().split() if path.exists() else []


async def parked(session, run, count=1):
    """The data of the run's request once it waits without a slot."""
    async with session.subscribe(after=0, run_id=run.id, types={"run_waiting"}) as events:
        async for event in events:
            count -= 1
            if not count:
                return event.data["data"]
    raise AssertionError("the subscription ended")


async def types_of(session, run):
    events = await session.events(limit=1_000, run_id=run.id)
    quiet = ("provider_event", "claude_transcript", "conversation_configured")
    return [
        event.type
        for event in events
        if event.type not in (*quiet, "token_usage_updated", "message_streamed")
    ]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_parked_call_is_gone_on_with_as_it_was_answered(place, approved):
    script = [[Text("I try."), bash()], Text("So be it.")]
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering(script) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, approval_wait="park")) as supervisor,
        ):
            session = await supervisor.session("s")
            run = await session.submit("Try it.")
            asked = await parked(session, run)
            before = executed(place), len(twin.requests), child_processes()
            if approved:
                answers = [await session.approve(asked["request_id"]) for _ in range(2)]
            else:
                answers = [await session.deny(asked["request_id"], reason="no") for _ in range(2)]
            outcome = await run.wait()
            types = await types_of(session, run)

    result = twin.requests[-1].tool_results
    assert before[:2] == ([], 1)
    assert answers == [True, False]
    assert outcome.unwrap()["content"] == "So be it."
    assert outcome.unwrap()["turns"] == 2
    assert executed(place) == (["ran"] if approved else [])
    assert [call.id for call in twin.requests[-1].tool_calls] == [entry.id for entry in result]
    assert [entry.is_error for entry in result] == [not approved]
    assert approved or "no" in result[0].text
    assert types == [
        "run_submitted",
        "run_started",
        "message_sent",
        "message_received",
        "tool_call_started",
        "tool_approval_requested",
        "run_waiting",
        "run_resumed",
        "run_started",
        "tool_approval_granted" if approved else "tool_approval_denied",
        "tool_call_completed" if approved else "tool_call_failed",
        "message_received",
        "turn_completed",
        "run_completed",
    ]


async def test_an_answer_after_a_kill_from_another_process_executes_the_call_once(place):
    async with answering([bash(), Text("It ran.")]) as twin:
        arguments = place.options(twin, approval_wait="park")
        made = (place.home, "moorage.adapters.agents.claude_code.agent:ClaudeAgent", arguments)
        with Host(*made) as host:
            run_id = await host.do("submit", input="Run it.")
            waiting = await host.do("event", run_id=run_id, type="run_waiting")
            host.kill()
        with Host(*made) as host:
            request_id = waiting["data"]["request_id"]
            answers = [await host.do("approve", request_id=request_id) for _ in range(2)]
            ended = await host.do("wait", run_id=run_id)

    assert answers == [True, False]
    assert ended["state"] == "completed"
    assert ended["output"]["content"] == "It ran."
    assert executed(place) == ["ran"]
    assert len(twin.requests) == 2


async def test_a_call_that_was_cut_off_by_a_kill_is_not_executed_again_by_itself(place):
    go = "while [ ! -e go ]; do sleep 0.02; done"
    async with answering([bash(f"echo ran >> executed; {go}"), Text("I do not know.")]) as twin:
        arguments = place.options(twin, approval_wait="park")
        made = (place.home, "moorage.adapters.agents.claude_code.agent:ClaudeAgent", arguments)
        with Host(*made) as host:
            run_id = await host.do("submit", input="Run it.", on_interrupt="requeue")
            waiting = await host.do("event", run_id=run_id, type="run_waiting")
            await host.do("approve", request_id=waiting["data"]["request_id"])
            with trio.fail_after(SECONDS_MAX):
                while not executed(place):
                    await trio.sleep(0.02)
            host.kill()
        with Host(*made) as host:
            ended = await host.do("wait", run_id=run_id)
            requested = await host.do("events", type="tool_approval_requested")

    assert ended["output"]["content"] == "I do not know."
    assert executed(place) == ["ran"]
    assert len(requested) == 1
    assert "executed" in twin.requests[-1].text


async def test_calls_of_one_message_wait_in_the_slot_and_none_is_lost(place):
    script = [[bash("echo one >> executed"), bash("echo two >> executed")], Text("Both.")]
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering(script) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, approval_wait="park")) as supervisor,
        ):
            session = await supervisor.session("s")
            run = await session.submit("Do both.")
            async with session.subscribe(types={"tool_approval_requested"}) as events:
                for _ in range(2):
                    event = await anext(events)
                    await session.approve(event.data["request_id"])
            outcome = await run.wait()
            types = await types_of(session, run)

    assert outcome.unwrap()["content"] == "Both."
    assert sorted(executed(place)) == ["one", "two"]
    assert "run_waiting" not in types
    assert types.count("tool_call_completed") == 2


async def test_several_calls_one_behind_the_other_are_each_parked(place):
    script = [bash("echo one >> executed"), bash("echo two >> executed"), Text("Both.")]
    seen = []

    async def after(call, result):
        seen.append(call.tool_call_id)
        return ReplaceResult({**result.output, "stdout": "replaced"})

    agent = {"approval_wait": "park", "hooks": Hooks(after_tool=[after])}
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering(script) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, **agent)) as supervisor,
        ):
            session = await supervisor.session("s")
            run = await session.submit("Do both.")
            for count in (1, 2):
                asked = await parked(session, run, count)
                await session.approve(asked["request_id"])
            outcome = await run.wait()

    results = twin.requests[-1].tool_results
    assert outcome.unwrap()["content"] == "Both."
    assert executed(place) == ["one", "two"]
    assert [result.text for result in results] == ["replaced", "replaced"]
    assert seen == [result.id for result in results]


async def test_other_runs_go_on_beside_a_parked_one_and_do_not_see_its_call(place):
    script = [Text("I am Claude."), bash(), Text("Meanwhile."), Text("It ran."), Text("Last.")]
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering(script) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, approval_wait="park")) as supervisor,
        ):
            session = await supervisor.session("s")
            await session.execute("Who are you?")
            run = await session.submit("Run it.")
            asked = await parked(session, run)
            (await session.execute("And meanwhile?")).unwrap()
            beside = twin.requests[-1]
            await session.approve(asked["request_id"])
            outcome = await run.wait()
            resumed = twin.requests[-1]
            (await session.execute("And now?")).unwrap()
            last = twin.requests[-1]

    assert outcome.unwrap()["content"] == "It ran."
    assert executed(place) == ["ran"]
    assert beside.tool_calls == []
    assert "Who are you?" in beside.text
    assert "And meanwhile?" not in resumed.text
    assert [call.id for call in resumed.tool_calls] == [asked["tool_call_id"]]
    assert "And meanwhile?" in last.text
    assert "It ran." in last.text


async def test_a_call_of_a_run_that_is_cancelled_while_it_waits_is_never_executed(place):
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering([bash(), Text("As you like.")]) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, approval_wait="park")) as supervisor,
        ):
            session = await supervisor.session("s")
            run = await session.submit("Run it.")
            asked = await parked(session, run)
            await run.cancel()
            cancelled = await run.wait()
            late = await session.approve(asked["request_id"])
            outcome = await session.execute("Something else.")

    assert cancelled.state is RunState.CANCELLED
    assert not late
    assert outcome.unwrap()["content"] == "As you like."
    assert executed(place) == []
    assert twin.requests[-1].tool_calls == []


async def test_what_its_own_rules_allow_is_not_asked(place):
    rules = json.dumps({"permissions": {"allow": ["Bash(touch:*)"]}})
    options = {"approval_wait": "park", "provider_options": {"settings": rules}}
    with trio.fail_after(SECONDS_MAX):
        async with (
            answering([bash("touch executed"), Text("It ran.")]) as twin,
            open_supervisor(MemoryStore(), place.agent(twin, **options)) as supervisor,
        ):
            session = await supervisor.session("s")
            run = await session.submit("Run it.")
            outcome = await run.wait()
            types = await types_of(session, run)

    assert outcome.unwrap()["content"] == "It ran."
    assert outcome.unwrap()["turns"] == 2
    assert (place.work / "executed").exists()
    assert "tool_approval_requested" not in types
    assert types.count("tool_call_started") == types.count("tool_call_completed") == 1
    assert types.count("turn_completed") == 1
