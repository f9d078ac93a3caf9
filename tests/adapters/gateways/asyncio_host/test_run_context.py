import asyncio

import pytest
from moorage.adapters.gateways import asyncio_host
from moorage.runtime import (
    BufferFull,
    InvalidArgument,
    NewEvent,
    RecordTooLarge,
    RunEnded,
    RunState,
    SupervisorLimits,
    current_run,
)
from moorage.stores import MemoryStore
from moorage.stores.artifacts import MemoryArtifacts, with_artifacts

from tests.adapters.gateways.asyncio_host.running import event_of, on_asyncio, opened
from tests.forked import forks, in_fork


@on_asyncio
async def test_what_is_emitted_is_recorded_in_order_and_cannot_be_changed_afterwards():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        data = {"number": 0}
        for number in range(200):
            data["number"] = number
            await context.emit("message_streamed", data, metadata={"own": number}, time_ns=number)

    async with opened(agent) as (_, session):
        await session.execute("hello")
        events = await session.events(types={"message_streamed"}, limit=300)

    assert [event.data["number"] for event in events] == list(range(200))
    assert [event.metadata["own"] for event in events] == list(range(200))
    assert [event.time_ns for event in events] == list(range(200))


@on_asyncio
async def test_what_is_refused_is_refused_where_it_is_emitted():
    refused = []

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        for type, data in (("run_started", {}), ("note", object()), ("note", "x" * 2_000)):
            try:
                await context.emit(type, data)
            except InvalidArgument as error:
                refused.append(error.__class__)

    async with opened(agent, limits=SupervisorLimits(record_bytes_max=1_024)) as (_, session):
        assert (await session.execute("hello")).state is RunState.COMPLETED

    assert refused == [InvalidArgument, InvalidArgument, RecordTooLarge]


@on_asyncio
async def test_flush_returns_when_all_is_durable():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("message_streamed", {"delta": "a"})
        await context.flush()
        events = await context.session.events(types={"message_streamed"})
        return [event.data for event in events]

    async with opened(agent) as (_, session):
        assert (await session.execute("hello")).unwrap() == [{"delta": "a"}]


@on_asyncio
async def test_emit_waits_and_emit_nowait_refuses_where_the_log_is_far_behind():
    found = []

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        # nothing that is emitted without a break can have been taken
        try:
            while True:
                context.emit_nowait("message_streamed", {"delta": "x" * 100})
                found.append("emitted")
        except BufferFull as error:
            found.append(error.limit)
        await context.emit("message_streamed", {"delta": "waits until there is room"})
        context.emit_nowait("message_streamed", {"delta": "and now there is"})

    async with opened(agent, limits=SupervisorLimits(emit_ahead_bytes_max=2_048)) as (_, session):
        (await session.execute("hello")).unwrap()
        events = await session.events(types={"message_streamed"})

    assert found[-1] == 2_048
    assert events[-1].data == {"delta": "and now there is"}
    assert len(events) == len(found) + 1


@on_asyncio
async def test_after_the_runs_end_nothing_is_emitted():
    kept = []

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        kept.append(context)

    async with opened(agent) as (_, session):
        await session.execute("hello")

        with pytest.raises(RunEnded):
            await kept[0].emit("message_streamed", {})
        with pytest.raises(RunEnded):
            kept[0].emit_nowait("message_streamed", {})
        with pytest.raises(RunEnded):
            await kept[0].flush()


@on_asyncio
async def test_an_agent_parks_and_is_called_again_with_the_answer():
    calls = []

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        calls.append(dict(request.answers))
        await context.emit("message_streamed", {"delta": "please"})
        return await context.park("approval", {"cents": 5})

    async with opened(agent) as (_, session):
        run = await session.submit("hello")
        waiting = await event_of(session, "run_waiting")
        seen = await session.events(types={"message_streamed"})
        assert await session.answer(run.id, "approval", {"approved": True})

        assert (await run.wait()).unwrap() == {"approved": True}

    assert waiting.data["data"] == {"cents": 5}
    assert [event.data for event in seen] == [{"delta": "please"}]
    assert calls == [{}, {"approval": {"approved": True}}]


@on_asyncio
async def test_an_agent_asks_and_waits_for_the_answer_in_its_slot():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        return await context.ask("name", {"why": "to greet"})

    async with opened(agent) as (_, session):
        run = await session.submit("hello")
        while not await session.answer(run.id, "name", "Ada"):
            await asyncio.sleep(0)

        assert (await run.wait()).unwrap() == "Ada"


@on_asyncio
async def test_an_agent_is_steered():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        context.accept_steers()
        await context.emit("message_streamed", {"delta": "ready"})
        await context.wait_steer()
        steers = await context.take_steers()
        for steer in steers:
            await context.emit("message_sent", {"content": steer.message, "steer_id": steer.id})
        return [steer.message for steer in steers]

    async with opened(agent) as (_, session):
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        steered = await run.steer("to the left")

        assert steered.steered
        assert (await run.wait()).unwrap() == ["to the left"]


@on_asyncio
async def test_the_context_tells_what_the_run_is():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        session = context.session
        await session.append("note", {"by": "the agent"})
        await session.append_many([NewEvent("note", {}), NewEvent("note", {})])
        await session.configure(metadata_update={"seen": True})
        return [
            context.session_id == request.session_id == (await session.info()).id,
            context.run_id == request.run_id,
            context.attempt,
            dict(context.metadata),
            context.limits == SupervisorLimits(),
            isinstance(session, asyncio_host.Session),
        ]

    async with opened(agent) as (_, session):
        outcome = await session.execute("hello", metadata={"a": 1})

        assert outcome.unwrap() == [True, True, 1, {"a": 1}, True, True]
        assert (await session.info()).metadata == {"seen": True}


@on_asyncio
async def test_an_agent_inside_of_a_wrapper_sees_what_the_wrapper_shows():
    big = "x" * 1_000

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("note", {"big": big})
        await context.flush()
        shown = await context.session.events(types={"note"})
        assert context.session.id == "user-1"
        assert asyncio_host.current_run() is context
        return shown[0].data["big"] == big

    wrapped = with_artifacts(agent, MemoryArtifacts(), over_bytes=100)
    async with opened(wrapped, MemoryStore()) as (_, session):
        assert (await session.execute("hello")).unwrap()
        kept = await session.events(types={"note"})

    assert kept[0].data["big"] != big


@on_asyncio
async def test_an_event_that_a_wrapper_refuses_later_fails_the_run():
    class Refusing:
        def __init__(self, context):
            self._context = context

        def __getattr__(self, name):
            return getattr(self._context, name)

        async def emit(self, type, data, **_):
            raise LookupError("not this one")

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("note", {})
        await asyncio.Event().wait()

    async def wrapper(request, context):
        return await agent(request, Refusing(current_run()))

    async with opened(wrapper) as (_, session):
        outcome = await session.execute("hello")

    assert outcome.state is RunState.FAILED
    assert "not this one" in outcome.error.message


@forks
@on_asyncio
async def test_what_a_fork_of_an_agent_asks_its_context_is_refused():
    told = []

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        data = {"delta": "of the fork"}
        for ask in (
            lambda: context.emit_nowait("message_streamed", data),
            lambda: asyncio.run(context.emit("message_streamed", data)),
            lambda: asyncio.run(context.flush()),
        ):
            # in a thread, where a fork has no loop that runs
            told.append((await asyncio.to_thread(in_fork, ask)).partition(":")[0])
        await context.emit("message_streamed", {"delta": "of the parent"})

    async with opened(agent) as (_, session):
        (await session.execute("x")).unwrap()
        events = await session.events(types={"message_streamed"})

    assert told == ["WrongProcess"] * 3
    assert [event.data["delta"] for event in events] == ["of the parent"]
