import asyncio
import gc
import signal
import threading

import pytest
import trio
from moorage.adapters.gateways import asyncio_host
from moorage.runtime import (
    AdmissionClosed,
    RunState,
    SessionHeld,
    SupervisorLimits,
    UnknownSession,
)
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.gateways.asyncio_host.running import (
    SECONDS_MAX,
    endless,
    event_of,
    on_asyncio,
    opened,
    parking,
    streaming,
)
from tests.forked import forks, in_fork


@on_asyncio
async def test_a_run_is_submitted_followed_and_waited_for():
    async with opened() as (_, session):
        run = await session.submit("hello", key="message-1")

        async with session.subscribe(run_id=run.id) as events:
            seen = [event.type async for event in events]

        outcome = await run.wait()
        again = await session.submit("hello", key="message-1")

    assert seen == ["run_submitted", "run_started", *["message_streamed"] * 3, "run_completed"]
    assert outcome.unwrap() == {"input": "hello"}
    assert (again.id, again.key) == (run.id, "message-1")


def test_it_works_on_uvloop():
    uvloop = pytest.importorskip("uvloop", reason="install the extra: pip install -e '.[test]'")

    async def main():
        async with opened(endless) as (_, session):
            run = await session.submit("hello")
            await event_of(session, "message_streamed")
            await run.cancel()
            return (await run.wait()).state

    assert uvloop.run(main()) == RunState.CANCELLED


@on_asyncio
async def test_the_supervisor_runs_in_a_thread_of_its_own():
    threads = []

    async def agent(request, context):
        threads.append(threading.current_thread())

    async with opened(agent) as (_, session):
        await session.execute("hello")

    assert threads[0] is not threading.current_thread()
    assert not threads[0].is_alive()


@on_asyncio
async def test_what_the_block_raises_is_raised_bare_and_interrupts_what_runs():
    store = MemoryStore()
    with pytest.raises(LookupError, match="the host's own"):
        async with opened(endless, store) as (_, session):
            run = await session.submit("hello")
            await event_of(session, "message_streamed")
            raise LookupError("the host's own")

    async with opened(endless, store) as (_, session):
        assert (await session.wait(run.id)).state is RunState.INTERRUPTED


@on_asyncio
async def test_leaving_normally_drains():
    go = asyncio.Event()

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("message_streamed", {})
        await go.wait()
        return "finished"

    store = MemoryStore()
    async with opened(agent, store) as (_, session):
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        asyncio.get_running_loop().call_soon(go.set)

    async with opened(agent, store) as (_, session):
        assert (await session.wait(run.id)).unwrap() == "finished"


@on_asyncio
async def test_a_store_that_cannot_be_opened_raises_out_of_the_opening(tmp_path):
    async with opened(store=JournalStore(tmp_path)):
        with pytest.raises(SessionHeld):
            async with opened(store=JournalStore(tmp_path)):
                raise AssertionError("it was opened twice")


@on_asyncio
async def test_two_supervisors_live_in_one_process_without_mixing():
    async with opened() as (one, first), opened(parking) as (other, second):
        run = await second.submit("hello")
        waiting = await event_of(second, "run_waiting")

        assert (await first.execute("hello")).unwrap() == {"input": "hello"}
        assert await second.answer(run.id, "go", 1)
        assert (await run.wait()).unwrap() == 1

        assert waiting.run_id == run.id
        assert [event.type for event in await first.events(types={"run_waiting"})] == []
        await one.delete_session("user-1")
        assert [info.id async for info in other.sessions()] == ["user-1"]


class NeverOpened(MemoryStore):
    """Opening it takes for ever; ``asked`` is set once somebody tries."""

    def __init__(self):
        super().__init__()
        self.asked = threading.Event()

    def opened(self, **_):
        return self

    async def __aenter__(self):
        self.asked.set()
        await trio.sleep_forever()

    async def __aexit__(self, *_):
        return None


@on_asyncio
async def test_cancelled_while_opening_it_leaves_nothing_behind():
    store = NeverOpened()

    async def open():
        async with asyncio_host.open_supervisor(store, streaming):
            raise AssertionError("it was opened")

    task = asyncio.create_task(open())
    await asyncio.to_thread(store.asked.wait, SECONDS_MAX)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@on_asyncio
async def test_after_leaving_every_call_is_refused():
    async with opened() as (supervisor, session):
        run = await session.submit("hello")

    for call in (session.submit("again"), run.wait(), supervisor.session("x"), session.info()):
        with pytest.raises(AdmissionClosed):
            await call
    async with asyncio_host.open_supervisor(MemoryStore(), streaming):
        pass


@on_asyncio
async def test_calls_that_are_pending_when_it_leaves_are_answered():
    async with opened(endless, limits=SupervisorLimits(drain_seconds=0)) as (_, session):
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        waiting = asyncio.create_task(run.wait())
        subscription = session.subscribe(after="head")
        await subscription.__aenter__()
        reading = asyncio.create_task(subscription.__anext__())
        await asyncio.sleep(0)

    assert (await waiting).state is RunState.INTERRUPTED
    assert (await reading).type == "run_interrupted"
    assert [event async for event in subscription] == []
    await subscription.__aexit__(None, None, None)


@on_asyncio
async def test_a_task_that_is_cancelled_while_it_leaves_is_told_behind_the_drain():
    store, held = MemoryStore(), asyncio.Event()

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        await context.emit("message_streamed", {})
        await held.wait()
        return "finished"

    leaving = asyncio.Event()

    async def serve():
        async with opened(agent, store) as (_, session):
            await session.submit("hello", key="k")
            await event_of(session, "message_streamed")
            leaving.set()

    task = asyncio.create_task(serve())
    await leaving.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with opened(agent, store) as (_, session):
        run = await session.submit("hello", key="k")
        assert (await run.wait()).unwrap() == "finished"


@on_asyncio
async def test_a_supervisor_that_fails_by_itself_ends_the_block_with_its_failure():
    async def agent(request, context):
        raise KeyboardInterrupt("meant for the whole program")

    with pytest.raises(KeyboardInterrupt, match="meant for the whole program"):
        async with opened(agent) as (_, session):
            await session.submit("hello")
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0


@on_asyncio
async def test_the_supervisor_goes_on_while_the_host_blocks_its_loop():
    held, done = threading.Event(), threading.Event()

    async def agent(request, context):
        await trio.to_thread.run_sync(held.wait, SECONDS_MAX)
        return "durable"

    async with opened(agent) as (supervisor, session):
        run = await session.submit("hello")

        def another_client():
            async def main():
                handle = supervisor.handle("user-1")
                return (await handle.run(run.id).wait()).unwrap()

            outputs.append(asyncio.run(main()))
            done.set()

        outputs = []
        other = threading.Thread(target=another_client)
        other.start()
        # this blocks the loop: the run ends, and the other client is served, all the same
        held.set()
        assert done.wait(SECONDS_MAX)
        other.join()

        assert outputs == ["durable"]


def test_ctrl_c_leaves_cleanly():
    store, kept = MemoryStore(), []

    async def main():
        async with opened(endless, store) as (_, session):
            kept.append(await session.submit("hello"))
            await event_of(session, "message_streamed")
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    async def look():
        async with opened(endless, store) as (_, session):
            return (await session.wait(kept[0].id)).state

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())

    assert asyncio.run(look()) is RunState.INTERRUPTED


@on_asyncio
async def test_another_loop_in_another_thread_may_use_it():
    async with opened() as (supervisor, _):

        async def elsewhere():
            session = await supervisor.session("user-2")
            async with session.subscribe(after=0) as events:
                run = await session.submit("hello")
                async for event in events:
                    if event.type == "run_completed":
                        break
                return (await run.wait()).unwrap()

        found = await asyncio.to_thread(asyncio.run, elsewhere())

        assert found == {"input": "hello"}
        assert [info.id async for info in supervisor.sessions(prefix="user-2")] == ["user-2"]


def test_a_loop_that_is_closed_under_it_takes_it_down(monkeypatch):
    monkeypatch.setattr(asyncio_host.opening, "LOOP_LOOK_SECONDS", 0.01)
    store, kept = MemoryStore(), []

    async def main():
        block = opened(endless, store)
        kept.append(block)
        _, session = await block.__aenter__()
        run = await session.submit("hello")
        await event_of(session, "message_streamed")
        return run.id

    loop = asyncio.new_event_loop()
    run_id = loop.run_until_complete(main())
    abandoned = asyncio.all_tasks(loop)
    loop.close()
    for thread in threading.enumerate():
        if thread.name == "moorage supervisor":
            thread.join(SECONDS_MAX)
            assert not thread.is_alive()
    for task in abandoned:
        task._log_destroy_pending = False  # it was meant to be
    del abandoned

    async def look():
        async with opened(endless, store) as (_, session):
            return (await session.wait(run_id)).state

    assert asyncio.run(look()) is RunState.INTERRUPTED
    gc.collect()


@forks
@on_asyncio
async def test_in_a_forked_process_it_refuses_and_the_parents_goes_on():
    async with opened() as (_, session):

        def submit():
            return asyncio.run(session.submit("hello"))

        # in a thread, where a fork has no loop that runs
        refused = await asyncio.to_thread(in_fork, submit)

        assert refused.startswith("WrongProcess: ")
        assert (await session.execute("hello")).unwrap() == {"input": "hello"}


def test_it_may_be_entered_and_left_by_different_tasks_of_a_loop():
    block = opened()
    with asyncio.Runner() as runner:  # as fixtures are, each step of which is a task of its own
        _, session = runner.run(block.__aenter__())
        assert runner.run(session.execute("hello")).unwrap() == {"input": "hello"}
        runner.run(block.__aexit__(None, None, None))
        with pytest.raises(AdmissionClosed):
            runner.run(session.submit("more"))
    assert [t for t in threading.enumerate() if t.name == "moorage supervisor"] == []


@on_asyncio
async def test_many_loops_use_it_at_once():
    async with opened() as (supervisor, _):

        async def elsewhere(number):
            session = await supervisor.session(f"user-{number}")
            outcomes = await asyncio.gather(*(session.execute(n) for n in range(10)))
            return [outcome.unwrap()["input"] for outcome in outcomes]

        found = await asyncio.gather(
            *(asyncio.to_thread(asyncio.run, elsewhere(number)) for number in range(4))
        )

        assert found == [list(range(10))] * 4


@on_asyncio
async def test_listing_crosses_in_pages_and_may_be_left_early():
    async with opened() as (supervisor, _):
        for number in range(120):
            await supervisor.session(f"many-{number:03}")

        ids = [info.id async for info in supervisor.sessions(prefix="many-")]
        async for info in supervisor.sessions(prefix="many-"):
            assert info.id == "many-119"
            break

        assert ids == [f"many-{number:03}" for number in reversed(range(120))]


@on_asyncio
async def test_a_reader_reads_beside_the_owner(tmp_path):
    async with opened(store=JournalStore(tmp_path)) as (_, session):
        outcome = await session.execute("hello")
        async with asyncio_host.open_reader(JournalStore(tmp_path)) as reader:
            seen = reader.session("user-1")

            assert (await seen.wait(outcome.run_id)).unwrap() == {"input": "hello"}
            assert [info.id async for info in reader.sessions()] == ["user-1"]
            async with seen.subscribe(run_id=outcome.run_id) as events:
                assert len([event async for event in events]) == 6
            assert (await reader.statistics()) is not None
            with pytest.raises(UnknownSession):
                await reader.session("nobody").info()


@on_asyncio
async def test_the_rest_of_a_supervisor_answers_in_asyncio():
    async with opened() as (supervisor, session):
        assert supervisor.limits == SupervisorLimits()
        assert (await supervisor.statistics()).sessions_resident == 1
        assert (await supervisor.run_once("x")).unwrap() == {"input": "x"}
        assert not await supervisor.unquarantine("user-1")
        assert await supervisor.delete_session("user-1")
        with pytest.raises(UnknownSession):
            await session.info()
        assert (await supervisor.drain(timeout_seconds=0)).completed == ()
