from __future__ import annotations

import math

import anyio
import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    KeyConflict,
    RunState,
    SessionBusy,
    SessionClosed,
    UnknownRun,
    UnknownSession,
    current_overrides,
    overriding,
)
from moorage.stores import MemoryStore

from tests.adapters.gateways.http_client.both_loops import both_loops, listening


@both_loops
async def test_a_run_is_submitted_and_waited_for(loop):
    async def work(client):
        session = await client.session("user 42/ü", tags={"plan": "pro"})
        run = await session.submit({"deltas": 2, "b": b"\0", "f": float("inf"), "$k": 1})
        outcome = await run.wait()
        return session, run, outcome, await run.status()

    async with listening() as server:
        session, run, outcome, state = await server.client(loop, work)
        own = await server.service.supervisor.handle("user 42/ü").wait(run.id)

    assert (session.id, run.session_id, run.key) == ("user 42/ü", "user 42/ü", None)
    assert outcome == own
    assert outcome.unwrap()["content"]["b"] == b"\0"
    assert state is RunState.COMPLETED


@both_loops
async def test_a_failed_run_has_its_problem(loop):
    async def work(client):
        return await (await client.session("a")).execute("fail")

    async with listening() as server:
        outcome = await server.client(loop, work)

    assert outcome.state is RunState.FAILED
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "told to fail")


@both_loops
async def test_overrides_go_to_the_server_with_the_run(loop):
    async def agent(request, context):
        return dict(current_overrides())

    async def work(client):
        session = await client.session("a")
        with overriding(model="small"):
            inside = await session.execute(None)
        return inside.unwrap(), (await session.execute(None)).unwrap()

    async with listening(agent=agent) as server:
        inside, outside = await server.client(loop, work)

    assert (inside, outside) == ({"model": "small"}, {})


async def test_a_key_is_the_same_run_and_another_input_a_conflict():
    async def work(client):
        session = await client.session("a")
        first = await session.submit("x", key=' k"1" ')
        again = await session.submit("x", key=' k"1" ')
        with pytest.raises(KeyConflict) as caught:
            await session.submit("y", key=' k"1" ')
        with pytest.raises(InvalidArgument, match="ASCII"):
            await session.submit("x", key="ü")
        return first, again, caught.value

    async with listening() as server:
        first, again, conflict = await server.client("trio", work)
        events = await server.service.supervisor.handle("a").events(types={"run_submitted"})

    assert first.id == again.id == conflict.run_id
    assert again.key == conflict.key == ' k"1" '
    assert [event.data["key"] for event in events] == [' k"1" ']


async def test_every_submit_has_a_key_of_its_own():
    async def work(client):
        session = await client.session("a")
        return [await session.submit("x") for _ in range(2)]

    async with listening() as server:
        one, other = await server.client("trio", work)
        events = await server.service.supervisor.handle("a").events(types={"run_submitted"})

    assert one.id != other.id
    assert len({event.data["key"] for event in events}) == 2


@both_loops
async def test_what_a_running_run_is_told_and_how_it_ends(loop):
    async def work(client):
        session = await client.session("a")
        asking = await session.submit("ask")
        async with session.subscribe(types={"run_asked"}) as events:
            asked = await anext(events)
        answered = await session.answer(asking.id, asked.data["name"], {"x": b"1"})
        late = await session.answer(asking.id, asked.data["name"], 2)
        outcome = await asking.wait()
        running = await session.submit("wait")
        async with session.subscribe(types={"message_streamed"}, run_id=running.id) as events:
            await anext(events)
        with pytest.raises(SessionBusy) as busy:
            await session.close()
        status = await session.status()
        cancelled = await running.cancel(reason="enough"), (await running.wait()).state
        steered = await running.steer("late")
        return (answered, late), outcome.output, busy.value, status, running, cancelled, steered

    async with listening() as server:
        answers, output, busy, status, running, cancelled, steered = await server.client(loop, work)

    assert answers == (True, False)
    assert output == {"answered": {"x": b"1"}}
    assert (busy.running, busy.session_id) == (1, "a")
    assert status.running == (running.id,)
    assert cancelled == (True, RunState.CANCELLED)
    assert steered.steered is False


async def test_a_session_is_changed_as_the_runtime_changes_it():
    async def work(client):
        session = await client.session("a")
        await session.configure(slots=3, tags={"t": "1"}, metadata={"b": b"1", "n": 1})
        await session.configure(metadata_update={"n": None}, summary="mine")
        info = await session.info()
        told = [await session.pause(), await session.pause(), await session.resume()]
        report = await session.drain(timeout_seconds=1)
        await session.resume()
        oldest = await session.trim(before=2)
        told += [await session.close(reason="done"), await session.close()]
        with pytest.raises(SessionClosed):
            await session.submit("x")
        told.append(await session.reopen())
        return info, told, report, oldest

    async with listening() as server:
        info, told, report, oldest = await server.client("trio", work)

    assert (info.slots, info.tags, info.metadata) == (3, {"t": "1"}, {"b": b"1"})
    assert info.summary == "mine"
    assert told == [True, False, True, True, False, True]
    assert report.completed == ()
    assert oldest == 2


async def test_unknown_ones_are_told_as_the_runtime_tells_them():
    async def work(client):
        session = await client.session("a")
        with pytest.raises(UnknownRun) as run:
            await session.run("nobody").wait()
        with pytest.raises(UnknownSession) as other:
            await client.handle("b").submit("x")
        with pytest.raises(UnknownRun):
            await session.cancel("nobody")
        with pytest.raises(InvalidArgument, match="request id"):
            await session.approve("nonsense")
        with pytest.raises(UnknownRun):
            await session.deny("nobody:call")
        return run.value, other.value

    async with listening() as server:
        run, other = await server.client("trio", work)

    assert (run.session_id, run.run_id) == ("a", "nobody")
    assert other.session_id == "b"


async def test_what_is_no_data_or_no_limit_is_refused_here():
    async def work(client):
        session = client.handle("a")
        with pytest.raises(InvalidArgument, match=r"input\['x'\]"):
            await session.submit({"x": object()})
        with pytest.raises(InvalidArgument, match="wait_seconds"):
            await session.execute("x", wait_seconds=-1)
        with pytest.raises(InvalidArgument):
            await session.submit("x", timeout_seconds=float("nan"))
        with pytest.raises(InvalidArgument, match="timeout_seconds"):
            await session.drain(timeout_seconds="soon")

    async with listening() as server:
        await server.client("trio", work)


class HeldAppends(MemoryStore):
    """Appends wait for ``held``, if it is there; shielded, like those of a real store."""

    def __init__(self):
        super().__init__()
        self.held = None
        self.reached = trio.Event()

    async def append(self, *args, **named):
        if self.held is not None:
            self.reached.set()
            with trio.CancelScope(shield=True):
                await self.held.wait()
        return await super().append(*args, **named)


@both_loops
async def test_what_became_of_a_submit_that_was_cancelled_is_known_by_its_key(loop):
    store = HeldAppends()
    cancelled = trio.Event()

    async def work(client):
        session = client.handle("a")

        async def submit():
            await session.submit("hello", key="k")
            raise AssertionError("its append is held")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            await server.told(store.reached)
            tasks.cancel_scope.cancel()
        server.tell(cancelled)
        run = await session.submit("hello", key="k")
        outcome = await run.wait()
        return run.id, outcome.unwrap()

    async with listening(store=store) as server, trio.open_nursery() as nursery:
        session = await server.service.supervisor.session("a")
        store.held = trio.Event()

        async def release():
            await cancelled.wait()
            store.held.set()

        nursery.start_soon(release)
        run_id, output = await server.client(loop, work)
        submitted = await session.events(types={"run_submitted"})

    assert [event.run_id for event in submitted] == [run_id]
    assert output == {"content": "hello"}


@both_loops
async def test_cancelling_a_wait_leaves_the_run_and_the_client_as_they_are(loop):
    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait")
        with anyio.move_on_after(0.05):
            await run.wait()
        return await run.status()

    async with listening() as server:
        state = await server.client(loop, work)

    assert state in (RunState.RUNNING, RunState.QUEUED)


@both_loops
async def test_a_message_with_a_key_is_given_once(loop):
    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait")
        first = await run.steer({"b": b"1"}, key=" m 1")
        again = await session.steer(run.id, {"b": b"1"}, key=" m 1")
        with pytest.raises(KeyConflict):
            await run.steer("another", key=" m 1")
        return first, again, (await session.status()).queued

    async with listening() as server:
        first, again, queued = await server.client(loop, work)

    assert first == again
    assert len(queued) == 1


@pytest.mark.parametrize(
    ("given", "told"), [(60, 60), ("never", math.inf), (math.inf, math.inf), ("by_policy", None)]
)
async def test_how_long_a_session_is_kept_is_said_and_replaced(given, told):
    async def work(client):
        await client.session("a", expire_after_seconds=given)
        other = await client.session("b", expire_after_seconds=1)
        await other.configure(expire_after_seconds=given)
        with pytest.raises(InvalidArgument):
            await other.configure(expire_after_seconds="soon")
        with pytest.raises(InvalidArgument, match="nan"):
            await other.configure(expire_after_seconds=math.nan)

    async with listening() as server:
        await server.client("trio", work)
        infos = [info async for info in server.service.supervisor.sessions()]

    assert [info.expire_after_seconds for info in infos] == [told, told]
