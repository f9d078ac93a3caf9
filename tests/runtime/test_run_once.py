"""One run in a session of its own."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import AdmissionClosed, InvalidArgument, SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore


async def test_run_once_takes_a_session_of_its_own_and_closes_it(autojump_clock):
    async def agent(request, context):
        if request.input == "bad":
            raise RuntimeError("boom")
        return request.input

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        good = await supervisor.run_once("good", tags={"kind": "once"}, timeout_seconds=5)
        bad = await supervisor.run_once("bad")
        infos = {info.id: info async for info in supervisor.sessions()}

    assert (good.state, good.output, bad.state) == ("completed", "good", "failed")
    assert infos[good.session_id].state == infos[bad.session_id].state == "closed"
    assert infos[good.session_id].outcome == "completed"
    assert infos[good.session_id].tags == {"kind": "once"}
    assert infos[bad.session_id].outcome == "failed"


@pytest.mark.parametrize(
    "options",
    [
        {"input": object()},
        {"key": ""},
        {"agent": "nobody"},
        {"attempts_max": 0},
        {"metadata": 5},
        {"timeout_seconds": -1},
        {"wait_seconds": -1},
        {"tags": 5},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_run_once_makes_no_session_for_bad_arguments(autojump_clock, sleeper, options):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with pytest.raises(InvalidArgument):
            await supervisor.run_once(**{"input": 1, **options})
        with pytest.raises(TypeError):
            await supervisor.run_once(1, no_such_option=5)
        listed = [info.id async for info in supervisor.sessions()]

    assert listed == []


async def test_run_once_that_ends_early_cancels_its_run_and_closes_its_session(
    autojump_clock, sleeper
):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with trio.move_on_after(5) as scope:
            await supervisor.run_once(1000)
        with pytest.raises(trio.TooSlowError):
            await supervisor.run_once(1000, wait_seconds=5)
        infos = [info async for info in supervisor.sessions()]

    assert scope.cancelled_caught
    assert trio.current_time() < 11
    assert (sleeper.running, sleeper.ended) == (0, [])
    assert [(info.state, info.outcome, info.runs) for info in infos] == [
        ("closed", "failed", {"cancelled": 1})
    ] * 2


async def test_run_once_that_is_refused_closes_its_session(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        await supervisor.drain()
        with pytest.raises(AdmissionClosed):
            await supervisor.run_once(1)
        infos = [info async for info in supervisor.sessions()]

    assert [(info.state, info.outcome, info.runs) for info in infos] == [("closed", "failed", {})]


async def test_run_once_waits_for_an_agent_that_does_not_stop_no_longer_than_its_grace(
    autojump_clock,
):
    async def stubborn(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(MemoryStore(), stubborn, limits=limits) as supervisor:
        with trio.move_on_after(10):
            await supervisor.run_once(1)
        back_at = trio.current_time()
        await trio.sleep(100)
        infos = [info async for info in supervisor.sessions()]

    assert back_at == pytest.approx(15, abs=0.1)
    assert [(info.state, info.outcome, info.runs) for info in infos] == [
        ("closed", "failed", {"cancelled": 1})
    ]
