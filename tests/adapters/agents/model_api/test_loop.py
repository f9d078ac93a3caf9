from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.provider.failures import (
    ConnectionLost,
    ProviderNotConfigured,
    RateLimited,
    TurnsExceeded,
)
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.adapters.agents.tools import tool
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.model_api.scripted_api import (
    Says,
    ScriptedAgent,
    ScriptedApi,
    after,
    data,
    types,
)

if TYPE_CHECKING:
    from moorage.runtime.events import Event


class Counting:
    """Tools that keep what they were called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.begun = trio.Event()
        self.gate = trio.Event()
        self.gate.set()

        @tool
        async def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.calls.append((a, b))
            self.begun.set()
            await self.gate.wait()
            return a + b

        @tool(needs_approval=True)
        async def launch(what: str) -> str:
            """Launch something."""
            self.calls.append(what)
            return f"{what} is up"

        self.tools = [add, launch]


ADD = ("c1", "add", {"a": 1, "b": 2})
LAUNCH = ("c2", "launch", {"what": "rocket"})


def again(context: RecordingContext) -> RecordingContext:
    """The context of the run's next call, with the log of those before."""
    return RecordingContext(history=context.events, run_id=context.run_id, attempt=2)


def cut_at(context: RecordingContext, type: str, number: int = 1) -> list[Event]:
    """The log as a kill behind that event would leave it."""
    seen = 0
    for index, event in enumerate(context.events):
        seen += event.type == type
        if seen == number:
            return list(context.events[: index + 1])
    raise AssertionError(f"there is no {type} {number}")


async def test_a_question_is_answered() -> None:
    agent = ScriptedAgent(ScriptedApi("Hi there"), system_prompt="Be brief.")

    ended, context = await agent.execute()

    assert ended.output == {
        "content": "Hi there",
        "stop_reason": "end_turn",
        "provider": "scripted",
        "model": "scripted",
        "turns": 1,
    }
    assert types(context) == [
        "message_sent",
        "conversation_configured",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    assert context.events[0].data == {"role": "user", "content": "Hello"}
    assert {str(event.metadata) for event in context.events} == {"{'provider': 'scripted'}"}
    (question,) = agent.api.questions
    assert (question.model, question.system_prompt) == ("m", "Be brief.")
    assert agent.api.asked() == [("user", "Hello")]


async def test_calls_are_executed_and_their_results_shown_to_the_model() -> None:
    counting = Counting()
    api = ScriptedApi(
        Says("I add.", [ADD, ("c3", "add", {"a": "x", "b": 1}), ("c4", "nope", {})]), "3"
    )

    ended, context = await ScriptedAgent(api, tools=counting.tools).execute()

    assert ended.output["content"] == "3"
    assert ended.output["turns"] == 2
    assert counting.calls == [(1, 2)]
    roles = [role for role, _ in api.asked()]
    assert roles == ["user", "assistant", "tool", "tool", "tool"]
    assert api.asked()[2] == ("tool", [("add", 3)])
    assert "arguments.a must be of type integer" in str(api.asked()[3])
    assert "there is no tool 'nope'" in str(api.asked()[4])
    assert len(data(context, "tool_call_completed")) == 1
    assert len(data(context, "tool_call_failed")) == 2
    tool_names = [one["name"] for one in api.questions[0].tools]
    assert tool_names == ["add", "launch"]


async def test_arguments_that_are_no_json_are_answered_to_the_model() -> None:
    counting = Counting()
    api = ScriptedApi(Says(calls=[("c1", "add", '{"a": ')]), "Sorry")  # type: ignore[list-item]

    ended, context = await ScriptedAgent(api, tools=counting.tools).execute()

    assert ended.output["content"] == "Sorry"
    assert counting.calls == []
    (failed,) = data(context, "tool_call_failed")
    assert failed["error"]["code"] == "tool_arguments_invalid"
    assert "no JSON object" in str(api.asked())


async def test_a_call_that_the_answer_was_cut_off_in_is_not_executed() -> None:
    wiped: list[str] = []

    @tool
    async def wipe(path: str = "/") -> None:
        wiped.append(path)

    calls = [("c1", "wipe", {"path": "a"}), ("c2", "wipe", "")]
    said = Says(calls=calls, stop_reason="max_tokens")  # type: ignore[arg-type]
    api = ScriptedApi(said, "Sorry")

    ended, context = await ScriptedAgent(api, tools=[wipe]).execute()

    assert ended.output["content"] == "Sorry"
    assert wiped == ["a"]
    (failed,) = data(context, "tool_call_failed")
    assert (failed["tool_call_id"], failed["error"]["code"]) == ("c2", "tool_call_cut")
    started = [one["tool_call_id"] for one in data(context, "tool_call_started")]
    assert sorted(started) == ["c1", "c2"]
    assert "cut off" in str(api.asked()[-1])


async def test_more_turns_than_allowed_fail_the_run() -> None:
    api = ScriptedApi(*[Says(calls=[(f"c{n}", "add", {"a": n, "b": n})]) for n in range(5)])
    counting = Counting()

    ended, context = await ScriptedAgent(api, tools=counting.tools, turns_max=2).execute()

    assert isinstance(ended.error, TurnsExceeded)
    assert len(api.questions) == 2
    assert len(counting.calls) == 2
    assert data(context, "error_occurred")[0]["code"] == "turns_exceeded"


async def test_a_model_that_paused_is_asked_again() -> None:
    api = ScriptedApi(Says("Let me", stop_reason="pause_turn"), " see")

    ended, _ = await ScriptedAgent(api).execute()

    assert (ended.output["content"], ended.output["turns"]) == (" see", 2)


async def test_a_failure_of_the_provider_is_told_and_fails_the_run() -> None:
    failure = RateLimited("slow down", provider="scripted", retry_after_seconds=7)

    ended, context = await ScriptedAgent(ScriptedApi(Says(failure=failure))).execute()

    assert ended.error is failure
    assert data(context, "error_occurred") == [failure.event()]


async def test_what_is_no_input_or_no_option_is_refused_before_anything_is_recorded() -> None:
    for bad in (None, {"messages": []}, {"prompt": "hi", "options": {"modle": "x"}}):
        ended, context = await ScriptedAgent(ScriptedApi()).execute(input=bad)

        assert isinstance(ended.error, InvalidArgument)
        assert context.events == []


async def test_without_a_model_nothing_is_asked() -> None:
    ended, _ = await ScriptedAgent(ScriptedApi(), model=None).execute()

    assert isinstance(ended.error, ProviderNotConfigured)
    assert "model" in str(ended.error)


async def test_each_message_of_the_input_is_recorded() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3?"},
    ]
    agent = ScriptedAgent(ScriptedApi("4"))

    _, context = await agent.execute(input={"messages": messages})

    assert data(context, "message_sent") == messages
    assert agent.api.asked() == [(one["role"], one["content"]) for one in messages]


async def test_settings_are_recorded_once_and_what_the_run_says_beats_the_agent() -> None:
    agent = ScriptedAgent(ScriptedApi("1", "2"), system_prompt="Be brief.", turns_max=5)
    given = {"prompt": "Hello", "options": {"model": "other"}}

    _, first = await agent.execute(input=given)
    _, second = await agent.execute(after(first), input=given)

    assert [one.model for one in agent.api.questions] == ["other", "other"]
    assert data(second, "conversation_configured") == [
        {
            "model": "other",
            "system_prompt": "Be brief.",
            "turns_max": 5,
            "provider": agent.api.provider,
            "tools": [],
        }
    ]


async def test_what_was_recorded_holds_where_nobody_says_otherwise() -> None:
    _, first = await ScriptedAgent(ScriptedApi("1"), system_prompt="Be brief.").execute()
    later = ScriptedAgent(ScriptedApi("2"), model=None)

    await later.execute(after(first))

    (question,) = later.api.questions
    assert (question.model, question.system_prompt) == ("m", "Be brief.")


@pytest.mark.parametrize(
    ("continuation", "asked"),
    [
        ("auto", [("user", "Hello"), ("assistant", "1"), ("user", "And?")]),
        ("replay", [("user", "Hello"), ("assistant", "1"), ("user", "And?")]),
        ("none", [("user", "And?")]),
    ],
)
async def test_earlier_runs_are_the_context_of_later_ones(
    continuation: str, asked: list[tuple[str, str]]
) -> None:
    agent = ScriptedAgent(ScriptedApi("1", "2"), continuation=continuation)
    _, first = await agent.execute()

    await agent.execute(after(first), input="And?")

    assert agent.api.asked() == asked


async def test_hooks_see_the_run_and_may_change_the_prompt() -> None:
    seen: list[Any] = []

    async def started(request: Any) -> None:
        seen.append(request.input)

    async def prompt(content: Any) -> str:
        return f"{content}!"

    async def over(request: Any, result: Any) -> None:
        seen.append(result)

    hooks = Hooks(start=[started], prompt=[prompt], end=[over])
    agent = ScriptedAgent(ScriptedApi("1", Says(failure=KeyError("x"))), hooks=hooks)

    ended, _ = await agent.execute()
    failed, _ = await agent.execute(RecordingContext())

    assert agent.api.asked(0) == [("user", "Hello!")]
    assert seen == ["Hello", ended.output, "Hello", failed.error]


async def test_ids_that_an_endpoint_uses_twice_are_told_apart() -> None:
    counting = Counting()
    api = ScriptedApi(Says(calls=[ADD]), Says(calls=[("c1", "add", {"a": 5, "b": 5})]), "done")

    _, context = await ScriptedAgent(api, tools=counting.tools).execute()

    assert counting.calls == [(1, 2), (5, 5)]
    ids = [one["tool_call_id"] for one in data(context, "tool_call_completed")]
    assert ids == ["c1", "run:2:0"]
    assert [content for role, content in api.asked() if role == "tool"] == [
        [("add", 3)],
        [("add", 10)],
    ]


# ---- called again ----


async def resume(
    agent: ScriptedAgent, log: list[Event], **facts: Any
) -> tuple[Ended, RecordingContext]:
    context = RecordingContext(history=log, **({"attempt": 2} | facts))
    return await agent.execute(context)


async def test_an_approval_parks_the_run_and_its_answer_executes_the_call_once() -> None:
    counting = Counting()
    api = ScriptedApi(Says(calls=[ADD, LAUNCH]), "done")
    agent = ScriptedAgent(api, tools=counting.tools)
    parked, context = await agent.execute()
    assert parked.state is RunState.WAITING
    assert parked.parked is not None
    assert parked.parked[0] == "approval:c2"
    assert counting.calls == []

    answer = {"approval:c2": {"approved": True, "by": "ada"}}
    ended, later = await resume(agent, context.events, attempt=1, answers=answer)

    assert ended.output["content"] == "done"
    assert sorted(map(str, counting.calls)) == ["(1, 2)", "rocket"]
    assert types(later).count("message_sent") == 1
    assert types(later).count("tool_approval_requested") == 1
    assert data(later, "tool_approval_granted")[0]["by"] == "ada"
    assert len(data(later, "tool_call_completed")) == 2
    assert len(api.questions) == 2


async def test_a_denied_call_is_answered_to_the_model() -> None:
    counting = Counting()
    api = ScriptedApi(Says(calls=[LAUNCH]), "then not")
    agent = ScriptedAgent(api, tools=counting.tools)
    _, context = await agent.execute()

    answer = {"approval:c2": {"approved": False, "reason": "not today"}}
    ended, _ = await resume(agent, context.events, attempt=1, answers=answer)

    assert ended.output["content"] == "then not"
    assert counting.calls == []
    assert "not today" in str(api.asked())


async def test_a_call_that_was_begun_before_a_kill_is_not_executed_again() -> None:
    counting = Counting()
    api = ScriptedApi(Says(calls=[ADD, ("c3", "add", {"a": 2, "b": 2})]), "I see")
    _, context = await ScriptedAgent(ScriptedApi(*api.answers), tools=counting.tools).execute()
    log = cut_at(context, "tool_call_started")
    counting.calls.clear()
    api.answers.pop(0)

    ended, later = await resume(ScriptedAgent(api, tools=counting.tools), log)

    assert ended.output["content"] == "I see"
    assert counting.calls == [(2, 2)]
    (failed,) = data(later, "tool_call_failed")
    assert (failed["tool_call_id"], failed["error"]["code"]) == ("c1", "tool_interrupted")
    assert "outcome is unknown" in str(api.asked())


@pytest.mark.parametrize(
    ("type", "number", "asked", "executed"),
    [
        ("message_sent", 1, 2, 1),
        ("message_streamed", 1, 2, 1),
        ("message_received", 1, 1, 1),
        ("tool_call_completed", 1, 1, 0),
        ("message_streamed", 2, 1, 0),
        ("message_received", 2, 0, 0),
        ("turn_completed", 1, 0, 0),
    ],
)
async def test_a_requeued_run_goes_on_where_its_log_ends(
    type: str, number: int, asked: int, executed: int
) -> None:
    counting = Counting()
    answers = [Says("I add.", [ADD]), Says("3 it is")]
    whole, context = await ScriptedAgent(ScriptedApi(*answers), tools=counting.tools).execute()
    log = cut_at(context, type, number)
    counting.calls.clear()
    api = ScriptedApi(*answers[2 - asked :])

    ended, later = await resume(ScriptedAgent(api, tools=counting.tools), log)

    assert ended.output == whole.output
    assert len(api.questions) == asked
    assert len(counting.calls) == executed
    assert types(later, "message_sent", "message_received", "turn_completed") == types(
        context, "message_sent", "message_received", "turn_completed"
    )
    if asked:
        assert api.asked() == [
            ("user", "Hello"),
            ("assistant", [("add", {"a": 1, "b": 2})]),
            ("tool", [("add", 3)]),
        ]


async def test_a_run_whose_messages_were_recorded_in_part_records_them_all_again() -> None:
    messages = [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}]
    started = {"role": "user", "content": "1"}
    history = RecordingContext()
    await history.emit("message_sent", started)
    agent = ScriptedAgent(ScriptedApi("ok"))
    context = again(history)

    await execute(agent, context.request({"messages": messages}), context)

    sent = data(context, "message_sent")
    assert sent == [started, *messages]


# ---- steered ----


async def test_a_steer_is_in_the_next_request_and_skips_calls_that_are_not_begun() -> None:
    counting = Counting()
    counting.gate = trio.Event()
    waits = trio.Event()
    api = ScriptedApi(Says("I add.", [ADD], waits=waits), "As you like")
    agent = ScriptedAgent(api, tools=counting.tools)
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await context.wait_events(3)
        assert context.steer("Stop adding", id="s1")
        waits.set()

    assert counting.calls == []
    assert {"role": "user", "content": "Stop adding", "steer_id": "s1"} in data(
        context, "message_sent"
    )
    (failed,) = data(context, "tool_call_failed")
    assert failed["error"]["code"] == "tool_skipped"
    assert [role for role, _ in api.asked()] == ["user", "assistant", "tool", "user"]
    assert api.asked()[-1] == ("user", "Stop adding")


async def test_a_steer_during_the_last_answer_makes_the_run_go_on() -> None:
    waits = trio.Event()
    api = ScriptedApi(Says("Well", waits=waits), "More then")
    agent = ScriptedAgent(api)
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await context.wait_events(3)
        context.steer({"content": "Tell me more"})
        waits.set()

    assert api.asked()[-2:] == [("assistant", "Well"), ("user", "Tell me more")]


async def test_a_steer_that_comes_when_no_turn_is_left_is_left_to_a_run_of_its_own() -> None:
    waits = trio.Event()
    agent = ScriptedAgent(ScriptedApi(Says("Well", waits=waits)), turns_max=1)
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await context.wait_events(3)
        context.steer("More")
        waits.set()

    assert context.steers_taken == []
    assert data(context, "turn_completed") == [{"stop_reason": "end_turn", "turns": 1}]


async def test_a_steer_that_says_nothing_is_told_of_and_passed_over() -> None:
    waits = trio.Event()
    agent = ScriptedAgent(ScriptedApi(Says("Well", waits=waits), "Yes?"))
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await context.wait_events(3)
        context.steer({"nothing": 1})
        waits.set()

    assert data(context, "error_occurred")[0]["code"] == "steer_invalid"
    assert len(agent.api.questions) == 1


async def test_a_steer_that_was_taken_is_recorded_when_the_run_is_cancelled_then() -> None:
    begun, waits = trio.Event(), trio.Event()

    async def slow(content: Any) -> None:
        if content == "Stop":
            begun.set()
            await trio.sleep_forever()

    api = ScriptedApi(Says("Well", waits=waits))
    agent = ScriptedAgent(api, hooks=Hooks(prompt=[slow]))
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await context.wait_events(3)
        context.steer("Stop", id="s1")
        waits.set()
        await begun.wait()
        context.cancel()

    assert data(context, "message_sent")[-1]["steer_id"] == "s1"


# ---- cancelled ----


async def test_a_tool_that_is_cancelled_has_a_result_and_the_next_run_sees_it() -> None:
    counting = Counting()
    counting.gate = trio.Event()
    api = ScriptedApi(Says(calls=[ADD]), "Where were we?")
    agent = ScriptedAgent(api, tools=counting.tools)
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.execute, context)
        await counting.begun.wait()
        context.cancel()

    assert data(context, "tool_call_failed")[0]["error"]["code"] == "tool_cancelled"
    await agent.execute(after(context, "run_cancelled"), input="Go on")
    assert [role for role, _ in api.asked()] == ["user", "assistant", "tool", "user"]


async def test_an_answer_that_ends_too_early_is_a_lost_connection() -> None:
    @attrs.frozen
    class Cut(Says):
        def events(self) -> Any:
            return list(super().events())[:-1]

    ended, context = await ScriptedAgent(ScriptedApi(Cut("So far"))).execute()

    assert isinstance(ended.error, ConnectionLost)
    assert context.deltas() == "So far"
    assert types(context).count("message_received") == 0
