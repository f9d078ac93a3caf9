from __future__ import annotations

import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Say
from moorage.adapters.gateways.demo.checks import CHECKS, Evidence, check_all
from moorage.adapters.gateways.demo.client import Client
from moorage.adapters.gateways.demo.programs import SESSIONS
from moorage.adapters.gateways.demo.record import read_record


async def wait_for(condition):
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.005)


async def test_what_the_client_writes_down_agrees_with_the_log_across_a_restart(serving, places):
    client = Client(places)
    agent = ScriptedAgent([Say("hello you")])
    async with trio.open_nursery() as nursery:
        for session_id in SESSIONS:
            nursery.start_soon(client.submit_all, session_id)
            nursery.start_soon(client.follow, session_id)
        async with serving(agent):
            await wait_for(lambda: client.counts["ended"] >= 40)
        before = client.counts["ended"]
        async with serving(agent) as sessions:
            await wait_for(lambda: client.counts["ended"] >= before + 40)
            client.finish()
            await wait_for(lambda: client.done)
            logs = {id: await session.events(limit=10_000) for id, session in sessions.items()}
        nursery.cancel_scope.cancel()
    client.record.close()

    record = read_record(places.record)
    started = [(request.run_id, request.attempt) for request in agent.requests]
    findings = check_all(Evidence(record=record, logs=logs, started=started, slots=2))

    assert len(findings) == len(CHECKS)
    assert len(record.accepted) == client.counts["accepted"] == client.counts["ended"]
    assert [
        finding.reason()
        for finding in findings
        if not finding.holds and "nothing was shown" not in finding.reason()
    ] == []


async def test_it_stops_submitting_when_its_share_is_under_way(serving, places):
    client = Client(places)
    gate = trio.Event()

    async def wait_at_gate(request, context):
        await gate.wait()

    async with trio.open_nursery() as nursery, serving(wait_at_gate):
        nursery.start_soon(client.follow, "tests")
        nursery.start_soon(client.submit_all, "tests")
        await wait_for(lambda: client.counts["accepted"] == 6)
        assert not client.done
        gate.set()
        await wait_for(lambda: client.counts["accepted"] > 12)
        client.finish()
        nursery.cancel_scope.cancel()
    client.record.close()
