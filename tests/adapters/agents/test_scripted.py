from __future__ import annotations

import attrs
import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.scripted import (
    Call,
    Echo,
    Emit,
    Fail,
    Flush,
    IgnoreCancel,
    Park,
    Return,
    Say,
    ScriptFailed,
    Signal,
    Wait,
    WaitFor,
)
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState


async def perform(*steps, input=None, **context):
    context = RecordingContext(**context)
    ended = await execute(ScriptedAgent(steps), context.request(input), context)
    return ended, context


async def test_what_it_says_is_streamed_by_words_and_returned(autojump_clock):
    ended, context = await perform(Say("Hello  big\nworld "), Say("!"))

    assert [e.data["delta"] for e in context.events] == ["Hello  ", "big\n", "world ", "!"]
    assert ended.output == {"content": "Hello  big\nworld !"}


async def test_words_can_come_one_by_one(autojump_clock):
    started_at = trio.current_time()

    _, context = await perform(Say("a b c", seconds_between=2))

    seconds = [event.time_ns / 1e9 - started_at for event in context.events]
    assert [round(second, 6) for second in seconds] == [0, 2, 4]


async def test_saying_nothing_is_no_event(autojump_clock):
    ended, context = await perform(Say(""))

    assert (context.events, ended.output) == ([], {"content": ""})


async def test_any_event_can_be_emitted_and_repeated(autojump_clock):
    _, context = await perform(
        Emit("tool_call_started", {"tool_name": "ls"}, metadata={"trace": 1}), Emit("x", count=3)
    )

    assert [event.type for event in context.events] == ["tool_call_started", "x", "x", "x"]
    assert (
        context.events[0].data,
        context.events[0].metadata,
    ) == ({"tool_name": "ls"}, {"trace": 1})


async def test_it_waits_on_the_virtual_clock(autojump_clock):
    started_at = trio.current_time()

    await perform(Wait(3600), Wait(0.5))

    assert pytest.approx(trio.current_time() - started_at) == 3600.5


async def test_a_gate_and_a_signal_let_a_test_hold_it_at_a_place(autojump_clock):
    gate, reached = trio.Event(), trio.Event()
    agent = ScriptedAgent([Signal(reached), WaitFor(gate), Say("on")])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, agent, context.request(), context)
        await reached.wait()
        held = context.deltas() == ""
        gate.set()

    assert held
    assert context.deltas() == "on"


async def test_flushing_waits_for_the_log(autojump_clock):
    context = RecordingContext()
    context.hold_log()

    async with trio.open_nursery() as nursery:
        agent = ScriptedAgent([Say("x"), Flush(), Say("y")])
        nursery.start_soon(execute, agent, context.request(), context)
        await context.wait_blocked()
        before = context.deltas()
        context.release_log()

    assert (before, context.deltas()) == ("x", "xy")


async def test_it_can_ignore_cancellation_for_a_while(autojump_clock):
    started_at = trio.current_time()

    with trio.move_on_after(1):
        await perform(IgnoreCancel(60), Wait(3600))

    assert pytest.approx(trio.current_time() - started_at) == 60


async def test_failing_raises_the_given_exception(autojump_clock):
    error = ValueError("bad")

    ended, _ = await perform(Fail(error))

    assert error is ended.error


async def test_failing_with_facts_gives_them_to_the_runtime(autojump_clock):
    ended, _ = await perform(
        Fail(message="busy", code="overloaded", retryable=True, details={"after": 5})
    )

    assert isinstance(ended.error, ScriptFailed)
    assert (
        str(ended.error),
        ended.error.code,
        ended.error.retryable,
        ended.error.details,
    ) == ("busy", "overloaded", True, {"after": 5})


async def test_an_agent_may_exit_its_process(autojump_clock):
    with pytest.raises(SystemExit):
        await perform(Fail(SystemExit(3)))


async def test_it_returns_a_value_or_what_is_made_of_the_request(autojump_clock):
    assert (await perform(Return(5)))[0].output == 5
    assert None is (await perform(Say("x"), Return()))[0].output
    assert (await perform(Return(lambda request: [request.attempt])))[0].output == [1]


async def test_an_echo_is_the_input(autojump_clock):
    assert (await perform(Echo(), input={"a": [1]}))[0].output == {"a": [1]}


async def test_without_a_script_it_echoes(autojump_clock):
    context = RecordingContext()

    assert (await execute(ScriptedAgent(), context.request("x"), context)).output == "x"


async def test_any_function_can_be_a_step(autojump_clock):
    async def twice(request, context):
        await context.emit("x", request.input * 2)

    _, context = await perform(Call(twice), input=21)

    assert context.events[0].data == 42


async def test_it_parks_and_goes_on_with_the_answer(autojump_clock):
    steps = [Park("approve", {"cost": 5}), Return(lambda request: request.answers["approve"])]

    parked, _ = await perform(*steps)
    answered, _ = await perform(*steps, answers={"approve": "yes"})

    assert (parked.state, parked.parked) == (RunState.WAITING, ("approve", {"cost": 5}))
    assert (answered.state, answered.output) == (RunState.COMPLETED, "yes")


async def test_a_script_may_depend_on_the_request(autojump_clock):
    agent = ScriptedAgent(lambda request: [Fail()] if request.attempt == 1 else [Return("done")])

    for attempt, state in [(1, RunState.FAILED), (2, RunState.COMPLETED)]:
        context = RecordingContext(attempt=attempt)
        assert state == (await execute(agent, context.request(), context)).state


async def test_it_remembers_requests_and_counts_how_runs_ended(autojump_clock):
    agent = ScriptedAgent(lambda request: request.input)
    requests = []
    for script in ([], [Fail()], [Wait(100)]):
        context = RecordingContext()
        requests.append(context.request(script))
        with trio.move_on_after(1):
            await execute(agent, requests[-1], context)

    assert requests == agent.requests
    assert (attrs.asdict(agent.statistics())) == {
        "started": 3,
        "running": 0,
        "returned": 1,
        "failed": 1,
        "cancelled": 1,
    }


async def test_a_test_can_wait_until_it_was_called(autojump_clock):
    agent = ScriptedAgent([Wait(10)])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        for delay in (5, 7):

            @nursery.start_soon
            async def later(delay=delay) -> None:
                await trio.sleep(delay)
                await agent(context.request(), context)

        await agent.wait_started(2)
        running = agent.statistics().running

    assert running == 2


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("say hello", "sequence of steps"),
        (5, "sequence of steps"),
        ([Say("x"), "y"], "step 1 is 'y': a step is one of Say, Emit"),
        ([Say], "step 0"),
        ([Return(1), Say("x")], "step 1 is never reached"),
        ([Fail(), Fail()], "never reached"),
    ],
)
async def test_a_bad_script_is_refused(script, message):
    with pytest.raises(InvalidArgument, match=message):
        ScriptedAgent(script)


async def test_a_function_that_makes_a_bad_script_fails_the_run(autojump_clock):
    context = RecordingContext()

    ended = await execute(ScriptedAgent(lambda request: ["x"]), context.request(), context)

    assert isinstance(ended.error, InvalidArgument)


async def test_an_async_function_is_no_script(autojump_clock):
    async def script(request):
        return []

    with pytest.raises(InvalidArgument, match="plain function"):
        ScriptedAgent(script)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Say(5), "text must be a str"),
        (lambda: Say("x", seconds_between=-1), "seconds_between must be a number of at least 0"),
        (lambda: Wait(-1), "seconds"),
        (lambda: Wait(float("nan")), "seconds"),
        (lambda: IgnoreCancel("long"), "seconds"),
        (lambda: WaitFor(5), "something to wait for"),
        (lambda: Signal(5), "something to set"),
        (lambda: Call(5), "async function"),
        (lambda: Fail("reason"), "exception to raise"),
        (lambda: Fail(ValueError), "exception to raise"),
        (lambda: Park(5), "name must be a str"),
        (lambda: Emit("x", count=0), "count must be a whole number of at least 1"),
    ],
)
async def test_a_bad_step_is_refused_by_its_name(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()
