from __future__ import annotations

import anyio
import attrs
import httpx
import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http_client import ClientLimits, ServerUnreachable
from moorage.adapters.gateways.http_client.handles import Session
from moorage.adapters.gateways.http_client.subscription import check_types, filters_of
from moorage.adapters.gateways.http_client.transport import Transport
from moorage.runtime import CursorExpired, CursorHeld, InvalidArgument, UnknownRun, UnknownSession

from tests.adapters.gateways.http_client.both_loops import HASTY, both_loops, listening
from tests.adapters.gateways.http_client.cutting import cutting


@both_loops
async def test_it_follows_from_the_backlog_to_the_close(loop):
    async def work(client):
        session = await client.session("a")
        await session.execute({"deltas": 3})
        got = []
        async with session.subscribe() as events:
            async for event in events:
                got.append(event)
                if event.type == "run_completed":
                    await session.close()
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        return got, await session.events(limit=1_000)

    async with listening() as server:
        got, log = await server.client(loop, work)

    assert got == log
    assert got[-1].type == "session_closed"


async def test_filters_the_end_of_a_run_and_batches():
    async def work(client):
        session = await client.session("a")
        run = await session.submit({"deltas": 4})
        other = await session.submit({"deltas": 1})
        await other.wait()
        of_run, batches = [], []
        async with session.subscribe(run_id=run.id, types={"message_streamed"}) as events:
            of_run.append(await anext(events))
            async for batch in events.batches():
                batches.append(batch)
        return run, of_run, batches

    async with listening() as server:
        run, of_run, batches = await server.client("trio", work)

    deltas = of_run + [event for batch in batches for event in batch]
    assert [event.data["delta"] for event in deltas] == [f"word {n}" for n in range(4)]
    assert {event.run_id for event in deltas} == {run.id}


async def test_from_now_on_means_from_entering():
    async def work(client):
        session = await client.session("a")
        await session.append("note", {"n": 1})
        async with session.subscribe(after="head") as events:
            await session.append("note", {"n": 2})
            return (await anext(events)).data

    async with listening() as server:
        assert await server.client("trio", work) == {"n": 2}


async def test_entering_refuses_what_the_runtime_refuses():
    async def work(client):
        session = await client.session("a")
        await session.append("note", {})
        await session.append("note", {})
        await session.trim(before=3)
        with pytest.raises(CursorExpired) as expired:
            await session.subscribe(after=0).__aenter__()
        with pytest.raises(InvalidArgument, match="head"):
            await session.subscribe(after=99).__aenter__()
        with pytest.raises(UnknownRun):
            await session.subscribe(after=2, run_id="nobody").__aenter__()
        with pytest.raises(UnknownSession):
            await client.handle("b").subscribe().__aenter__()
        with pytest.raises(InvalidArgument, match="after"):
            session.subscribe(after=-1)
        with pytest.raises(InvalidArgument, match="enter"):
            await anext(session.subscribe())
        async with session.subscribe(after=2) as events:
            with pytest.raises(InvalidArgument, match="before"):
                await events.__aenter__()
        return expired.value

    async with listening() as server:
        expired = await server.client("trio", work)

    assert (expired.oldest_seq, expired.after) == (3, 0)


async def noted(supervisor, count=9):
    """A session with events up to seq ``count + 1``."""
    session = await supervisor.session("a")
    for number in range(count):
        await session.append("note", {"n": number})
    return session


@both_loops
async def test_a_name_goes_on_behind_what_it_has_acknowledged(loop):
    async def work(client):
        session = client.handle("a")
        got = []
        async with session.subscribe(after=2, name="mine") as events:
            async for event in events:
                got.append(event.seq)
                if event.seq == 5:
                    await events.ack(event)
                if event.seq == 7:
                    break
        async with session.subscribe(after=9, name="mine") as events:
            again = await anext(events)
        async with session.subscribe(after=7, types={"note"}, name="another") as events:
            fresh = await anext(events)
        return got, again.seq, fresh.seq, await session.cursor("mine")

    async with listening() as server:
        session = await noted(server.service.supervisor)
        got, again, fresh, stored = await server.client(loop, work)
        there = await session.cursor("mine"), await session.cursor("another")

    assert got == [3, 4, 5, 6, 7]
    assert (again, fresh, stored) == (6, 8, 5)
    assert there == (5, None)


async def test_an_ack_never_goes_back_and_only_what_was_delivered_is_acknowledged():
    async def work(client):
        session = client.handle("a")
        (foreign,) = await client.handle("b").events(limit=1)
        async with session.subscribe(name="mine") as events:
            received = [await anext(events) for _ in range(10)]
            await events.ack(received[6])
            await events.ack(received[2])
            with pytest.raises(InvalidArgument, match="not delivered"):
                await events.ack(foreign)
            with pytest.raises(InvalidArgument, match="not delivered"):
                await events.ack(attrs.evolve(received[9], seq=11))
        with pytest.raises(InvalidArgument, match="leave"):
            await events.ack(received[8])
        with pytest.raises(InvalidArgument, match="leave"):
            await session.subscribe(name="mine").ack(received[8])
        async with session.subscribe() as events:
            with pytest.raises(InvalidArgument, match="name"):
                await events.ack(await anext(events))
        with pytest.raises(InvalidArgument, match="cursor name"):
            session.subscribe(name="")
        return await session.cursor("mine"), await session.acknowledge("mine", 9)

    async with listening() as server:
        await noted(server.service.supervisor)
        await server.service.supervisor.session("b")

        assert await server.client("trio", work) == (7, 9)


async def test_a_program_at_the_server_that_reads_by_the_name_alone_moves_it():
    async def work(client):
        async with client.handle("a").subscribe(name="mine") as events:
            event = await anext(events)
            with pytest.raises(CursorHeld):
                await events.ack(event)
        with pytest.raises(InvalidArgument, match="webhook/"):
            await client.handle("a").acknowledge("webhook/whk_1", 1)

    async with listening() as server:
        session = await noted(server.service.supervisor)
        async with session.subscribe(name="mine"):
            await server.client("trio", work)


async def test_a_name_whose_cursor_was_trimmed_away_goes_on_where_it_is_told():
    async def work(client):
        session = client.handle("a")
        first = {}
        for after in (5, 7, "head"):
            async with session.subscribe(after=after, name="mine") as events:
                await session.append("note", {})
                first[after] = (await anext(events)).seq
        expired = []
        for after in (0, 1, 4):
            with pytest.raises(CursorExpired) as caught:
                await session.subscribe(after=after, name="mine").__aenter__()
            expired.append((caught.value.after, caught.value.oldest_seq))
        with pytest.raises(InvalidArgument, match="head"):
            await session.subscribe(after=99, name="mine").__aenter__()
        return first, expired

    async with listening() as server:
        session = await noted(server.service.supervisor)
        await session.acknowledge("mine", 2)
        await session.trim(before=6)
        first, expired = await server.client("trio", work)

    assert first == {5: 6, 7: 8, "head": 13}
    assert expired == [(2, 6)] * 3


@both_loops
async def test_acknowledged_events_come_once_over_connections_that_are_cut(loop):
    async def work(client):
        got = []
        while len(got) < 400:
            async with client.handle("a").subscribe(name="mine") as events:
                for _ in range(100):
                    event = await anext(events)
                    got.append(event.seq)
                await events.ack(event)
        return got

    async with listening() as server:
        session = await server.service.supervisor.session("a")
        await session.execute({"deltas": 400})
        async with cutting(server.address, bytes_step=9_000) as proxy:
            server.address = proxy.address
            got = await server.client(loop, work)
        stored = await session.cursor("mine")

    assert proxy.cuts >= 5
    assert got == list(range(1, 401))
    assert stored == 400


@both_loops
async def test_who_follows_a_session_that_is_deleted_is_told(loop):
    async def work(client):
        session = await client.session("a")
        async with session.subscribe(after="head") as events:
            assert await client.delete_session("a") is True
            with pytest.raises(UnknownSession):
                await anext(events)
            with pytest.raises(UnknownSession):
                await anext(events)
        return await client.delete_session("a")

    async with listening() as server:
        assert await server.client(loop, work) is False


@both_loops
async def test_a_read_that_is_cancelled_takes_nothing_from_the_next(loop):
    async def work(client):
        session = await client.session("a")
        async with session.subscribe(after="head") as events:
            for _ in range(3):
                with anyio.move_on_after(0.02):
                    await anext(events)
            await session.append("note", {"n": 1})
            await session.append("note", {"n": 2})
            return [(await anext(events)).data["n"] for _ in range(2)]

    async with listening() as server:
        assert await server.client(loop, work) == [1, 2]


@both_loops
async def test_an_exception_inside_a_subscribers_loop_gives_its_connection_back(loop):
    async with listening() as server:

        async def work(client):
            session = await client.session("a")
            with pytest.raises(LookupError):
                async with session.subscribe() as events:
                    async for _ in events:
                        raise LookupError
            while server.service.app.state.streams:
                await anyio.sleep(0.01)
            return await session.append("note", {})  # the client is as it was

        event = await server.client(loop, work)

    assert event.seq == 2


@both_loops
async def test_connections_that_are_cut_anywhere_lose_and_repeat_nothing(loop):
    async def work(client):
        session = client.handle("a")
        got, filtered = [], []
        async with session.subscribe() as events:
            async for event in events:
                got.append(event.seq)
        async with session.subscribe(types={"run_completed"}) as events:
            async for event in events:
                filtered.append(event.seq)
        return got, filtered

    async with listening() as server:
        session = await server.service.supervisor.session("a")
        for _ in range(4):
            await session.execute({"deltas": 100})
        await session.close()
        head_seq = (await session.info()).head_seq
        completed = [event.seq for event in await session.events(types={"run_completed"})]
        async with cutting(server.address, bytes_step=9_000) as proxy:
            server.address = proxy.address
            got, filtered = await server.client(loop, work)

    assert proxy.cuts >= 5
    assert got == list(range(1, head_seq + 1))
    assert filtered == completed


@both_loops
async def test_a_reader_that_stalls_is_cut_and_goes_on_where_it_was(loop):
    notes = 12
    limits = HttpLimits(stall_seconds_max=0.2, send_buffer_bytes=65_536)
    stalls, cut = trio.Event(), trio.Event()

    async def work(client):
        session = client.handle("a")
        got, largest = [], 0
        async with session.subscribe(types={"note"}) as events:
            async for event in events:
                got.append(event.data["n"])
                largest = max(largest, len(events._batch))
                if len(got) == 1:
                    server.tell(stalls)
                    await server.told(cut)
        return got, largest

    async with listening(limits=limits) as server, trio.open_nursery() as nursery:
        session = await server.service.supervisor.session("a")
        for number in range(notes):
            await session.append("note", {"n": number, "text": "x" * 500_000})
        await session.close()

        async def see_it_cut():
            # its stream is opened again by nobody now, so once there is none it has been cut
            await stalls.wait()
            while server.service.app.state.streams:
                await trio.sleep(0.01)
            cut.set()

        nursery.start_soon(see_it_cut)
        got, largest = await server.client(loop, work)

    assert got == list(range(notes))
    assert largest <= 2  # what one piece of the stream completes, never all that there is


@both_loops
async def test_without_a_server_it_gives_up_after_the_limit(loop):
    limits = attrs.evolve(HASTY, unreachable_seconds_max=0.1)
    follows, has_all = trio.Event(), trio.Event()

    async def work(client):
        async with client.handle("a").subscribe() as events:
            assert (await anext(events)).type == "session_opened"
            server.tell(follows)
            assert (await anext(events)).data == {"last": True}
            server.tell(has_all)
            with pytest.raises(ServerUnreachable) as caught:
                await anext(events)
        return caught.value

    async with listening() as server, trio.open_nursery() as nursery:
        session = await server.service.supervisor.session("a")

        async def stop():
            await follows.wait()
            await session.append("note", {"last": True})
            await has_all.wait()
            server.shutdown.set()

        nursery.start_soon(stop)
        error = await server.client(loop, work, limits=limits)

    assert error.retryable
    assert server.address in str(error)


async def test_a_server_that_goes_on_draining_is_given_up_after_the_limit(autojump_clock):
    away = b': open\nretry: 2000\n\nid: 7\nevent: end\ndata: {"reason":"draining","after":7}\n\n'
    limits = ClientLimits(backoff_seconds_min=1, backoff_seconds_max=8, unreachable_seconds_max=60)
    asked = []

    async def drains(request):
        asked.append(request.url.params["after"])
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=away)

    async with httpx.AsyncClient(transport=httpx.MockTransport(drains)) as client:
        session = Session(Transport(client, "http://h:1", limits, None), "a")
        async with session.subscribe(after=7) as events:
            began = trio.current_time()
            with trio.fail_after(600), pytest.raises(ServerUnreachable):
                await anext(events)

    assert trio.current_time() - began == pytest.approx(60)
    assert set(asked) == {"7"}
    assert 8 <= len(asked) <= 20  # later each time


def test_filters_are_what_a_query_can_say():
    assert filters_of(check_types({"b", "a"}), "run") == [("types", "a,b"), ("run_id", "run")]
    assert filters_of(check_types(None), None) == []
    for wrong in ("a", set(), {"a,b"}, {1}):
        with pytest.raises(InvalidArgument):
            check_types(wrong)
