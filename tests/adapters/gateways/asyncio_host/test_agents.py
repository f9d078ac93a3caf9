import asyncio
import contextvars
import threading

import pytest
import trio
from moorage.adapters.gateways import asyncio_host
from moorage.adapters.gateways.asyncio_host import agents
from moorage.runtime import InvalidArgument, RunState, SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.asyncio_host.running import (
    SECONDS_MAX,
    endless,
    event_of,
    on_asyncio,
    opened,
)


@on_asyncio
async def test_an_asyncio_agent_runs_in_the_hosts_loop():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await asyncio.sleep(0)
        return [asyncio.get_running_loop() is loop, request.input]

    loop = asyncio.get_running_loop()
    async with opened({"default": agent, "other": endless}) as (_, session):
        outcome = await session.execute("hello")

    assert outcome.unwrap() == [True, "hello"]


@on_asyncio
async def test_a_cancelled_run_holds_its_slot_until_the_asyncio_task_has_ended():
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        try:
            await context.emit("message_streamed", {})
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()
            context.emit_nowait("message_streamed", {"last": "words"})

    async with opened(agent) as (_, session):
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        assert await run.cancel(reason="enough")
        await cleaning.wait()

        assert await run.status() is RunState.CANCELLING
        cleaned.set()
        assert (await run.wait()).state is RunState.CANCELLED
        events = await session.events(types={"message_streamed"})
        assert events[-1].data == {"last": "words"}


@on_asyncio
async def test_an_agents_exception_fails_its_run_and_nothing_else():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        raise {"lookup": LookupError, "exit": SystemExit}[request.input]("mine")

    async with opened(agent) as (_, session):
        for input in ("lookup", "exit"):
            outcome = await session.execute(input)

            assert outcome.state is RunState.FAILED
            assert "mine" in outcome.error.message


@on_asyncio
async def test_an_agent_that_was_not_made_for_its_loop_is_told_what_makes_it_one():
    async def of_asyncio(request, context):
        asyncio.get_running_loop()

    def plain(request, context):
        return 5

    made = asyncio_host.asyncio_agent(plain)
    async with opened({"of_asyncio": of_asyncio, "plain": plain, "made": made}) as (_, session):
        told = {
            name: (await session.execute(None, agent=name)).error.message
            for name in ("of_asyncio", "plain", "made")
        }

    assert "made by asyncio_agent" in told["of_asyncio"]
    assert "returned int" in told["plain"]
    assert "sync_agent makes one of a plain function" in told["plain"]
    assert told["made"] == told["plain"]


@on_asyncio
async def test_an_agent_whose_task_somebody_else_cancels_has_failed(monkeypatch):
    monkeypatch.setattr(agents, "STRAY_CANCEL_SECONDS", 0)

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with opened(agent) as (_, session):
        outcome = await session.execute("hello")

    assert (outcome.state, outcome.error.code) == (RunState.FAILED, "agent_task_cancelled")


def test_a_program_that_ends_without_leaving_has_its_runs_interrupted():
    store, kept = MemoryStore(), []

    async def serve():
        async with opened(endless, store) as (_, session):
            kept.append(await session.submit("hello"))
            await event_of(session, "message_streamed")
            kept.append("begun")
            await asyncio.Event().wait()

    async def main():
        kept.append(asyncio.create_task(serve()))
        while kept[-1] != "begun":
            await asyncio.sleep(0)

    async def look():
        async with opened(endless, store) as (_, session):
            return (await session.wait(kept[1].id)).state

    asyncio.run(main())  # which cancels all tasks, the agent's and the supervisor's

    assert asyncio.run(look()) is RunState.INTERRUPTED


async def test_without_an_asyncio_host_the_run_says_what_it_needs():
    async with open_supervisor(MemoryStore(), endless) as supervisor:
        session = await supervisor.session("user-1")

        outcome = await session.execute("hello")

    assert outcome.error.code == "invalid_argument"
    assert "asyncio_host" in outcome.error.message


def test_what_cannot_be_called_is_no_agent():
    with pytest.raises(InvalidArgument, match="callable"):
        asyncio_host.asyncio_agent("agent")


@on_asyncio
async def test_agents_of_all_kinds_find_their_run():
    from moorage.adapters.gateways import sync_host
    from moorage.runtime import current_run

    found = {}

    @asyncio_host.asyncio_agent
    async def in_asyncio(request, context):
        async def child():
            return asyncio_host.current_run() is context

        found["asyncio"] = [
            await asyncio.create_task(child()),
            await asyncio.to_thread(asyncio_host.current_run) is context,
            asyncio_host.current_session().id,
        ]

    async def in_trio(request, context):
        found["trio"] = [current_run() is context, await trio.to_thread.run_sync(current_run)]
        found["trio"][1] = found["trio"][1] is context
        with pytest.raises(InvalidArgument, match="no asyncio_agent"):
            asyncio_host.current_run()

    @sync_host.sync_agent
    def in_thread(request, context):
        kept = []
        copied = contextvars.copy_context()
        thread = threading.Thread(
            target=lambda: copied.run(lambda: kept.append(sync_host.current_run()))
        )
        thread.start()
        thread.join(SECONDS_MAX)
        found["sync"] = [
            sync_host.current_run() is context,
            kept == [context],
            sync_host.current_session().id,
        ]

    by_name = {"asyncio": in_asyncio, "trio": in_trio, "sync": in_thread}
    async with opened(by_name) as (_, session):
        for name in by_name:
            (await session.execute("hello", agent=name)).unwrap()

    assert found == {
        "asyncio": [True, True, "user-1"],
        "trio": [True, True],
        "sync": [True, True, "user-1"],
    }


@on_asyncio
async def test_an_agent_that_ignores_its_cancellation_is_reported():
    held = asyncio.Event()

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("message_streamed", {})
        while not held.is_set():
            try:
                await held.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    limits = SupervisorLimits(cancel_grace_seconds=0)
    async with opened(agent, limits=limits) as (_, session):
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        await run.cancel()
        await event_of(session, "error_occurred")
        held.set()

        assert (await run.wait()).state is RunState.CANCELLED
