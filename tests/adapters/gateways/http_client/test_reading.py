from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
import trio
from moorage.adapters.gateways.http_client import ClientLimits, WaitTimedOut
from moorage.runtime import InvalidArgument

from tests.adapters.gateways.http_client.both_loops import HASTY, both_loops, listening


@both_loops
async def test_a_wait_has_a_limit_and_says_so_in_the_words_of_the_loop(loop):
    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait")
        with pytest.raises(trio.TooSlowError if loop == "trio" else TimeoutError) as caught:
            await run.wait(timeout_seconds=0.05)
        with pytest.raises(WaitTimedOut):
            await session.wait_idle(timeout_seconds=0.05)
        with pytest.raises(WaitTimedOut):
            await session.execute("x", wait_seconds=0)
        return str(caught.value)

    async with listening() as server:
        assert "goes on" in await server.client(loop, work)


async def test_an_end_is_told_even_to_those_who_have_no_time():
    async def work(client):
        session = await client.session("a")
        run = await session.submit("x")
        await run.wait()
        await session.wait_idle(timeout_seconds=0)
        return await run.wait(timeout_seconds=0)

    async with listening() as server:
        assert (await server.client("trio", work)).state.value == "completed"


@both_loops
async def test_waiting_goes_on_over_many_polls_until_it_is_done(loop):
    limits = ClientLimits(poll_seconds=0.02)
    got = []

    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, run.wait)
            tasks.start_soon(collect, session.wait_idle)
            while len(client._transport.polled) < 8:
                await anyio.sleep(0.01)
            await run.cancel()

    async def collect(wait):
        got.append(await wait())

    async def counted(client):
        client._transport.polled = polled = []
        call = client._transport.call

        async def counting(method, path, **options):
            if any(name == "wait_seconds" for name, _ in options.get("query", ())):
                polled.append(path)
            return await call(method, path, **options)

        client._transport.call = counting
        await work(client)

    async with listening() as server:
        await server.client(loop, counted, limits=limits)

    assert None in got
    assert [outcome.state.value for outcome in got if outcome is not None] == ["cancelled"]


async def test_pages_from_both_ends_and_filtered():
    async def work(client):
        session = await client.session("a")
        run = await session.submit({"deltas": 5})
        await run.wait()
        return [
            [event.seq for event in await session.events(**filters)]
            for filters in (
                {"limit": 3},
                {"after": 3, "limit": 2},
                {"before": 5, "limit": 2},
                {"types": {"session_opened", "run_completed"}},
                {"run_id": run.id, "limit": 1},
            )
        ]

    async with listening() as server:
        pages = await server.client("trio", work)

    assert pages[:3] == [[1, 2, 3], [4, 5], [3, 4]]
    assert pages[3][0] == 1
    assert len(pages[3]) == 2
    assert pages[4] == [2]


@both_loops
async def test_a_page_waits_for_its_first_event(loop):
    async def work(client):
        session = await client.session("a")
        late = []
        async with anyio.create_task_group() as tasks:

            async def wait():
                late.extend(await session.events(after=1, types={"note"}, wait_seconds=20))

            tasks.start_soon(wait)
            await session.append("other", {})
            await session.append("note", {"n": 1})
        none = await session.events(after=3, wait_seconds=0.05)
        await session.close()
        closed = await session.events(after=4, wait_seconds=20)
        return late, none, closed

    async with listening() as server:
        late, none, closed = await server.client(loop, work, limits=HASTY)

    assert [event.data for event in late] == [{"n": 1}]
    assert (none, closed) == ([], [])


async def test_a_page_behind_a_seq_beyond_the_head_is_refused():
    async def work(client):
        session = await client.session("a")
        for wait_seconds in (0, 20):
            with pytest.raises(InvalidArgument, match="beyond the head"):
                await session.events(after=99, wait_seconds=wait_seconds)

    async with listening() as server:
        await server.client("trio", work)


async def test_what_is_no_time_or_name_is_refused():
    async def work(client):
        session = client.handle("a")
        with pytest.raises(InvalidArgument):
            await session.wait("r", timeout_seconds=-1)
        with pytest.raises(InvalidArgument):
            await session.wait("")
        with pytest.raises(InvalidArgument):
            await session.events(limit=0)
        with pytest.raises(InvalidArgument):
            session.subscribe(types="x")
        return repr(session)

    async with listening() as server:
        assert server.address in await server.client("trio", work)


@both_loops
async def test_a_server_that_lets_nobody_wait_is_not_asked_all_the_time(loop):
    limits = ClientLimits(backoff_seconds_min=0.1)
    asked_at = []

    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.wait)
            while len(asked_at) < 4:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    async with listening() as server:
        state = server.service.app.state
        state.end()  # as a drain does
        waiting = state.waiting
        state.waiting = lambda *of: asked_at.append(trio.current_time()) or waiting(*of)
        await server.client(loop, work, limits=limits)

    pauses = [after - before for before, after in pairwise(asked_at)]
    assert min(pauses) > 0.04  # about the half of the shortest one, by chance
    assert pauses[2] > 0.16  # and they grow
