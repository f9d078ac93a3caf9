"""Nodes on one Postgres: any of them serves any session, and one that is killed loses nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from moorage.runtime import RunState, open_supervisor
from moorage.runtime.testing import assert_history

from tests.acceptance.cluster_node import ASK, PARK, agent_of

NODE = Path(__file__).with_name("cluster_node.py")
LEASE_SECONDS = 5.0
"""So long that a busy machine which holds a node up for a while does not end it."""
PATIENCE_SECONDS = 120
LOOK_SECONDS = 0.05


def node_process(postgres, name, *sessions, lease_seconds=LEASE_SECONDS):
    """A node that has submitted a run to each of these sessions: (process, run ids)."""
    dsn, schema = postgres.server.dsn, postgres.name
    return process_on(dsn, schema, name, *sessions, lease_seconds=lease_seconds)


@contextlib.asynccontextmanager
async def process_on(dsn, schema, name, *sessions, lease_seconds=LEASE_SECONDS):
    command = [sys.executable, str(NODE), dsn, schema, str(lease_seconds)]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False
        )
        process = await nursery.start(start, [*command, name, *sessions])
        said = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while not said.endswith(b"\n"):
                chunk = await process.stdout.receive_some()
                assert chunk, "the node ended"
                said += chunk
        yield process, json.loads(said)
        process.kill()


async def test_what_one_node_accepted_others_await_and_follow_before_and_after_it_is_killed(
    postgres,
):
    seen = []
    store_b, store_c = (postgres.store(lease_seconds=LEASE_SECONDS) for _ in range(2))
    async with (
        open_supervisor(store_b, agent_of("b")) as b,
        open_supervisor(store_c, agent_of("c")) as c,
        node_process(postgres, "a", "s") as (process, runs),
    ):
        on_b = await b.session("s", mode="resume")
        on_c = await c.session("s", mode="resume")

        async def follow():
            async with on_c.subscribe(after=0) as events:
                async for event in events:
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            with trio.fail_after(PATIENCE_SECONDS):
                before = await on_b.submit(0.2)
                status = await on_c.status()
                while not any(event.type == "message_streamed" for event in seen):
                    await trio.sleep(LOOK_SECONDS)
                process.kill()
                # looks and not seconds: what holds up this process, which has b and c, is no delay
                # of theirs
                looks = 0
                while not any(event.type == "session_recovered" for event in seen):
                    await trio.sleep(LOOK_SECONDS)
                    looks += 1
                after = await on_c.submit(0.2)
                outcomes = [await on_b.wait(run_id) for run_id in (runs["s"], before.id, after.id)]
                while not any(event.run_id == after.id and event.data for event in seen[-1:]):
                    await trio.sleep(LOOK_SECONDS)
            nursery.cancel_scope.cancel()
        log = await on_b.events(limit=10_000)

    assert status.running == (runs["s"],)
    assert looks * LOOK_SECONDS <= 1.5 * LEASE_SECONDS
    assert [outcome.state for outcome in outcomes] == [RunState.COMPLETED] * 3
    assert outcomes[0].output["node"] in ("b", "c")
    assert outcomes[0].output["attempt"] == 2
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen == log[: len(seen)]
    assert_history(log)


async def test_the_sessions_of_a_killed_node_are_taken_over_without_being_asked_for(postgres):
    sessions = [f"s{number}" for number in range(12)]
    store = postgres.store(lease_seconds=LEASE_SECONDS)
    async with (
        open_supervisor(store, agent_of("b")) as b,
        node_process(postgres, "a", *sessions) as (process, runs),
    ):
        process.kill()
        handles = {name: await b.session(name, mode="resume") for name in sessions[:1]}
        with trio.fail_after(PATIENCE_SECONDS):
            await handles["s0"].wait(runs["s0"])
            outcomes = []
            for name in sessions:
                session = await b.session(name, mode="resume")
                outcomes.append(await session.wait(runs[name]))

    assert [(outcome.state, outcome.output["node"]) for outcome in outcomes] == [
        (RunState.COMPLETED, "b")
    ] * len(sessions)


async def test_a_cancel_from_another_node_ends_the_run_where_it_is(postgres):
    store = postgres.store(lease_seconds=LEASE_SECONDS)
    async with (
        open_supervisor(store, agent_of("b")) as b,
        node_process(postgres, "a", "s") as (_, runs),
    ):
        session = await b.session("s", mode="resume")
        with trio.fail_after(PATIENCE_SECONDS):
            accepted = await session.cancel(runs["s"], reason="from b")
            outcome = await session.wait(runs["s"])
            again = await session.cancel(runs["s"])

    assert (accepted, again) == (True, False)
    assert outcome.state is RunState.CANCELLED
    assert outcome.error.message == "from b"


HAND_OFF_LEASE_SECONDS = 60.0


async def test_what_a_leaving_node_has_queued_goes_on_elsewhere_at_once(postgres):
    """Far sooner than the lease, or the look that comes several times per lease."""
    store = postgres.store(lease_seconds=HAND_OFF_LEASE_SECONDS)
    async with (
        open_supervisor(store, agent_of("b")) as b,
        node_process(postgres, "a", "s=leaving", "s=0.1", lease_seconds=HAND_OFF_LEASE_SECONDS) as (
            process,
            runs,
        ),
    ):
        await process.stdin.aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            session = b.handle("s")
            while not (started := await session.events(types={"run_started"}, run_id=runs["s"])):
                await trio.sleep(0.02)
            outcome = await session.wait(runs["s"])
            assert await process.wait() == 0
        ended = await session.events(types={"run_completed"})
        log = await session.events(limit=10_000)

    seconds = (started[0].time_ns - ended[0].time_ns) / 1e9
    print(f"handed off in {seconds:.3f} s, lease {HAND_OFF_LEASE_SECONDS} s")
    assert outcome.output == {"node": "b", "attempt": 1}
    assert seconds < HAND_OFF_LEASE_SECONDS / 10
    assert_history(log)


@pytest.mark.parametrize("how", [PARK, ASK])
async def test_what_waits_on_one_node_is_approved_from_another_before_and_after_it_is_killed(
    postgres, how
):
    """The answer counts once, whoever gives another one at the same time or later, and so does the
    tool that it lets go on."""
    store_b, store_c = (postgres.store(lease_seconds=LEASE_SECONDS) for _ in range(2))
    async with (
        open_supervisor(store_b, agent_of("b")) as b,
        open_supervisor(store_c, agent_of("c")) as c,
        node_process(postgres, "a", f"before={how}", f"after={how}") as (process, runs),
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            requests = {name: await request_of(b.handle(name), runs[name]) for name in runs}
            first = await approve_at_once(
                requests["before"], b.handle("before"), c.handle("before")
            )
            outcome = await b.handle("before").wait(runs["before"])
            before = await c.handle("before").deny(requests["before"], by="too late")
            process.kill()
            second = await approve_at_once(requests["after"], b.handle("after"), c.handle("after"))
            taken_over = await c.handle("after").wait(runs["after"])
            after = await b.handle("after").deny(requests["after"], by="too late")
        logs = {name: await b.handle(name).events(limit=10_000) for name in runs}

    assert (outcome.state, outcome.output["node"]) == (RunState.COMPLETED, "a")
    assert taken_over.state is RunState.COMPLETED
    assert taken_over.output["node"] in ("b", "c")
    assert (before, after) == (False, False)
    for name, accepted, output in (
        ("before", first, outcome.output),
        ("after", second, taken_over.output),
    ):
        (by,) = (node for node, was_accepted in accepted.items() if was_accepted)
        log = logs[name]
        answers = [event for event in log if event.type in ("run_resumed", "run_answered")]
        assert [event.data["value"]["by"] for event in answers] == [by]
        for type in ("tool_approval_granted", "tool_used"):
            assert [event.data["by"] for event in log if event.type == type] == [by]
        assert output["by"] == by
        assert_history(log)


async def request_of(session, run_id):
    """The id of the request that the run waits with."""
    waits = {"run_waiting", "run_asked"}
    while not (waiting := await session.events(types=waits, run_id=run_id)):
        await trio.sleep(LOOK_SECONDS)
    return waiting[0].data["data"]["request_id"]


async def approve_at_once(request_id, on_b, on_c):
    """By two nodes: whether each was accepted."""
    accepted = {}

    async def approve(session, by):
        accepted[by] = await session.approve(request_id, by=by)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(approve, on_b, "b")
        nursery.start_soon(approve, on_c, "c")
    return accepted
