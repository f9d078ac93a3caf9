from __future__ import annotations

import pytest
import trio
import trio.testing
from moorage.adapters.agents.claude_code.messages import MessageReader
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.runs import RunState

from tests.adapters.agents.claude_code.running import (
    SECONDS_MAX,
    data_of,
    run,
    told,
)
from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
pytestmark = pytest.mark.real_agent


async def test_lines_that_are_no_messages_are_kept_and_the_run_goes_on(fake):
    context = RecordingContext()

    ended = await run(fake.agent("garbage"), context)

    originals = [data["original"] for data in data_of(context, "provider_event")]
    lines = [original["line"] for original in originals if "line" in original]
    assert ended.output["content"] == "Hello world"
    assert lines == ["[debug] this is no JSON", '{"half": ', '["no", "map"]']


@pytest.mark.parametrize("scenario", ["floods_stderr", "big_line"])
async def test_much_of_anything_is_read(fake, scenario):
    ended = await run(fake.agent(scenario), RecordingContext())

    assert ended.state is RunState.COMPLETED


async def test_a_line_over_the_limit_fails_the_run_since_what_it_said_is_lost(fake):
    ended = await run(fake.agent("big_line", line_bytes_max=100_000), RecordingContext())

    assert ended.error.code == "provider_protocol"
    assert "line_bytes_max is 100000" in str(ended.error)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("scenario", ["streams_for_ever", "ignores_signals", "asks_permission"])
async def test_a_cancelled_run_ends_within_a_second_and_so_does_the_program(fake, scenario, pace):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake.agent(scenario), context)
        with trio.fail_after(SECONDS_MAX):
            if scenario == "asks_permission":
                await context.wait_asked()
            else:
                while not context.deltas():
                    await context.wait_events(len(context.events) + 1)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)

    assert not context.late


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_cancelled_run_does_not_wait_for_a_program_that_stopped_reading(fake, pace):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake.agent("stops_reading"), context, "x" * 1_000_000)
        with trio.fail_after(SECONDS_MAX):
            while not told(context, "message_sent"):
                await context.wait_events(len(context.events) + 1)
            await trio.testing.wait_all_tasks_blocked(0.1)  # the pipe is full
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)


async def test_a_cancelled_run_ends_its_open_calls(fake):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake.agent("leaves_a_call_open"), context)
        with trio.fail_after(SECONDS_MAX):
            while not told(context, "tool_call_started"):
                await context.wait_events(len(context.events) + 1)
        context.cancel()

    (failed,) = data_of(context, "tool_call_failed")
    assert failed["tool_call_id"] == "t1"
    assert failed["error"]["code"] == "interrupted"


def test_the_output_is_the_last_message_whole_and_facts_of_the_result():
    output_of = require("moorage.adapters.agents.claude_code.run").output_of
    reader = MessageReader()
    content = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    message = {"id": "m1", "model": "m", "content": content}
    reader.feed({"type": "assistant", "message": message, "session_id": "s"}, 0.0)
    result = {"type": "result", "subtype": "success", "result": "two", "num_turns": 3}
    reader.feed({**result, "stop_reason": "end_turn", "structured_output": {"a": 1}}, 0.0)

    assert output_of(reader) == {
        "content": "one two",
        "stop_reason": "end_turn",
        "provider": "claude",
        "model": "m",
        "turns": 3,
        "provider_session": "s",
        "structured_output": {"a": 1},
    }
