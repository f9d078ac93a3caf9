from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.hooks import ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.tools.definition import ToolContext, tool, tools_by_name
from moorage.adapters.agents.tools.execution import ToolLimits, execute_calls
from moorage.runtime.errors import InvalidArgument, RecordTooLarge
from moorage.runtime.runs import RunState


@attrs.define
class Found:
    path: str
    lines: int


class Kitchen:
    """Tools that keep what they did."""

    def __init__(self):
        self.running = 0
        self.most_running = 0
        self.done = []

    async def cook(self, dish: str, seconds: float = 0.0) -> str:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1
        self.done.append(dish)
        return f"{dish} is ready"

    async def burn(self) -> str:
        raise LookupError("no stove \ud800")

    async def find(self, path: str) -> Found:
        return Found(path, 3)

    async def strange(self) -> object:
        return object()

    async def large(self) -> bytes:
        return "x" * 10_000_000

    async def tell(self, context: ToolContext) -> str:
        await context.run.emit("provider_event", {"from": context.tool_call_id})
        return context.run_id

    def tools(self, **options):
        sold = tool(name="sell", needs_approval=True)(self.cook)
        cook = tool(**options)(self.cook)
        return tools_by_name(
            [cook, sold, self.burn, self.find, self.strange, self.large, self.tell]
        )


def call(name, number=1, **tool_input):
    return ToolCall(f"call-{number}", name, tool_input)


async def run(calls, context=None, hooks=None, kitchen=None, *, options=None, **more):
    """Execute the calls of a kitchen, and check that each is told as started and ended once."""
    context = context or RecordingContext()
    tools = (kitchen or Kitchen()).tools(**(options or {}))
    results = await execute_calls(calls, tools, context, hooks, request=context.request(), **more)
    check_told_once(calls, context)
    assert [result.tool_call_id for result in results] == [one.tool_call_id for one in calls]
    return results


def check_told_once(calls, context):
    told = Counter(
        (event.data["tool_call_id"], event.type == "tool_call_started")
        for event in context.events
        if event.type.startswith("tool_call_")
    )
    expected = {(one.tool_call_id, start) for one in calls for start in (True, False)}
    assert told == Counter(expected)


def types(context):
    return [event.type for event in context.events]


def of(context, type):
    return [event.data for event in context.events if event.type == type]


async def test_a_call_is_executed_and_told():
    context = RecordingContext()

    (result,) = await run([call("find", path="a")], context, metadata={"provider": "x"})

    assert (result.output, result.is_error, result.code) == ({"path": "a", "lines": 3}, False, None)
    started, completed = context.events
    assert (started.type, started.data) == (
        "tool_call_started",
        {"tool_call_id": "call-1", "tool_name": "find", "tool_input": {"path": "a"}},
    )
    assert completed.data["tool_output"] == {"path": "a", "lines": 3}
    assert completed.data["duration_seconds"] >= 0
    assert started.metadata == completed.metadata == {"provider": "x"}


async def test_calls_run_side_by_side_and_results_keep_the_order_of_the_calls(autojump_clock):
    kitchen, context = Kitchen(), RecordingContext()
    calls = [call("cook", n, dish=f"dish-{n}", seconds=3 - n) for n in range(3)]

    results = await run(calls, context, kitchen=kitchen)

    assert trio.current_time() == pytest.approx(3)
    assert kitchen.done == ["dish-2", "dish-1", "dish-0"]
    assert [result.output for result in results] == [f"dish-{n} is ready" for n in range(3)]
    assert types(context)[:3] == ["tool_call_started"] * 3
    assert [data["duration_seconds"] for data in of(context, "tool_call_completed")] == [1, 2, 3]


async def test_no_more_run_at_once_than_the_limit(autojump_clock):
    kitchen = Kitchen()
    calls = [call("cook", n, dish="soup", seconds=1) for n in range(5)]

    await run(calls, kitchen=kitchen, limits=ToolLimits(tools_parallel_max=2))

    assert kitchen.most_running == 2
    assert trio.current_time() == pytest.approx(3)


@pytest.mark.parametrize(
    ("one", "code", "message"),
    [
        (call("fry"), "tool_unknown", "there is no tool 'fry': there are cook, sell, burn"),
        (call("find"), "tool_arguments_invalid", "arguments lacks 'path'"),
        (ToolCall("call-1", "find", '{"pa'), "tool_arguments_invalid", "are no JSON object"),
        (call("find", path=2**70), "tool_arguments_invalid", "is an integer outside 64 bits"),
        (call("find", path="\ud800"), "tool_arguments_invalid", "cannot be"),
        (call("burn"), "tool_raised", "LookupError: no stove ?"),
        (call("strange"), "tool_result_invalid", "is a object, which is no plain data"),
    ],
)
async def test_what_goes_wrong_with_a_call_is_told_to_the_model(one, code, message):
    context = RecordingContext()

    (result,) = await run([one], context)

    assert (result.is_error, result.code) == (True, code)
    assert message in result.output
    assert of(context, "tool_call_failed") == [
        {
            "tool_call_id": "call-1",
            "tool_name": one.tool_name,
            "error": {"code": code, "message": result.output},
        }
    ]


async def test_a_failed_call_leaves_the_others_alone(autojump_clock):
    results = await run([call("burn", 1), call("cook", 2, dish="soup", seconds=1)])

    assert [result.is_error for result in results] == [True, False]


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"timeout_seconds": 2}, ToolLimits()),
        ({}, ToolLimits(timeout_seconds=2)),
        ({"timeout_seconds": 2}, ToolLimits(timeout_seconds=1)),
    ],
)
async def test_a_tool_that_hangs_is_stopped(options, limits, autojump_clock):
    (result,) = await run([call("cook", dish="stew", seconds=1000)], options=options, limits=limits)

    assert trio.current_time() == pytest.approx(2)
    assert (result.code, result.output) == ("tool_timeout", "cook was stopped after 2 seconds")


async def test_a_large_result_is_cut_and_says_so():
    (result,) = await run([call("large")], limits=ToolLimits(result_bytes_max=1000))

    expected = "x" * 1000 + "\n[cut: the result has 10000000 bytes, the first 1000 are shown]"
    assert result.output == expected
    assert not result.is_error


async def test_a_tool_can_use_the_context_of_the_run():
    context = RecordingContext()

    (result,) = await run([call("tell")], context)

    assert result.output == "run"
    assert of(context, "provider_event") == [{"from": "call-1"}]


async def test_hooks_change_the_input_and_replace_the_result():
    async def other(one):
        return ChangeInput({"dish": "pie"})

    async def hide(one, result):
        return ReplaceResult((one.tool_input["dish"], result.output))

    context, kitchen = RecordingContext(), Kitchen()

    (result,) = await run(
        [call("cook", dish="soup")],
        context,
        Hooks(before_tool=[other], after_tool=[hide]),
        kitchen,
    )

    assert kitchen.done == ["pie"]
    assert result.output == ["pie", "pie is ready"]
    assert of(context, "tool_call_started")[0]["tool_input"] == {"dish": "pie"}


@pytest.mark.parametrize("tool_input", [{"dish": 7}, {"dish": object()}, object()])
async def test_an_input_of_a_hook_that_does_not_fit_is_the_calls_failure(tool_input):
    async def other(one):
        return ChangeInput(tool_input)

    kitchen = Kitchen()

    (result,) = await run(
        [call("cook", dish="soup")], hooks=Hooks(before_tool=[other]), kitchen=kitchen
    )

    assert result.code == "tool_arguments_invalid"
    assert kitchen.done == []


async def test_a_denied_call_is_not_executed_and_the_model_is_told_why():
    async def deny(one):
        return Deny("not in my kitchen")

    kitchen = Kitchen()

    (result,) = await run(
        [call("cook", dish="soup")], hooks=Hooks(before_tool=[deny]), kitchen=kitchen
    )

    assert (result.code, result.output) == ("tool_denied", "denied: not in my kitchen")
    assert kitchen.done == []


async def test_a_plan_executes_nothing_that_is_not_marked_as_reading():
    (result,) = await run([call("cook", dish="soup")], permission_mode="plan")

    assert result.code == "tool_denied"
    assert "while a plan is made" in result.output


async def test_calls_that_are_left_when_the_user_sends_a_message_are_skipped(autojump_clock):
    kitchen, context, message = Kitchen(), RecordingContext(), trio.Event()
    calls = [call("cook", n, dish=f"dish-{n}", seconds=1) for n in range(3)]

    async def send():
        await trio.sleep(0.5)
        message.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        results = await run(
            calls,
            context,
            kitchen=kitchen,
            limits=ToolLimits(tools_parallel_max=1),
            skip=message.is_set,
        )

    assert kitchen.done == ["dish-0"]
    assert [result.code for result in results] == [None, "tool_skipped", "tool_skipped"]
    assert "the user sent a message" in results[1].output


async def test_nobody_is_asked_about_calls_that_are_skipped():
    context = RecordingContext()

    (result,) = await run([call("sell", dish="soup")], context, skip=lambda: True)

    assert result.code == "tool_skipped"
    assert "tool_approval_requested" not in types(context)


async def test_a_run_that_is_parked_has_executed_nothing_and_goes_on_with_all_answers():
    calls = [call("cook", 1, dish="soup"), call("sell", 2, dish="pie"), call("sell", 3, dish="jam")]
    kitchen, answers, results = Kitchen(), {}, []

    async def agent(request, context):
        results.extend(await execute_calls(calls, kitchen.tools(), context, request=request))

    context = RecordingContext()
    for number, approved in ((2, True), (3, False)):
        ended = await execute(agent, context.request(), context)
        assert ended.state is RunState.WAITING
        assert kitchen.done == []
        assert "tool_call_started" not in types(context)
        answers[f"approval:call-{number}"] = {"approved": approved}
        context = RecordingContext(history=context.events, answers=answers)
    ended = await execute(agent, context.request(), context)

    assert ended.state is RunState.COMPLETED
    assert sorted(kitchen.done) == ["pie", "soup"]
    assert [result.code for result in results] == [None, None, "tool_denied"]
    asked = Counter(kind for kind in types(context) if kind.startswith("tool_approval"))
    assert asked == {
        "tool_approval_requested": 2,
        "tool_approval_granted": 1,
        "tool_approval_denied": 1,
    }
    check_told_once(calls, context)


async def test_a_cancelled_run_ends_every_call(autojump_clock):
    context, kitchen = RecordingContext(), Kitchen()
    calls = [
        call("cook", 1, dish="soup"),
        call("cook", 2, dish="stew", seconds=1000),
        call("cook", 3, dish="jam"),
        call("fry", 4),
    ]

    with trio.move_on_after(1) as scope:
        await run(calls, context, kitchen=kitchen, limits=ToolLimits(tools_parallel_max=1))

    assert scope.cancelled_caught
    assert kitchen.done == ["soup"]
    check_told_once(calls, context)
    assert [data["error"]["code"] for data in of(context, "tool_call_failed")] == [
        "tool_cancelled",
        "tool_cancelled",
        "tool_unknown",
    ]


async def test_a_run_that_is_cancelled_while_somebody_is_asked_ends_every_call(autojump_clock):
    context = RecordingContext()
    calls = [call("cook", 1, dish="soup"), call("sell", 2, dish="pie"), call("cook", 3, dish="jam")]

    with trio.move_on_after(1) as scope:
        await run(calls, context, hold=True)

    assert scope.cancelled_caught
    check_told_once(calls, context)


async def test_an_error_of_the_log_is_raised_bare(autojump_clock):
    context = RecordingContext(record_bytes_max=500)
    calls = [call("cook", 1, dish="stew", seconds=1000), call("large", 2)]

    with pytest.raises(RecordTooLarge):
        await execute_calls(calls, Kitchen().tools(), context, request=context.request())

    assert trio.current_time() < 1
    check_told_once(calls, context)


async def test_an_error_of_the_log_when_a_call_starts_is_raised_bare():
    context = RecordingContext(record_bytes_max=500)
    calls = [call("cook", 1, dish="x" * 1000)]

    with pytest.raises(RecordTooLarge):
        await execute_calls(calls, Kitchen().tools(), context, request=context.request())


@pytest.mark.parametrize(
    "limits",
    [
        {"tools_parallel_max": 0},
        {"tools_parallel_max": True},
        {"result_bytes_max": 0},
        {"timeout_seconds": -1},
    ],
)
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(InvalidArgument) as caught:
        ToolLimits(**limits)

    assert next(iter(limits)) in str(caught.value)


async def test_a_tool_is_not_begun_before_the_log_has_that_it_is():
    context = RecordingContext()
    kitchen = Kitchen()
    context.hold_log()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, [call("cook", dish="soup")], context, None, kitchen)
        with trio.fail_after(60):
            await context.wait_blocked()
        assert [event.type for event in context.events] == ["tool_call_started"]
        assert kitchen.done == []
        context.release_log()

    assert kitchen.done == ["soup"]
