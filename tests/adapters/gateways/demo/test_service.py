from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Say, Wait
from moorage.adapters.gateways.demo.programs import SESSIONS
from moorage.adapters.gateways.demo.service import Programs
from moorage.adapters.gateways.demo.wire import PeerGone, connect
from moorage.runtime import RunRequest


async def ask(lines, **request):
    await lines.send({"id": 7, **request})
    answer = await lines.receive()
    assert answer.pop("id") == 7
    return answer


async def submit(lines, key="k", session="imports"):
    return await ask(lines, op="submit", session=session, input={}, key=key, on_interrupt="requeue")


async def test_runs_are_submitted_cancelled_and_shown(serving, places):
    async with serving(ScriptedAgent([Wait(1_000)])):
        lines = await connect(str(places.socket))
        ids = [(await submit(lines, key))["run_id"] for key in ("1", "2", "3", "3")]

        status = (await ask(lines, op="status"))["sessions"]
        cancelled = await ask(lines, op="cancel", session="imports", run_id=ids[2])
        again = await ask(lines, op="cancel", session="imports", run_id=ids[2])
        for run_id in ids[:2]:
            await ask(lines, op="cancel", session="imports", run_id=run_id)
        await lines.aclose()

    assert ids[2] == ids[3]
    assert list(status) == list(SESSIONS)
    assert (status["imports"]["slots"], status["imports"]["queued"]) == (2, 1)
    assert (cancelled, again) == ({"took": True}, {"took": False})


async def test_a_refusal_is_an_answer(serving, places):
    async with serving():
        lines = await connect(str(places.socket))
        answer = await ask(lines, op="cancel", session="imports", run_id="run_unknown")
        await lines.aclose()

    assert answer["error"] == "unknown_run"


async def test_a_follower_goes_on_behind_what_it_acknowledged(serving, places):
    async def follow(until):
        lines = await connect(str(places.socket))
        await lines.send({"op": "follow", "session": "imports", "name": "n"})
        events = []
        while not events or events[-1]["type"] != until:
            events += (await lines.receive())["events"]
        return lines, events

    async with serving(ScriptedAgent([Say("hello you")])) as sessions:
        await sessions["imports"].execute("first")
        lines, first = await follow("run_completed")
        await lines.send({"ack": first[-1]["seq"]})
        assert await lines.receive() == {"acked": first[-1]["seq"]}
        await lines.aclose()
        await sessions["imports"].execute("second")
        with trio.fail_after(60):
            lines, second = await _again(follow)
        await lines.aclose()

    assert [event["seq"] for event in first] == list(range(1, len(first) + 1))
    assert second[0]["seq"] == first[-1]["seq"] + 1


async def _again(follow):
    """The service may take a moment to notice that the first connection has gone."""
    while True:
        try:
            return await follow("run_completed")
        except PeerGone:
            await trio.lowlevel.checkpoint()


async def test_the_agent_writes_down_what_reached_it_before_it_starts(places, monkeypatch):
    places.scratch.mkdir()
    work = Programs(places, "token")
    seen = []

    async def process(request, context):
        await trio.lowlevel.checkpoint()
        seen.append((places.started.read_text(), dict(work.running["imports"])))
        raise RuntimeError

    monkeypatch.setattr(work, "process", process)
    request = RunRequest(
        input={"tool": "dis", "on": "queue"}, session_id="imports", run_id="r", attempt=2
    )
    with pytest.raises(RuntimeError):
        await work(request, None)
    work.close()

    assert seen == [("r 2\n", {"r": "dis queue"})]
    assert work.running["imports"] == {}
    assert work.first_started.is_set()
