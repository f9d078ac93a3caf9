"""The session of a RecordingContext: what an agent under test sees of its session."""

from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.runtime import InvalidArgument, NewEvent, RunEnded, RunState


async def test_events_of_the_run_and_of_the_host_share_one_sequence() -> None:
    context = RecordingContext()
    await context.emit("message_sent", {"content": "hi"})
    note = await context.session.append("note", 1, metadata={"by": "host"})
    more = await context.session.append_many([NewEvent("note", 2), NewEvent("note", 3)])

    found = await context.session.events(after=1, types={"note"}, limit=2)
    last = await context.session.events(before=4, limit=1)
    own = await context.session.events(run_id="run")

    assert [note.seq, *(event.seq for event in more)] == [2, 3, 4]
    assert [event.data for event in found] == [1, 2]
    assert [event.seq for event in last] == [3]
    assert [event.type for event in own] == ["message_sent"]


async def test_it_refuses_what_a_session_refuses_and_keeps_nothing_of_it() -> None:
    context = RecordingContext()

    with pytest.raises(InvalidArgument):
        await context.session.append_many([NewEvent("note", 1), NewEvent("run_started", {})])
    with pytest.raises(InvalidArgument):
        await context.session.append("note", object())

    assert context.events == []


async def test_entries_of_the_metadata_are_changed_and_removed_one_by_one() -> None:
    context = RecordingContext(session_metadata={"a": 1, "b": 2})

    await context.session.configure(metadata_update={"a": None, "c": 3}, tags={"t": "x"}, slots=2)
    info = await context.session.info()

    assert (info.metadata, info.tags, info.slots) == ({"b": 2, "c": 3}, {"t": "x"}, 2)


async def test_a_conversation_goes_on_with_the_events_of_another_context() -> None:
    first = RecordingContext()
    await first.emit("message_sent", {"content": "one"})
    second = RecordingContext(run_id="run-2", history=first.events)

    async def agent(request, context):
        await context.emit("message_sent", {"content": "two"})
        return [event.data["content"] for event in await context.session.events()]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.wait_events, 1)
        ended = await execute(agent, second.request(), second)

    assert ended.output == ["one", "two"]


async def test_a_test_answers_what_an_agent_asks(autojump_clock) -> None:
    context = RecordingContext()

    async def agent(request, context):
        return [
            await context.ask("colour", {"choices": 2}),
            await context.ask("size", timeout_seconds=5, default="small"),
        ]

    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            name = await context.wait_asked()
            answers.append((name, context.asked[name], context.answer(name, "red")))
            answers.append(context.answer(name, "blue"))

        answers: list[object] = []
        nursery.start_soon(answer)
        ended = await execute(agent, context.request(), context)

    assert ended.output == ["red", "small"]
    assert answers == [("colour", {"choices": 2}, True), False]
    with pytest.raises(RunEnded):
        await context.wait_asked()


async def test_a_test_steers_an_agent_that_takes_messages(autojump_clock) -> None:
    context = RecordingContext()

    async def agent(request, context):
        refused = context.steer("too early")
        context.accept_steers()
        context.steer("left", id="M")
        await context.wait_steer()
        taken = context.take_steers()
        return [refused, [(steer.id, steer.message) for steer in taken], context.take_steers()]

    ended = await execute(agent, context.request(), context)

    assert ended.state is RunState.COMPLETED
    assert ended.output == [False, [("M", "left")], []]
    assert context.steer("too late") is False
    assert [steer.id for steer in context.steers_taken] == ["M"]
