"""Calls of the asyncio face and of the sync face, as ``example_calls.py`` has those of trio."""

from __future__ import annotations

from typing import Any, assert_type

from moorage.adapters.gateways import asyncio_host, sync_host
from moorage.runtime import (
    Agent,
    DrainReport,
    Event,
    Message,
    RunOutcome,
    RunRequest,
    RunState,
    SessionInfo,
    SessionStatus,
    SupervisorLimits,
    SupervisorStatistics,
    Transcript,
)
from moorage.stores import JournalStore, MemoryStore


@asyncio_host.asyncio_agent
async def agent(request: RunRequest, context: asyncio_host.AsyncioRunContext) -> object:
    await context.emit("message_streamed", {"delta": "Hel"})
    context.emit_nowait("message_streamed", {"delta": "lo"}, metadata={"provider": "x"})
    await context.flush()
    assert_type(asyncio_host.current_run().run_id, str)
    return await context.park("approval", {"question": "go on?"})


@sync_host.sync_agent
def blocking_agent(request: RunRequest, context: sync_host.SyncRunContext) -> object:
    context.emit("message_streamed", {"delta": "Hello"})
    context.check_cancelled()
    assert_type(context.cancelled, bool)
    return context.ask("name")


@asyncio_host.asyncio_agent  # type: ignore[arg-type]
def no_asyncio_agent(request: RunRequest, context: asyncio_host.AsyncioRunContext) -> object:
    return None


async def in_asyncio() -> None:
    agents: dict[str, Agent] = {"default": agent, "blocking": blocking_agent}
    limits = SupervisorLimits(runs_running_max=10)
    async with asyncio_host.open_supervisor(MemoryStore(), agents, limits=limits) as supervisor:
        session = await supervisor.session("user-42", slots=2, tags={"tenant": "acme"})
        assert_type(session, asyncio_host.Session)
        run = await session.submit({"messages": []}, key="k", on_interrupt="requeue")
        assert_type(run, asyncio_host.Run)
        await session.submit({}, on_interrupt="retry")  # type: ignore[arg-type]
        await session.submit()  # type: ignore[call-arg]
        assert_type(await run.wait(timeout_seconds=5), RunOutcome)
        assert_type(await run.cancel(reason="stop"), bool)
        assert_type(await run.status(), RunState)
        assert_type(await session.execute({}, wait_seconds=1), RunOutcome)
        async with session.subscribe(after="head", types={"note"}) as events:
            async for event in events:
                assert_type(event, Event)
                await events.ack(event)
            async for batch in events.batches():
                assert_type(batch, list[Event])
        assert_type(await session.events(after=0, limit=10), list[Event])
        assert_type(await session.status(), SessionStatus)
        assert_type(await session.fork(seq=7), asyncio_host.Session)
        assert_type(await session.cursor("mailer"), int | None)
        assert_type(await session.transcript(), Transcript)
        assert_type(await supervisor.drain(timeout_seconds=0), DrainReport)
        assert_type(await supervisor.statistics(), SupervisorStatistics)
        async for info in supervisor.sessions(prefix="user-"):
            assert_type(info, SessionInfo)


async def reading_in_asyncio() -> None:
    async with asyncio_host.open_reader(JournalStore("data")) as reader:
        session = reader.session("user-42")
        assert_type(await session.messages(), list[Message])
        await session.submit({})  # type: ignore[attr-defined]


def in_threads() -> None:
    with sync_host.open_supervisor(MemoryStore(), blocking_agent) as supervisor:
        session = supervisor.session("user-42", slots=2)
        assert_type(session, sync_host.Session)
        run = session.submit({"messages": []}, key="k")
        assert_type(run, sync_host.Run)
        session.submit({}, attempts_max="3")  # type: ignore[arg-type]
        assert_type(run.wait(timeout_seconds=5), RunOutcome)
        assert_type(run.cancel(), bool)
        assert_type(session.execute({}), RunOutcome)
        with session.subscribe(run_id=run.id) as events:
            for event in events:
                assert_type(event, Event)
            assert_type(events.next_batch(timeout_seconds=1), list[Event])
        assert_type(session.status(), SessionStatus)
        assert_type(session.fork(), sync_host.Session)
        assert_type(session.acknowledge("mailer", 7), int)
        assert_type(supervisor.statistics(), SupervisorStatistics)
        for info in supervisor.sessions():
            assert_type(info, SessionInfo)


def for_a_process() -> None:
    moorage = sync_host.ProcessSupervisor(lambda: JournalStore("data"), blocking_agent)
    assert_type(moorage.get(), sync_host.Supervisor)
    value: Any = moorage.get().session("user-42").execute({}).output
    assert value is None
    moorage.close()
    hooks = sync_host.GunicornHooks(moorage)
    hooks.on_starting(None)
