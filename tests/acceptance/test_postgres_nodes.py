"""Several supervisors on one database: a session can be used from any of them."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import UnknownRun, open_reader, open_supervisor

PATIENCE_SECONDS = 120


class Slow:
    """An agent that streams a word, and ends when it is let."""

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.ran = []

    async def __call__(self, request, context):
        self.ran.append(request.input)
        await context.emit("message_streamed", {"delta": request.input})
        await context.flush()
        await self.go_on.wait()
        return request.input


async def test_submit_here_wait_there_and_follow_from_a_third(postgres):
    agent, other = Slow(), Slow()
    async with (
        open_supervisor(postgres.store(), agent) as first,
        open_supervisor(postgres.store(), other) as second,
        open_reader(postgres.store()) as reader,
    ):
        here = await first.session("s")
        there = await second.session("s")
        seen = []

        async def follow():
            async with reader.session("s").subscribe() as events:
                async for event in events:
                    seen.append((event.seq, event.type))
                    if event.type == "run_completed":
                        return

        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                run = await here.submit("from here")
                by_key = await there.submit("from there", key="k")
                again = await here.submit("from there", key="k")
                assert by_key.id == again.id
                assert (await there.status()).running == (run.id,)
                agent.go_on.set()
                assert (await there.wait(run.id)).output == "from here"
                assert (await there.wait(by_key.id)).output == "from there"
        assert seen[0][1] == "session_opened"
        assert [seq for seq, _ in seen] == list(range(1, len(seen) + 1))
        assert agent.ran == ["from here", "from there"]
        assert other.ran == []
        with pytest.raises(UnknownRun):
            await there.cancel("no such run")


async def test_a_run_is_cancelled_from_a_node_that_does_not_have_it(postgres):
    agent = Slow()
    async with (
        open_supervisor(postgres.store(), agent) as first,
        open_supervisor(postgres.store(), Slow()) as second,
    ):
        run = await (await first.session("s")).submit("x")
        there = await second.session("s")

        with trio.fail_after(PATIENCE_SECONDS):
            assert await there.cancel(run.id)
            outcome = await there.wait(run.id)

    assert str(outcome.state) == "cancelled"


async def test_a_node_that_leaves_leaves_its_sessions_to_the_others(postgres):
    agent = Slow()
    agent.go_on.set()
    async with open_supervisor(postgres.store(), agent) as second:
        async with open_supervisor(postgres.store(), Slow()) as first:
            session = await first.session("s")
            await session.pause()
            run = await session.submit("kept")
            there = await second.session("s")
            assert (await there.status()).queued == (run.id,)

        with trio.fail_after(PATIENCE_SECONDS):
            await there.resume()
            outcome = await there.wait(run.id)

    assert outcome.output == "kept"
    assert agent.ran == ["kept"]
