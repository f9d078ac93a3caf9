from __future__ import annotations

import math
from collections import deque

import pytest
import trio
from moorage.runtime import CorruptLog, StoreFailed, open_supervisor
from moorage.runtime.testing import assert_history, wait_until
from moorage.stores import MemoryStore

LEASE_SECONDS = 30


class Unreachable(MemoryStore):
    """A store on leases whose next renewals fail, or hang, as they are told."""

    def __init__(self, *, lease_seconds: float | None = LEASE_SECONDS) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self.failures: deque[Exception | None] = deque()
        self.hanging = False
        self.renewed: list[list[str]] = []

    async def renew(self, claims):
        self.renewed.append([claim.session_id for claim in claims])
        if self.hanging:
            await trio.sleep_forever()
        error = self.failures.popleft() if self.failures else None
        if error is not None:
            raise error
        return await super().renew(claims)


class Timekeeper:
    """An agent that sleeps for as many seconds as its input says and notes when it ran."""

    def __init__(self, *, shield: bool = False) -> None:
        self.times: list[tuple[float, float]] = []
        self.running = 0
        self.shield = shield

    async def __call__(self, request, context):
        started_at = trio.current_time()
        self.running += 1
        try:
            with trio.CancelScope(shield=self.shield):
                await trio.sleep(request.input)
        finally:
            self.running -= 1
            self.times.append((round(started_at), round(trio.current_time())))
        return "done"


@pytest.fixture
def timekeeper():
    return Timekeeper()


@pytest.mark.parametrize(
    "error",
    [
        StoreFailed("connection reset", written=False),
        CorruptLog(file="f", offset=1, reason="flipped"),
        RuntimeError("a driver's defect"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_renewal_that_fails_is_tried_again_and_ends_nothing(
    autojump_clock, timekeeper, error
):
    store = Unreachable()
    async with open_supervisor(store, timekeeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(200)
        for _ in range(4):
            store.failures += [None, error]
        outcome = await run.wait()

    assert (outcome.state, outcome.attempt) == ("completed", 1)
    assert timekeeper.times == [(0, 200)]


@pytest.mark.promise(12)
async def test_a_session_whose_lease_could_not_be_renewed_is_lost_when_it_is_over_and_not_before(
    autojump_clock, timekeeper
):
    store = Unreachable()
    async with open_supervisor(store, timekeeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(500, on_interrupt="requeue")
        store.failures += [StoreFailed("connection reset", written=False)] * 3
        outcome = await run.wait()
        events = await session.events()

    assert (outcome.state, outcome.attempt) == ("completed", 2)
    assert timekeeper.times == [(0, 30), (30, 530)]
    assert_history(events)


@pytest.mark.promise(12)
async def test_a_renewal_that_hangs_is_one_that_fails(autojump_clock, timekeeper):
    store = Unreachable()
    async with open_supervisor(store, timekeeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(100, on_interrupt="requeue")
        await trio.sleep(15)
        store.hanging = True
        await trio.sleep(60)
        store.hanging = False
        outcome = await run.wait()

    # renewed at 10 for the last time
    assert timekeeper.times[0] == (0, 40)
    assert outcome.state == "completed"


async def test_a_lease_that_runs_out_takes_only_its_own_session_along(autojump_clock, timekeeper):
    store = Unreachable()
    async with (
        open_supervisor(store, timekeeper) as supervisor,
        open_supervisor(store.peer(), timekeeper) as other,
    ):
        lost = await (await supervisor.session("lost")).submit(100)
        kept = await (await supervisor.session("kept")).submit(100)
        await trio.sleep(1)
        store._content.leases["lost"].expires_at = 0
        elsewhere = await other.session("lost")
        outcomes = [await elsewhere.wait(lost.id), await kept.wait()]

    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed"]
    assert timekeeper.times == [(0, 10), (0, 100)]


async def test_what_is_lost_is_not_renewed_while_its_agent_takes_long_to_end(autojump_clock):
    stubborn = Timekeeper(shield=True)
    store = Unreachable()
    async with open_supervisor(store, stubborn) as supervisor:
        session = await supervisor.session("s")
        await session.submit(100)
        store.failures += [StoreFailed("connection reset", written=False)] * 2
        await trio.sleep(95)

        assert stubborn.running == 1
        assert store.renewed[:2] == [["s"]] * 2
        assert not any(store.renewed[2:])


@pytest.mark.promise(16)
async def test_a_store_found_poisoned_ends_the_agents_and_the_asks(autojump_clock, timekeeper):
    store = Unreachable()
    async with open_supervisor(store, timekeeper) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        store.failures += [StoreFailed("sync failed", poisoned=True)]
        await wait_until(lambda: timekeeper.times)
        with pytest.raises(StoreFailed, match="sync failed") as refused:
            await session.submit(1)

    assert refused.value.poisoned
    assert timekeeper.times == [(0, 10)]


async def test_claims_that_last_are_not_renewed(autojump_clock, timekeeper):
    store = Unreachable(lease_seconds=None)
    async with open_supervisor(store, timekeeper) as supervisor:
        outcome = await (await supervisor.session("s")).execute(1000)

    assert outcome.state == "completed"
    assert store.renewed == []


async def test_a_lease_without_end_is_never_renewed(autojump_clock, timekeeper):
    store = Unreachable(lease_seconds=math.inf)
    async with open_supervisor(store, timekeeper) as supervisor:
        outcome = await (await supervisor.session("s")).execute(1000)

    assert outcome.state == "completed"
    assert store.renewed == []
