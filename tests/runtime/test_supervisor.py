from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    SessionExists,
    StoreFailed,
    SupervisorLimits,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.testing import VirtualClock, assert_history, wait_until
from moorage.stores import MemoryStore

BAD_IDS = ["", " ", "\n", "a\x00b", "tab\t", "\x7f", "\ud800", "a\u2028b", "x" * 257, "é" * 129, 5]


@pytest.mark.parametrize("id", BAD_IDS, ids=repr)
async def test_an_id_that_cannot_name_a_session_is_refused(autojump_clock, sleeper, id):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with pytest.raises(InvalidArgument, match="session id"):
            await supervisor.session(id)
        with pytest.raises(InvalidArgument, match="session id"):
            await supervisor.delete_session(id)
        with pytest.raises(InvalidArgument, match="session id"):
            await supervisor.unquarantine(id)
        listed = [info.id async for info in supervisor.sessions()]

    assert listed == []


@pytest.mark.parametrize("id", ["x" * 256, "user/../42", "名前", "a b", "%", "C:\\x"])
async def test_any_other_id_names_a_session(autojump_clock, sleeper, id):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session(id)
        outcome = await session.execute(0)

    assert (session.id, outcome.session_id) == (id, id)


async def test_without_an_id_sessions_get_new_ids_that_sort_by_time(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    ids = []
    async with open_supervisor(MemoryStore(), sleeper, time_ns=clock.time_ns) as supervisor:
        for _ in range(20):
            ids.append((await supervisor.session()).id)
            await trio.sleep(0.01)

    assert ids == sorted(set(ids))


async def test_create_and_resume_refuse_what_they_must(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with pytest.raises(UnknownSession):
            await supervisor.session("s", mode="resume")
        await supervisor.session("s", mode="create")
        with pytest.raises(SessionExists):
            await supervisor.session("s", mode="create")
        with pytest.raises(InvalidArgument, match="mode"):
            await supervisor.session("s", mode="open")
        resumed = await supervisor.session("s", mode="resume")
        events = await resumed.events()
        listed = [info.id async for info in supervisor.sessions()]

    assert [event.type for event in events] == ["session_opened"]
    assert listed == ["s"]


async def test_what_is_omitted_is_kept_and_another_value_is_recorded(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        await supervisor.session("s", slots=3, tags={"a": "1"}, metadata={"m": [1]}, summary="Hi")
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await supervisor.session("s", slots=3, tags={"a": "1"})
        kept = await session.info()
        await supervisor.session("s", tags={"b": "2"})
        changed = await session.info()
        events = await session.events()

    assert (kept.slots, kept.tags, kept.metadata, kept.summary) == (3, {"a": "1"}, {"m": [1]}, "Hi")
    assert (changed.slots, changed.tags, changed.metadata) == (3, {"b": "2"}, {"m": [1]})
    assert [event.type for event in events] == ["session_opened", "session_configured"]
    assert events[1].data == {"tags": {"b": "2"}}


@pytest.mark.parametrize(
    "options",
    [
        {"tags": {"a": 1}},
        {"tags": ["a"]},
        {"tags": {"": "x"}},
        {"tags": {"a": "x" * 300}},
        {"tags": {str(number): "" for number in range(65)}},
        {"metadata": []},
        {"metadata": {"x": {1, 2}}},
        {"metadata": {"x": "y" * 20_000}},
        {"summary": ""},
        {"summary": 5},
    ],
    ids=str,
)
async def test_facts_of_a_session_that_cannot_be_kept_are_refused(autojump_clock, sleeper, options):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with pytest.raises(InvalidArgument):
            await supervisor.session("s", **options)
        listed = [info.id async for info in supervisor.sessions()]

    assert listed == []


async def test_sessions_are_listed_by_the_newest_change_prefix_and_tags(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    async with open_supervisor(MemoryStore(), sleeper, time_ns=clock.time_ns) as supervisor:
        for name, tag in (("user-1", "a"), ("user-2", "b"), ("job-1", "a"), ("user-3", "a")):
            await trio.sleep(1)
            await supervisor.session(name, tags={"tenant": tag, "x": "y"})
        await trio.sleep(1)
        await (await supervisor.session("user-2")).execute(0)

        async def ids(**options):
            return [info.id async for info in supervisor.sessions(**options)]

        everything = await ids()
        users = await ids(prefix="user-")
        tenant = await ids(prefix="user-", tags={"tenant": "a"})
        nobody = await ids(tags={"tenant": "c"})
        with pytest.raises(InvalidArgument):
            await ids(prefix=5)
        with pytest.raises(InvalidArgument):
            await ids(tags={"tenant": 5})

    assert everything == ["user-2", "user-3", "job-1", "user-1"]
    assert users == ["user-2", "user-3", "user-1"]
    assert tenant == ["user-3", "user-1"]
    assert nobody == []


async def test_run_once_says_why_it_ended_and_not_why_its_session_is_still_open(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:

        async def break_the_store():
            await trio.sleep(3)
            failing_store.broken = True
            await trio.sleep(10)
            failing_store.broken = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_the_store)
            with pytest.raises(trio.TooSlowError):
                await supervisor.run_once(1000, wait_seconds=5)


async def test_deleting_ends_what_runs_and_tells_waiters_and_subscribers(autojump_clock, sleeper):
    told = []

    async def wait(run):
        try:
            await run.wait()
        except UnknownSession as error:
            told.append(error)

    async def follow(session):
        try:
            async with session.subscribe() as events:
                async for _ in events:
                    pass
        except UnknownSession as error:
            told.append(error)

    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        running = await session.submit(1000)
        queued = await session.submit(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, running)
            nursery.start_soon(wait, queued)
            nursery.start_soon(follow, session)
            await wait_until(lambda: sleeper.running)
            deleted = await supervisor.delete_session("s")
        again = await supervisor.delete_session("s")
        never = await supervisor.delete_session("never")
        assert sleeper.running == 0
        for ask in (
            session.status(),
            session.info(),
            session.events(),
            session.submit(1),
            session.submit(1, key="k"),
            session.wait(running.id),
            session.pause(),
            session.drain(),
            session.close(),
            session.append("note", {}),
        ):
            with pytest.raises(UnknownSession):
                await ask

    assert (deleted, again, never) == (True, False, False)
    assert len(told) == 3


async def test_an_id_used_again_after_deleting_goes_on_above_its_last_seq(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s", tags={"a": "b"})
        old = await session.submit(0, key="k")
        await old.wait()
        last_seq = (await session.info()).head_seq
        await supervisor.delete_session("s")

    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s", mode="create")
        new = await session.submit(0, key="k")
        await new.wait()
        events = await session.events(after=last_seq)
        info = await session.info()

    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s", mode="resume")
        outcome = await session.wait(new.id)

    assert new.id != old.id
    assert [event.seq for event in events] == list(range(last_seq + 1, last_seq + 5))
    assert (info.tags, info.runs) == ({}, {"completed": 1})
    assert outcome.state == "completed"


async def test_sessions_with_unfinished_runs_are_recovered_without_being_asked(
    autojump_clock, sleeper
):
    store = MemoryStore()
    limits = SupervisorLimits(drain_seconds=0)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        for number in range(5):
            session = await supervisor.session(f"s{number}")
            await session.submit(10)
            await session.submit(1)
        await trio.sleep(1)

    limits = SupervisorLimits(sessions_resident_max=2, idle_seconds=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        await trio.sleep(60)
        infos = [info async for info in supervisor.sessions()]

    assert [info.runs for info in infos] == [{"interrupted": 1, "completed": 1}] * 5


async def test_a_poisoned_store_ends_agents_and_refuses_every_ask_while_reading_goes_on(
    autojump_clock, failing_store, sleeper
):
    told = []

    async def wait(run):
        try:
            await run.wait()
        except StoreFailed as error:
            told.append(error.poisoned)

    async def follow(session, **options):
        try:
            async with session.subscribe(**options) as events:
                async for _ in events:
                    pass
        except StoreFailed as error:
            told.append(error.poisoned)

    with trio.fail_after(1000):
        async with open_supervisor(failing_store, sleeper) as supervisor:
            one = await supervisor.session("one")
            two = await supervisor.session("two")
            runs = [await one.submit(1000), await two.submit(1000), await two.submit(1)]
            async with trio.open_nursery() as nursery:
                for run in runs:
                    nursery.start_soon(wait, run)
                nursery.start_soon(follow, one)
                nursery.start_soon(lambda: follow(two, run_id=runs[1].id))
                await wait_until(lambda: sleeper.running == 2)
                failing_store.fail_sync()
                with pytest.raises(StoreFailed):
                    await one.append("note", {})
            assert sleeper.running == 0
            for ask in (
                one.submit(1),
                two.status(),
                supervisor.session("three"),
                two.cancel(runs[2].id),
                supervisor.delete_session("one"),
                runs[2].wait(),
                two.wait_idle(),
                two.drain(),
            ):
                with pytest.raises(StoreFailed) as refused:
                    await ask
                assert refused.value.poisoned
            events = await two.events()
            listed = [info.id async for info in supervisor.sessions()]

    assert told == [True] * 5
    assert [event.type for event in events][-1] == "run_submitted"
    assert set(listed) == {"one", "two"}

    failing_store.poison = None
    async with open_supervisor(failing_store, sleeper) as supervisor:
        two = await supervisor.session("two")
        outcomes = [await two.wait(run.id) for run in runs[1:]]
    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed"]


async def test_statistics_count_what_there_is(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        await supervisor.session("idle")
        await session.submit(10)
        await wait_until(lambda: sleeper.running)
        statistics = supervisor.statistics()

    assert (statistics.sessions_resident, statistics.sessions_idle) == (2, 1)
    assert (statistics.runs.in_use, statistics.draining) == (1, False)
    assert statistics.store.sessions == 2


async def test_a_session_s_whole_life_reads_as_one_history(autojump_clock, sleeper):
    store = MemoryStore()
    for _ in range(3):
        async with open_supervisor(
            store, sleeper, limits=SupervisorLimits(drain_seconds=1)
        ) as supervisor:
            session = await supervisor.session("s", slots=2)
            for seconds in (1, 5, 2):
                await session.submit(seconds, on_interrupt="requeue", attempts_max=9)
            await trio.sleep(2)
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.wait_idle()
        events = await session.events(limit=1000)

    assert sum(event.type == "run_completed" for event in events) == 9
    assert sum(event.type == "run_requeued" for event in events) > 0
    assert_history(events)
