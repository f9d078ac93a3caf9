from __future__ import annotations

import time

import pytest
import trio
from moorage.adapters.agents.provider.approvals import (
    Decision,
    ToolCall,
    read_decision,
    request_approval,
)
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState
from moorage.stores import MemoryStore

CALL = ToolCall("call-1", "delete", {"path": "a"})
REQUESTED = {
    "request_id": "run:call-1",
    "tool_call_id": "call-1",
    "tool_name": "delete",
    "tool_input": {"path": "a"},
}


NAME = "approval:call-1"


def agent(decisions, *, hold=False, timeout_seconds=None, default="deny"):
    async def run(request, context):
        decisions.append(
            await request_approval(
                context,
                request,
                CALL,
                hold=hold,
                timeout_seconds=timeout_seconds,
                default=default,
                metadata={"provider": "x"},
            )
        )

    return run


def told(context):
    return [(event.type, event.data) for event in context.events]


async def test_without_hold_the_run_is_parked_under_the_name_of_the_call():
    context, decisions = RecordingContext(), []

    ended = await execute(agent(decisions), context.request(), context)

    assert ended.state is RunState.WAITING
    assert ended.parked == (NAME, REQUESTED)
    assert told(context) == [("tool_approval_requested", REQUESTED)]
    assert context.events[0].metadata == {"provider": "x"}
    assert decisions == []


async def test_when_it_is_called_again_the_answer_is_there_and_nothing_is_asked_twice():
    first, decisions = RecordingContext(), []
    await execute(agent(decisions), first.request(), first)
    answer = {"approved": True, "by": "ada", "tool_input": {"path": "b"}}
    second = RecordingContext(history=first.events, answers={NAME: answer})

    await execute(agent(decisions), second.request(), second)
    third = RecordingContext(history=second.events, answers={NAME: answer})
    await execute(agent(decisions), third.request(), third)

    granted = {
        "request_id": "run:call-1",
        "tool_call_id": "call-1",
        "tool_name": "delete",
        "tool_input": {"path": "b"},
        "by": "ada",
    }
    assert told(second) == [
        ("tool_approval_requested", REQUESTED),
        ("tool_approval_granted", granted),
    ]
    assert told(third) == told(second)
    assert decisions == [Decision(True, tool_input={"path": "b"}, by="ada")] * 2


async def test_what_was_told_is_found_among_many_others():
    first, decisions = RecordingContext(), []
    for index in range(250):
        await first.emit("tool_approval_requested", {"request_id": f"other-{index}"})
    await execute(agent(decisions), first.request(), first)
    answers = {NAME: {"approved": True}}
    second = RecordingContext(history=first.events, answers=answers)

    await execute(agent(decisions), second.request(), second)

    assert [event.type for event in second.events[250:]] == [
        "tool_approval_requested",
        "tool_approval_granted",
    ]


async def test_with_hold_the_task_waits_for_the_answer(autojump_clock):
    context, decisions = RecordingContext(), []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, agent(decisions, hold=True), context.request(), context)
        await context.wait_asked(NAME)
        asked = dict(context.asked)
        context.answer(NAME, {"approved": False, "reason": "too risky"})

    assert asked == {NAME: REQUESTED}
    assert decisions == [Decision(False, "too risky")]
    assert [event.type for event in context.events] == [
        "tool_approval_requested",
        "tool_approval_denied",
    ]
    assert context.events[-1].data["reason"] == "too risky"


class Restarted:
    """A run whose program is started for the second time, after it left ``CALL`` open."""

    def __init__(self):
        self.context = RecordingContext(attempt=2)
        self.decisions = {}
        self._taken = set()

    async def begin(self, *, answers=None, decided=None):
        first = RecordingContext()
        await first.emit("tool_approval_requested", REQUESTED)
        if decided is not None:
            await first.emit(f"tool_approval_{decided}", {"request_id": "run:call-1"})
        self.context = RecordingContext(attempt=2, history=first.events, answers=answers or {})

    async def ask(self, call):
        self.decisions[call.tool_call_id] = await request_approval(
            self.context,
            self.context.request(),
            call,
            hold=True,
            timeout_seconds=None,
            default="deny",
            taken=self._taken,
        )

    @property
    def told(self):
        return [
            (event.type.removeprefix("tool_approval_"), event.data["request_id"])
            for event in self.context.events[1:]
        ]


@pytest.fixture
def restarted():
    return Restarted()


AGAIN = ToolCall("call-2", "delete", {"path": "a"})


async def test_an_equal_call_behind_a_restart_asks_under_the_same_id(restarted):
    await restarted.begin()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.ask, AGAIN)
        await restarted.context.wait_asked(NAME)
        requested = restarted.context.events[-1].data
        restarted.context.answer(NAME, True)

    assert requested == {**REQUESTED, "tool_call_id": "call-2"}
    assert restarted.told == [("requested", "run:call-1"), ("granted", "run:call-1")]
    assert restarted.decisions == {"call-2": Decision(True)}


async def test_what_was_answered_before_a_restart_asked_again_counts_for_one_call(restarted):
    await restarted.begin(answers={NAME: True})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.ask, AGAIN)
        nursery.start_soon(restarted.ask, ToolCall("call-3", "delete", {"path": "a"}))
        restarted.context.answer(await restarted.context.wait_asked(), False)

    assert sorted(restarted.decisions.values(), key=lambda decision: decision.approved) == [
        Decision(False),
        Decision(True),
    ]


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("call-2", "delete", {"path": "b"}),
        ToolCall("call-2", "remove", {"path": "a"}),
        ToolCall("call-1", "delete", {"path": "b"}),
    ],
    ids=["another input", "another tool", "the same id"],
)
async def test_another_call_behind_a_restart_asks_a_question_of_its_own(restarted, call):
    await restarted.begin(answers={NAME: True})
    name = "approval:call-2" if call.tool_call_id == "call-2" else "approval:call-1.2"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.ask, call)
        await restarted.context.wait_asked(name)
        restarted.context.answer(name, False)

    assert restarted.decisions == {call.tool_call_id: Decision(False)}


@pytest.mark.parametrize("decided", ["granted", "denied"])
async def test_an_answer_that_a_call_went_on_with_counts_for_no_other(restarted, decided):
    await restarted.begin(answers={NAME: True}, decided=decided)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.ask, AGAIN)
        await restarted.context.wait_asked("approval:call-2")
        restarted.context.answer("approval:call-2", False)

    assert restarted.decisions == {"call-2": Decision(False)}


async def test_an_approval_is_durable_before_the_call_goes_on_with_it(restarted):
    await restarted.begin(answers={NAME: True})
    restarted.context.hold_log()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.ask, AGAIN)
        await restarted.context.wait_blocked()
        while_held = dict(restarted.decisions), restarted.told[-1:]
        restarted.context.release_log()

    assert while_held == ({}, [("granted", "run:call-1")])
    assert restarted.decisions == {"call-2": Decision(True)}


@pytest.mark.parametrize(
    ("default", "type"), [("deny", "tool_approval_denied"), ("approve", "tool_approval_granted")]
)
async def test_a_time_limit_has_an_answer_of_its_own(default, type, autojump_clock):
    context, decisions = RecordingContext(), []
    before = time.time_ns()

    await execute(
        agent(decisions, hold=True, timeout_seconds=30, default=default),
        context.request(),
        context,
    )

    assert trio.current_time() == pytest.approx(30)
    assert decisions == [
        Decision(default == "approve", "nobody answered within 30 seconds", by="timeout")
    ]
    assert context.events[0].data["expires_at_ns"] >= before + 30 * 10**9
    assert (context.events[1].type, context.events[1].data["by"]) == (type, "timeout")


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (True, Decision(True)),
        (False, Decision(False)),
        ({"approved": True}, Decision(True)),
        ({"approved": False, "reason": "no", "by": 7}, Decision(False, "no", by="7")),
        ({"approved": "yes"}, Decision(False, "the answer could not be read")),
        (None, Decision(False, "the answer could not be read")),
        (1, Decision(False, "the answer could not be read")),
        (
            {"approved": True, "tool_input": "rm"},
            Decision(False, "the tool_input of the answer is no map"),
        ),
    ],
)
def test_an_answer_that_cannot_be_read_is_a_denial(answer, decision):
    assert read_decision(answer) == decision


async def test_a_default_that_is_no_answer_is_refused_before_anything_is_asked():
    context = RecordingContext()

    with pytest.raises(InvalidArgument):
        await request_approval(
            context, context.request(), CALL, hold=True, timeout_seconds=1, default="perhaps"
        )

    assert context.events == []


async def test_an_approval_that_was_left_open_is_answered_in_a_session_trimmed_meanwhile(
    autojump_clock,
):
    async def approving(request, context):
        if request.input == "earlier":
            return None
        call = ToolCall("call_1", "launch", {})
        decision = await request_approval(
            context, request, call, hold=False, timeout_seconds=None, default="deny"
        )
        return decision.approved

    async with open_supervisor(MemoryStore(), approving) as supervisor:
        session = await supervisor.session("s")
        await session.execute("earlier")
        run = await session.submit("ask")
        await trio.sleep(1)
        oldest = await session.trim(before=(await session.info()).head_seq)
        approved = await session.approve(f"{run.id}:call_1")
        outcome = await run.wait()

    assert oldest > 1
    assert approved is True
    assert outcome.output is True
