import asyncio
import contextvars
import traceback
from contextlib import suppress

import pytest
import trio
from moorage.adapters.gateways import asyncio_host
from moorage.runtime import (
    CursorHeld,
    InvalidArgument,
    KeyConflict,
    RunState,
    UnknownRun,
    current_overrides,
    overriding,
)
from moorage.stores import MemoryStore

from tests.adapters.gateways.asyncio_host.running import (
    endless,
    event_of,
    on_asyncio,
    opened,
    parking,
)


class HeldAppends(MemoryStore):
    """Appends wait for ``held``, if it is there; shielded, like those of a real store."""

    def __init__(self):
        super().__init__()
        self.held = None
        self.reached = None

    async def append(self, *args, **named):
        if self.held is not None:
            self.reached()
            with trio.CancelScope(shield=True):
                await self.held.wait()
        return await super().append(*args, **named)


@on_asyncio
async def test_errors_cross_with_their_types_facts_and_tracebacks():
    async with opened() as (_, session):
        await session.submit("hello", key="k")

        with pytest.raises(KeyConflict) as caught:
            await session.submit("another", key="k")
        with pytest.raises(InvalidArgument, match="attempts_max"):
            await session.submit("hello", attempts_max=0)
        with pytest.raises(UnknownRun):
            await session.wait("run_nobody")

    assert caught.value.key == "k"
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "_submit_keyed" in frames  # where it was raised, in trio


@on_asyncio
async def test_a_wait_that_is_over_is_a_timeout_error_of_python_and_of_trio():
    async with opened(endless) as (_, session):
        run = await session.submit("hello")

        with pytest.raises(TimeoutError):
            await run.wait(timeout_seconds=0)
        with pytest.raises(trio.TooSlowError):
            await session.execute("hello", wait_seconds=0)
        await session.drain(timeout_seconds=0)


@on_asyncio
async def test_contextvars_cross():
    variable = contextvars.ContextVar("variable", default="unset")
    found = []

    async def agent(request, context):
        found.append(variable.get())

    async with asyncio_host.open_supervisor(MemoryStore(), agent) as supervisor:
        variable.set("the caller's")
        session = await supervisor.session("user-1")
        await session.execute("hello")

    assert found == ["the caller's"]


@on_asyncio
async def test_overrides_reach_runs_and_what_those_submit():
    @asyncio_host.asyncio_agent
    async def agent(request, context):
        if request.input == "inner":
            in_thread = await asyncio.to_thread(current_overrides)
            return [dict(current_overrides()), dict(in_thread)]
        other = await supervisor.session("other")
        return (await other.execute("inner")).unwrap()

    async with asyncio_host.open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")
        with overriding(model="small"):
            inside = await session.submit("outer")
        outside = await session.submit("outer")

        assert (await inside.wait()).unwrap() == [{"model": "small"}] * 2
        assert (await outside.wait()).unwrap() == [{}, {}]


@on_asyncio
async def test_a_cancelled_task_cancels_what_it_waits_for_in_trio():
    async with opened(endless) as (_, session):
        run = await session.submit("hello")
        waiting = asyncio.create_task(run.wait())
        await event_of(session, "message_streamed")
        waiting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.wait_idle()

        assert await run.status() is RunState.RUNNING
        await run.cancel()


@on_asyncio
async def test_a_task_cancelled_during_submit_learns_by_the_key_what_became_of_it():
    store, reached = HeldAppends(), asyncio.Event()
    loop = asyncio.get_running_loop()
    async with opened(parking, store) as (_, session):
        store.reached = lambda: loop.call_soon_threadsafe(reached.set)
        store.held = trio.Event()
        submitting = asyncio.create_task(session.submit("hello", key="k"))
        await reached.wait()
        for _ in range(3):
            submitting.cancel()
            await asyncio.sleep(0)
        told_early = submitting.done()
        session._portal.thread.run_soon(store.held.set)

        with pytest.raises(asyncio.CancelledError):
            await submitting

        assert not told_early  # it was handed over: it is told when that is settled
        settled = await session.events(types={"run_submitted"})
        assert len(settled) == 1
        assert (await session.submit("hello", key="k")).id == settled[0].run_id


@on_asyncio
async def test_a_task_cancelled_before_submit_is_handed_over_has_accepted_nothing():
    async with opened(parking) as (_, session):
        submitting = asyncio.create_task(session.submit("hello"))
        submitting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await submitting

        assert await session.events(types={"run_submitted"}) == []


@on_asyncio
async def test_reading_that_is_cancelled_takes_no_event_away():
    async with opened(parking) as (_, session), session.subscribe(after="head") as events:
        for number in range(20):
            reading = asyncio.create_task(events.__anext__())
            for _ in range(number % 5):
                await asyncio.sleep(0)
            appending = asyncio.create_task(session.append("note", {"number": number}))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            reading.cancel()
            await appending
            try:
                event = await reading
            except asyncio.CancelledError:
                event = await events.__anext__()
            assert event.data == {"number": number}


@on_asyncio
async def test_an_exception_inside_a_subscribers_loop_leaves_the_subscription():
    async with opened() as (_, session):
        await session.execute("hello")
        with pytest.raises(LookupError):
            async with session.subscribe(name="mail") as events:
                async for event in events:
                    await events.ack(event)
                    raise LookupError

        async with session.subscribe(name="mail") as events:
            assert (await events.__anext__()).seq == 2
            assert events.cursor >= 2
            with pytest.raises(CursorHeld):
                async with session.subscribe(name="mail"):
                    raise AssertionError("two have it")


@on_asyncio
async def test_batches_have_what_iterating_has_left():
    async with opened() as (_, session):
        run = await session.submit("hello")
        await run.wait()
        async with session.subscribe(run_id=run.id) as events:
            first = await events.__anext__()

            batches = [batch async for batch in events.batches()]

    seqs = [first.seq, *(event.seq for batch in batches for event in batch)]
    assert seqs == list(range(2, 8))


@on_asyncio
async def test_a_subscription_cancelled_while_it_is_entered_holds_no_name():
    async with opened() as (_, session):
        for turns in range(6):
            entering = asyncio.create_task(session.subscribe(name="mail").__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            with suppress(asyncio.CancelledError):
                await (await entering).__aexit__(None, None, None)

            async with session.subscribe(name="mail"):
                pass


@on_asyncio
async def test_the_conversation_of_a_session_is_there_in_asyncio():
    async with opened() as (supervisor, session):
        await session.add_messages([{"role": "user", "content": "My name is Ada."}])
        transcript = await session.transcript()
        label = await session.label("begin")
        checkpoint = await session.checkpoint()
        await session.add_messages([{"role": "assistant", "content": "Hello."}])

        assert [message.role for message in await session.messages()] == ["user", "assistant"]
        assert len(transcript.since(0)) == 1  # a copy
        assert await session.labels() == [label]
        assert await session.checkpoints() == [checkpoint]
        assert len(await session.events_since_label("begin")) == 3
        await session.restore(checkpoint.checkpoint_id)
        assert len(await session.context()) == 1
        fork = await session.fork("user-2")
        assert isinstance(fork, asyncio_host.Session)
        assert [said["content"] for said in await fork.export_messages()] == ["My name is Ada."]
        follow_up = await fork.rotate("Ada was here.", session_id="user-3")
        assert (await supervisor.handle("user-3").info()).id == follow_up.id


@on_asyncio
async def test_the_rest_of_a_session_answers_in_asyncio():
    async with opened(parking) as (_, session):
        run = await session.submit({"approve": "it"})
        await event_of(session, "run_waiting")
        handle = session.run(run.id)

        assert (handle.id, handle.session_id, handle.key) == (run.id, "user-1", None)
        assert await run.status() is RunState.WAITING
        assert (await session.status()).waiting == (run.id,)
        assert await session.answer(run.id, "go", "yes")
        assert (await handle.wait()).unwrap() == "yes"
        assert await session.pause()
        assert await session.resume()
        await session.configure(tags={"tenant": "acme"})
        assert (await session.info()).tags == {"tenant": "acme"}
        assert await session.close()
        assert await session.reopen()
        assert await session.trim(before=3) == 3
