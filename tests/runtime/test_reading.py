from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    CursorExpired,
    InvalidArgument,
    SessionQuarantined,
    StoreFailed,
    UnknownRun,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.stores import MemoryStore


async def numbers(request, context):
    """Emits as many events as its input says, of two types in turn."""
    for number in range(request.input):
        await context.emit("even" if number % 2 == 0 else "odd", {"number": number})


class SlowStore(MemoryStore):
    """Reading and claiming take as many seconds as they are told."""

    read_seconds = 0
    claim_seconds = 0

    async def read(self, session_id, **options):
        page = await super().read(session_id, **options)
        await trio.sleep(self.read_seconds)
        return page

    async def claim(self, session_id):
        await trio.sleep(self.claim_seconds)
        return await super().claim(session_id)

    async def append(self, claim, *, records, **options):
        if any(record.type == "defect" for record in records):
            raise RuntimeError("a defect")
        await super().append(claim, records=records, **options)


async def defective(request, context):
    """Its session's worker crashes one second after its start, each time."""
    await trio.sleep(1)
    await context.emit("defect", {})
    await trio.sleep_forever()


async def opened(supervisor, *inputs):
    session = await supervisor.session("s")
    return session, [await session.execute(input) for input in inputs]


# ---- pages ----


async def test_pages_go_forwards_without_gap_or_repeat(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 50)
        everything = await session.events(limit=1000)
        paged, after = [], 0
        while page := await session.events(after=after, limit=7):
            paged += page
            after = page[-1].seq

    assert [event.seq for event in everything] == list(range(1, 55))
    assert paged == everything


async def test_pages_go_backwards_and_each_is_ascending(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 50)
        everything = await session.events(limit=1000)
        last = await session.events(before=10**9, limit=5)
        paged, before = [], last[0].seq + 5
        while page := await session.events(before=before, limit=7):
            paged = page + paged
            before = page[0].seq
        between = await session.events(after=10, before=15)

    assert last == everything[-5:]
    assert paged == everything
    assert [event.seq for event in between] == [11, 12, 13, 14]


async def test_filters_by_type_and_run_compose_with_cursors_and_limits(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, (first, second) = await opened(supervisor, 10, 10)
        odd = await session.events(types={"odd"}, run_id=second.run_id, limit=3)
        more = await session.events(types={"odd"}, run_id=second.run_id, after=odd[-1].seq, limit=3)
        last = await session.events(types={"odd"}, run_id=first.run_id, before=1000, limit=2)
        nothing = await session.events(types={"never"})
        nobody = await session.events(run_id="run_unknown")
        ends = await session.events(types={"run_completed", "run_failed"})

    assert [event.data["number"] for event in odd] == [1, 3, 5]
    assert [event.data["number"] for event in more] == [7, 9]
    assert [event.data["number"] for event in last] == [7, 9]
    assert (nothing, nobody) == ([], [])
    assert [event.run_id for event in ends] == [first.run_id, second.run_id]


async def test_a_long_poll_returns_at_once_with_what_there_is(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 3)
        page = await session.events(wait_seconds=100)

    assert len(page) == 7
    assert trio.current_time() < 1


async def test_a_long_poll_returns_with_the_first_match_or_nothing_when_time_is_over(
    autojump_clock,
):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 2)
        head_seq = (await session.info()).head_seq
        polled = []

        async def poll():
            page = await session.events(after=head_seq, types={"odd"}, wait_seconds=60)
            polled.append((trio.current_time(), [event.data["number"] for event in page]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(10)
            await session.append("other", {})
            await (await supervisor.session("elsewhere")).append("odd", {"number": 7})
            await trio.sleep(10)
            await session.append("odd", {"number": 9})
        begun = trio.current_time()
        empty = await session.events(after=1000, wait_seconds=30)
        waited = trio.current_time() - begun

    assert polled == [(pytest.approx(20, abs=0.1), [9])]
    assert empty == []
    assert waited == pytest.approx(30, abs=0.1)


async def test_without_wait_an_empty_page_comes_at_once(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 1)
        page = await session.events(after=5)

    assert page == []
    assert trio.current_time() < 1


async def test_reading_what_there_is_takes_as_long_as_it_takes(autojump_clock):
    store = SlowStore()
    async with open_supervisor(store, numbers) as supervisor:
        session, _ = await opened(supervisor, 2)
        store.read_seconds = 5
        page = await session.events(wait_seconds=1)
        empty = await session.events(after=page[-1].seq, wait_seconds=1)

    assert len(page) == 6
    assert empty == []


async def test_a_closed_session_ends_a_long_poll(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 1)
        await session.close()
        page = await session.events(after=6, wait_seconds=1000)

    assert page == []
    assert trio.current_time() < 1


@pytest.mark.parametrize(
    "options",
    [
        {"after": -1},
        {"after": "head"},
        {"after": 1.5},
        {"before": 0},
        {"before": True},
        {"limit": 0},
        {"limit": 10_001},
        {"types": "odd"},
        {"types": set()},
        {"types": {5}},
        {"types": {""}},
        {"wait_seconds": -1},
        {"run_id": 5},
        {"run_id": ["run"]},
        {"run_id": ""},
    ],
    ids=str,
)
async def test_pages_asked_for_with_bad_arguments_are_refused(autojump_clock, options):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 1)
        with pytest.raises(InvalidArgument):
            await session.events(**options)


async def test_a_page_from_before_what_is_retained_says_what_is_the_oldest(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session, _ = await opened(supervisor, 10)
        await session.trim(before=8)
        with pytest.raises(CursorExpired) as expired:
            await session.events(after=3)
        page = await session.events(after=expired.value.oldest_seq - 1)
        backwards = await session.events(before=10, limit=100)

    assert (expired.value.oldest_seq, expired.value.after) == (8, 3)
    assert page[0].seq == 8
    assert [event.seq for event in backwards] == [8, 9]


# ---- waiting ----


async def test_several_waits_at_any_time_get_the_same_outcome(autojump_clock, sleeper):
    store = MemoryStore()
    outcomes = []
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(10)

        async def wait(seconds):
            await trio.sleep(seconds)
            outcomes.append(await session.wait(run.id))

        async with trio.open_nursery() as nursery:
            for seconds in (0, 0, 5, 9.9, 20):
                nursery.start_soon(wait, seconds)
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcomes.append(await session.wait(run.id))

    assert len(outcomes) == 6
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0].output == 10


async def test_a_wait_goes_on_over_a_restart_of_its_owner(autojump_clock, sleeper):
    """Who waits through a reader sees the process go and another one come."""
    store = MemoryStore()
    outcomes = []
    async with open_reader(store) as reader, trio.open_nursery() as nursery:
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            await session.pause()
            run = await session.submit(5)

            async def wait():
                outcomes.append(await reader.session("s").wait(run.id))

            nursery.start_soon(wait)
            await trio.sleep(1)
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            await session.resume()
            await session.wait_idle()

    assert [outcome.state for outcome in outcomes] == ["completed"]


async def test_a_timeout_ends_the_wait_and_not_the_run(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(10)
        with pytest.raises(trio.TooSlowError):
            await run.wait(timeout_seconds=3)
        with pytest.raises(trio.TooSlowError):
            await session.wait(run.id, timeout_seconds=0)
        outcome = await run.wait(timeout_seconds=100)
        at_once = await run.wait(timeout_seconds=0)

    assert outcome == at_once
    assert outcome.state == "completed"


@pytest.mark.parametrize("seconds", [-1, "1", float("nan"), True])
async def test_a_timeout_that_is_none_is_refused(autojump_clock, sleeper, seconds):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(10)
        for ask in (
            run.wait(timeout_seconds=seconds),
            session.wait(run.id, timeout_seconds=seconds),
            session.wait_idle(timeout_seconds=seconds),
            session.execute(1, wait_seconds=seconds),
        ):
            with pytest.raises(InvalidArgument):
                await ask


async def test_waiting_for_what_is_not_there_raises_at_once(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(UnknownRun):
            await session.wait("run_unknown")
        for wrong in ([], 5, None, "", "run\n"):
            with pytest.raises(InvalidArgument, match="run id"):
                await session.wait(wrong)
            with pytest.raises(InvalidArgument, match="run id"):
                await session.wait(wrong, timeout_seconds=0)
        await supervisor.delete_session("s")
        with pytest.raises(UnknownSession):
            await session.wait("run_unknown")
    assert trio.current_time() < 1


async def test_who_has_no_time_learns_whether_a_session_is_idle(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(10)
        with pytest.raises(trio.TooSlowError):
            await session.wait_idle(timeout_seconds=0)
        with pytest.raises(trio.TooSlowError):
            await session.wait_idle(timeout_seconds=9)
        begun = trio.current_time()
        await run.wait()
        await session.wait_idle(timeout_seconds=0)

    assert begun == pytest.approx(9, abs=0.1)


async def test_nobody_waits_for_a_run_of_a_quarantined_session_that_is_being_opened(
    autojump_clock,
):
    store = SlowStore()
    async with open_supervisor(store, defective) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1, on_interrupt="requeue", attempts_max=1_000)
        await trio.sleep(1_000)
        store.claim_seconds = 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.session, "s")
            await trio.sleep(1)
            begun = trio.current_time()
            with trio.fail_after(3_600), pytest.raises(SessionQuarantined):
                await run.wait()
            taken = trio.current_time() - begun
        state = (await session.info()).state

    assert state == "quarantined"
    assert taken < 1


async def test_who_waits_beside_the_owner_learns_of_a_quarantine(autojump_clock):
    store = SlowStore()
    caught = []

    async def wait(session, run_id):
        with trio.fail_after(3_600), pytest.raises(SessionQuarantined) as refused:
            await session.wait(run_id)
        caught.append(refused.value.reason)

    async with open_supervisor(store, defective) as supervisor, open_reader(store) as reader:
        session = await supervisor.session("s")
        run = await session.submit(1, on_interrupt="requeue", attempts_max=1_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, reader.session("s"), run.id)

    assert caught == ["RuntimeError: a defect"]


async def test_a_finished_run_s_outcome_can_be_had_when_the_store_has_failed(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(0)
        await run.wait()
        failing_store.fail_sync()
        with pytest.raises(StoreFailed):
            await session.append("note", {})
        outcome = await run.wait()
        state = await run.status()

    assert outcome.state == "completed"
    assert state == "completed"


async def test_statuses_from_the_log_and_from_the_owner_agree(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor, open_reader(store) as reader:
        session = await supervisor.session("s", slots=2)
        for seconds in (5, 5, 5, 5):
            await session.submit(seconds)
        await trio.sleep(1)
        owner = await session.status()
        log = await reader.session("s").status()

        with pytest.raises(UnknownSession):
            await reader.session("unknown").status()

    assert log == owner
    assert len(owner.running) == len(owner.queued) == 2
