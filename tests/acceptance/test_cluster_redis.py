"""Nodes on one Redis server: what one had accepted when it was killed, another finishes."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import RunState, open_supervisor
from moorage.runtime.testing import assert_history

pytest.importorskip("coredis", reason="install the extra: pip install -e '.[redis,test]'")

from moorage.stores import RedisStore

from tests.acceptance.cluster_node import agent_of
from tests.acceptance.test_cluster import LEASE_SECONDS, PATIENCE_SECONDS, process_on
from tests.redis_server import new_prefix


async def test_what_a_killed_node_had_accepted_another_finishes(redis_url):
    prefix = new_prefix()
    store = RedisStore(redis_url, key_prefix=prefix, lease_seconds=LEASE_SECONDS)
    seen = []
    async with (
        open_supervisor(store, agent_of("b")) as b,
        process_on(redis_url, prefix, "a", "s", "other") as (process, runs),
    ):
        session = await b.session("s", mode="resume")

        async def follow():
            async with session.subscribe(after=0) as events:
                async for event in events:
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            with trio.fail_after(PATIENCE_SECONDS):
                sent = await session.submit(0.2, key="k")  # through the list of commands
                note = await session.append("note", {"from": "b"})
                assert (await session.status()).running == (runs["s"],)
                while not any(event.type == "message_streamed" for event in seen):
                    await trio.sleep(0.05)
                process.kill()
                again = await session.submit(0.2, key="k")
                outcomes = [await session.wait(run_id) for run_id in (runs["s"], sent.id)]
                # nobody has asked for this one
                other = await b.handle("other").wait(runs["other"])
            nursery.cancel_scope.cancel()
        log = await session.events(limit=10_000)

    assert again.id == sent.id
    assert [outcome.state for outcome in [*outcomes, other]] == [RunState.COMPLETED] * 3
    assert (outcomes[0].output["node"], outcomes[0].output["attempt"]) == ("b", 2)
    assert other.output == {"node": "b", "attempt": 2}
    assert [event for event in log if event.type == "note"] == [note]
    assert seen == log[: len(seen)]
    assert_history(log)
