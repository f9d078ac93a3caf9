from __future__ import annotations

from typing import ClassVar

import pytest
import trio
from moorage.adapters.sinks.telemetry import RunMetrics
from moorage.runtime import InvalidArgument, StaleOwner, open_supervisor
from moorage.stores import MemoryStore
from moorage.stores.conformance import CHECKS
from structlog.testing import capture_logs


async def agent(request, context):
    if request.input == "fail":
        raise ValueError
    if request.input == "park":
        await context.park("x")
    await context.emit("token_usage_updated", {"output_tokens": 5, "cost_usd": 0.5})
    await trio.sleep(float(request.input))


def numbers(metrics) -> tuple[int, int, int]:
    return metrics.owned.queued, metrics.owned.running, metrics.owned.waiting


async def test_every_end_is_counted_once_also_of_what_never_started(autojump_clock) -> None:
    metrics = RunMetrics()
    async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
        session = await supervisor.session("a")
        runs = [await session.submit(input) for input in ("1", "fail", "2", "3")]
        assert numbers(metrics) == (3, 1, 0)
        await runs[3].cancel()
        for run in runs:
            await run.wait()
        await trio.sleep(1)
        assert numbers(metrics) == (0, 0, 0)
        parked = await session.submit("park")
        await trio.sleep(1)
        assert numbers(metrics) == (0, 0, 1)
        await parked.cancel()

    ended = {outcome: count for outcome, count in metrics.totals.runs.items() if count}
    assert ended == {"completed": 2, "failed": 1, "cancelled": 2}
    assert metrics.totals.tokens["output"] == 10
    assert metrics.totals.cost_usd == 1.0
    assert sum(metrics.totals.append_seconds.counts) > 5
    assert len(metrics.owned) == 0


async def test_what_was_queued_before_is_queued_now(autojump_clock) -> None:
    store = MemoryStore()
    with pytest.raises(ZeroDivisionError):
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("a")
            for _ in range(3):
                await session.submit("9")
            await trio.sleep(1)
            raise ZeroDivisionError
    metrics = RunMetrics()
    async with open_supervisor(metrics.metered(store), agent) as supervisor:
        await supervisor.wait_recovered()
        await trio.sleep(1)

        assert numbers(metrics) == (1, 1, 0)
        assert metrics.totals.runs["interrupted"] == 0  # that was told by the one before

        await supervisor.delete_session("a")
        assert numbers(metrics) == (0, 0, 0)


async def test_a_recorder_that_fails_harms_nobody(autojump_clock) -> None:
    class Broken:
        def run_ended(self, outcome) -> None:
            raise ZeroDivisionError

        def appended(self, seconds) -> None:
            raise ZeroDivisionError

    metrics = RunMetrics()
    metrics.recorders.insert(0, Broken())
    with capture_logs() as logs:
        async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
            outcome = await (await supervisor.session("a")).execute("1")

    assert outcome.state == "completed"
    assert metrics.totals.runs["completed"] == 1
    assert {log["event"] for log in logs} == {"metrics_failed"}


async def test_what_waits_for_an_answer_is_known_as_soon_as_its_session_is(autojump_clock) -> None:
    store = MemoryStore()
    async with open_supervisor(store, agent) as supervisor:
        await (await supervisor.session("a")).submit("park")
        await trio.sleep(1)
    metrics = RunMetrics()
    async with open_supervisor(metrics.metered(store), agent) as supervisor:
        await supervisor.session("a")

        assert numbers(metrics) == (0, 0, 1)


async def test_an_owner_that_lost_its_session_has_no_runs_of_it(autojump_clock) -> None:
    async def deliver(session_id, command):
        raise AssertionError

    metrics = RunMetrics()
    inner = MemoryStore()
    store = metrics.metered(inner)
    async with store.opened(owner="test", deliver=deliver):
        claim = await store.claim("a")
        await inner.claim("a")
        with pytest.raises(StaleOwner):
            await store.append(claim, expected_seq=1, records=[], info=None)

        assert len(metrics.owned) == 0


async def test_what_only_some_stores_take_gets_to_the_store_inside(autojump_clock) -> None:
    class Answering(MemoryStore):
        answers: ClassVar[list] = []

        async def append(self, claim, *, answered=(), **rest) -> None:
            self.answers.append(answered)
            await super().append(claim, **rest)

        async def delete(self, claim, *, answered=()) -> None:
            self.answers.append(answered)
            await super().delete(claim)

    async def deliver(session_id, command):
        raise AssertionError

    store = RunMetrics().metered(Answering())
    async with store.opened(owner="test", deliver=deliver):
        claim = await store.claim("a")
        with pytest.raises(InvalidArgument):
            await store.append(claim, expected_seq=1, records=[], info=None, answered=["one"])
        await store.delete(claim, answered=["two"])

    assert store.answers == [["one"], ["two"]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_is_a_store_like_the_one_inside(check, autojump_clock) -> None:
    content = MemoryStore()

    await check(lambda: RunMetrics().metered(content.peer()))
