from __future__ import annotations

from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.demo.checker import check_directory
from moorage.adapters.gateways.demo.record import RecordWriter
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore


async def test_the_record_is_compared_with_the_log_of_the_same_directory(places):
    async with open_supervisor(JournalStore(places.journal), ScriptedAgent()) as supervisor:
        session = await supervisor.session("s", slots=2)
        outcome = await session.execute("x", key="k")
    places.started.write_text(f"{outcome.run_id} 1\n")
    writer = RecordWriter(places.record)
    accepted = {"what": "accepted", "session": "s", "key": "k", "on_interrupt": "fail"}
    writer.write({**accepted, "run_id": outcome.run_id}, {**accepted, "run_id": "run_lost"})
    writer.close()

    findings = {finding.claim: finding for finding in await check_directory(places.root)}

    accepted = findings["every accepted run is in the log"]
    assert accepted.counts == "2 accepted, 1 missing"
    assert accepted.problems == ["run run_lost of s was accepted and is not in the log"]
    assert findings["every program that ran is a start in the log, once"].holds
    assert findings["seq is contiguous in every session"].counts == "4 events in 1 sessions"
