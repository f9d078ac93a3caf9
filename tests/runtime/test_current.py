import contextvars
import functools
import gc
import weakref

import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    RunEnded,
    current_run,
    current_session,
    open_supervisor,
)
from moorage.stores import MemoryStore


def test_outside_of_an_agent_there_is_no_run():
    with pytest.raises(InvalidArgument, match="no run is current here"):
        current_run()
    with pytest.raises(InvalidArgument, match="no run is current here"):
        current_session()


async def test_an_agent_finds_its_run_in_its_tasks_and_threads():
    async def agent(request, context):
        found = [current_run() is context, current_session().id == request.session_id]

        async def child():
            found.append(current_run() is context)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        in_context = functools.partial(contextvars.copy_context().run, current_run)
        found.append(in_context() is context)
        found.append(await trio.to_thread.run_sync(current_run) is context)
        return found

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")

        outcome = await session.execute(None)

    assert outcome.unwrap() == [True] * 5


async def test_two_runs_at_once_find_each_its_own():
    async def agent(request, context):
        await trio.sleep(1)
        return current_run().run_id == request.run_id

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1", slots=2)
        runs = [await session.submit(None) for _ in range(2)]

        assert [(await run.wait()).unwrap() for run in runs] == [True, True]


async def test_what_outlives_the_run_finds_it_and_cannot_emit(autojump_clock):
    kept = []

    async def agent(request, context):
        kept.append(contextvars.copy_context())

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")
        await session.execute(None)

        with pytest.raises(RunEnded):
            kept[0].run(current_run).emit_nowait("message_streamed", {})


async def test_a_session_that_an_agent_opens_keeps_nothing_of_the_agents_run(autojump_clock):
    outer = []

    async def agent(request, context):
        if request.input == "outer":
            outer.append(weakref.ref(context))
            other = await supervisor.session("other")
            await other.execute("inner")
        return current_run().session_id

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")
        outcome = await session.execute("outer")
        await session.execute("another, so that nothing else remembers the first")
        gc.collect()

        assert outcome.unwrap() == "user-1"
        assert outer[0]() is None
        assert supervisor.statistics().sessions_resident == 2


async def test_the_limits_are_those_of_the_supervisor():
    async def agent(request, context):
        return context.limits is supervisor.limits

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")

        assert (await session.execute(None)).unwrap()
