from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.runs import RunState

from tests.adapters.agents.claude_code.running import (
    data_of,
    run,
    told,
)
from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
pytestmark = pytest.mark.real_agent


async def test_what_is_written_to_the_transcript_is_kept_to_its_last_line(fake):
    context = RecordingContext()

    ended = await run(fake.agent("mirrors"), context)

    lines = [line for data in data_of(context, "claude_transcript") for line in data["lines"]]
    assert ended.state is RunState.COMPLETED
    assert [json.loads(line)["type"] for line in lines] == ["user", "cost-state"]


@pytest.mark.parametrize("answer", [True, {"approved": True, "tool_input": {"path": "b"}}])
async def test_a_call_that_is_approved_runs(fake, answer):
    context = RecordingContext(answers={"approval:t1": answer})

    ended = await run(fake.agent("asks_permission"), context)

    changed = answer["tool_input"] if isinstance(answer, dict) else {"path": "a"}
    output = json.loads(data_of(context, "tool_call_completed")[0]["tool_output"])
    assert ended.output["content"] == "allow"
    assert output["updatedInput"] == changed
    assert [type for type, _ in told(context, "tool_call_started", "tool_approval_requested")] == [
        "tool_call_started",
        "tool_approval_requested",
    ]


async def test_a_call_that_is_denied_fails_with_the_reason(fake):
    context = RecordingContext(answers={"approval:t1": {"approved": False, "reason": "not now"}})

    ended = await run(fake.agent("asks_permission"), context)

    error = data_of(context, "tool_call_failed")[0]["error"]
    assert ended.output["content"] == "deny"
    assert error["code"] == "denied"
    assert "not now" in error["message"]


async def test_a_call_that_nobody_decides_gets_the_default_in_time(fake):
    context = RecordingContext()

    ended = await run(fake.agent("asks_permission", approval_timeout_seconds=0.05), context)

    assert ended.output["content"] == "deny"
    assert data_of(context, "tool_approval_denied")[0]["by"] == "timeout"


async def test_a_steer_is_told_when_it_is_given_and_the_run_waits_for_its_answer(fake):
    context = RecordingContext()
    agent = fake.agent("takes_a_steer")

    async with trio.open_nursery() as nursery:

        async def steer():
            await context.wait_events(2)
            assert context.steer("rather this", id="steer-7")

        nursery.start_soon(steer)
        ended = await run(agent, context)

    assert ended.output["content"] == "steered: rather this"
    assert data_of(context, "message_sent")[-1] == {
        "role": "user",
        "content": "rather this",
        "steer_id": "steer-7",
    }


async def test_a_steer_that_comes_too_late_is_left_to_become_a_run(fake):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:

        async def steer():
            while not told(context, "claude_transcript"):
                await trio.sleep(0.005)
            assert context.steer("too late")
            fake.release()

        nursery.start_soon(steer)
        ended = await run(fake.agent("lingers"), context)

    assert ended.state is RunState.COMPLETED
    assert context.steers_taken == []
    assert len(fake.heard()) == 1


async def test_a_steer_that_cannot_be_read_is_reported_and_the_run_goes_on(fake):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:

        async def steer():
            await context.wait_events(2)
            context.steer({"prompt": 7})
            context.steer("rather this")

        nursery.start_soon(steer)
        ended = await run(fake.agent("takes_a_steer"), context)

    assert ended.output["content"] == "steered: rather this"
    assert [data["code"] for data in data_of(context, "error_occurred")] == ["steer_unreadable"]


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("scenario", "code", "said"),
    [
        ("dies_at_once", "provider_exited", "no licence"),
        ("dies_midway", "provider_exited", "out of memory"),
        ("leaves_midway", "provider_exited", "exit code 0"),
        ("has_no_login", "provider_not_configured", "ANTHROPIC_API_KEY"),
        ("refuses", "provider_protocol", "too old"),
        ("fails", "provider_overloaded", "529"),
        ("exceeds_turns", "turns_exceeded", "turns_max"),
        ("loses_session", "continuation_lost", "No conversation found"),
    ],
)
async def test_what_goes_wrong_with_it_is_a_failure_of_the_taxonomy(fake, scenario, code, said):
    context = RecordingContext()

    ended = await run(fake.agent(scenario), context)

    assert ended.state is RunState.FAILED
    assert ended.error.code == code
    assert said in str(ended.error)
    assert [data["code"] for data in data_of(context, "error_occurred")] == [code]
    assert not context.refused


async def test_a_program_without_a_login_is_told_nothing(fake):
    context = RecordingContext()

    await run(fake.agent("has_no_login"), context)

    assert fake.heard() == []
    assert data_of(context, "message_sent") == []


async def test_the_end_of_its_standard_error_is_in_the_failure(fake):
    ended = await run(fake.agent("dies_midway"), RecordingContext())

    assert ended.error.details["exit_code"] == 134
    assert "fatal: out of memory" in ended.error.details["stderr"]


async def test_a_program_that_does_not_answer_is_given_up_in_time(fake):
    ended = await run(fake.agent("hangs_at_once", start_seconds=0.2), RecordingContext())

    assert ended.error.code == "provider_timeout"
