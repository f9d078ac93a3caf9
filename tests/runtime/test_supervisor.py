from __future__ import annotations

import math

import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    BufferFull,
    CorruptLog,
    CursorExpired,
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


async def test_a_drain_closes_admission_everywhere_and_reports_every_run(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        one = await supervisor.session("one")
        two = await supervisor.session("two")
        quick, queued = await one.submit(5), await one.submit(1)
        slow = await two.submit(1000, on_interrupt="fail")
        requeued = await (await supervisor.session("three")).submit(1000, on_interrupt="requeue")
        refused = []

        async def submit_meanwhile():
            await trio.sleep(1)
            for session in (one, await supervisor.session("new")):
                try:
                    await session.submit(1)
                except AdmissionClosed as error:
                    refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit_meanwhile)
            report = await supervisor.drain(timeout_seconds=10)
        status = await one.status()
        outcomes = [await quick.wait(), await slow.wait()]

    assert len(refused) == 2
    assert report.completed == (quick.id,)
    assert report.interrupted == (slow.id,)
    assert report.requeued == (requeued.id,)
    assert report.queued == (queued.id,)
    assert report.not_stopped == ()
    assert status.draining
    assert [outcome.state for outcome in outcomes] == ["completed", "interrupted"]


async def test_a_drain_reports_what_is_queued_in_sessions_that_are_not_in_memory(
    autojump_clock, sleeper
):
    limits = SupervisorLimits(idle_seconds=1)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit(1)
        await trio.sleep(60)
        assert len(supervisor.residents) == 0
        report = await supervisor.drain()

    assert report.queued == (run.id,)


async def test_a_drain_reports_what_is_queued_where_draining_failed(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        queued = await session.submit(1)
        await wait_until(lambda: sleeper.running)
        failing_store.lose_answer(written=False)
        report = await supervisor.drain(timeout_seconds=1)

    assert report.queued == (queued.id,)


async def test_a_drain_may_finish_what_is_queued(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        runs = [await session.submit(10) for _ in range(5)]
        report = await supervisor.drain(timeout_seconds=35, queued="finish")

    assert report.completed == tuple(run.id for run in runs[:3])
    assert report.interrupted == (runs[3].id,)
    assert report.queued == (runs[4].id,)


class Unreadable(MemoryStore):
    """A store in which reading the session ``bad`` raises ``error``, once that is set."""

    error: Exception | None = None

    async def read(self, session_id, **options):
        if session_id == "bad" and self.error is not None:
            raise self.error
        return await super().read(session_id, **options)


@pytest.mark.promise(14)
@pytest.mark.parametrize(
    "error",
    [
        CorruptLog(file="f", offset=1, reason="a flipped byte"),
        UnknownSession("bad"),
        CursorExpired("bad", after=1, oldest_seq=9),
    ],
    ids=lambda error: error.code,
)
async def test_a_session_that_cannot_be_read_spoils_no_drain(autojump_clock, sleeper, error):
    store = Unreadable()
    limits = SupervisorLimits(idle_seconds=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        queued = {}
        for name in ("one", "bad", "two"):
            session = await supervisor.session(name)
            await session.pause()
            queued[name] = await session.submit(1)
        await trio.sleep(60)
        store.error = error
        running = await (await supervisor.session("three")).submit(5)
        report = await supervisor.drain()

    assert set(report.queued) == {queued["one"].id, queued["two"].id}
    assert report.completed == (running.id,)


@pytest.mark.promise(13)
async def test_a_session_with_a_full_inbox_is_drained_as_well(autojump_clock, sleeper):
    limits = SupervisorLimits(inbox_commands_max=2)
    refused = []
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1000)
        await wait_until(lambda: sleeper.running)

        async def submit():
            try:
                await session.submit(1)
            except BufferFull as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(submit)
            await trio.lowlevel.checkpoint()
            report = await supervisor.drain(timeout_seconds=5)

    assert len(refused) == 3
    assert report.interrupted == (run.id,)
    assert len(report.queued) == 2


class Slow(MemoryStore):
    """A store in which an append takes as long as it is told to."""

    append_seconds = 0.0

    async def append(self, claim, **options):
        with trio.CancelScope(shield=True):
            await trio.sleep(self.append_seconds)
        await super().append(claim, **options)


async def test_a_drain_gives_up_on_an_inbox_from_which_nothing_is_taken(autojump_clock, sleeper):
    store = Slow()
    limits = SupervisorLimits(inbox_commands_max=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        await wait_until(lambda: sleeper.running)
        store.append_seconds = 60
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.append, "note", 1)
            await trio.sleep(1)
            nursery.start_soon(session.append, "note", 2)
            await trio.sleep(1)
            report = await supervisor.drain(timeout_seconds=5)
            drained_at = trio.current_time()
            store.append_seconds = 0

    assert report.interrupted == ()
    assert 7 <= drained_at < 8


@pytest.mark.promise(13)
async def test_a_drain_without_end_waits_for_as_long_as_it_takes(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        runs = [await session.submit(10_000) for _ in range(2)]
        report = await supervisor.drain(timeout_seconds=math.inf, queued="finish")

    assert report.completed == tuple(run.id for run in runs)


async def interrupted(store, sleeper, names, seconds):
    """Leave sessions with two unfinished runs each; returns the runs' ids by session."""
    runs = {}
    async with open_supervisor(store, sleeper, limits=SupervisorLimits(drain_seconds=0)) as before:
        for name in names:
            session = await before.session(name)
            submitted = [await session.submit(seconds, on_interrupt="requeue") for _ in range(2)]
            runs[name] = [run.id for run in submitted]
    return runs


@pytest.mark.promise(13)
async def test_a_drain_that_finishes_what_is_queued_waits_for_recovery_until_its_deadline(
    autojump_clock, sleeper
):
    store = MemoryStore()
    runs = await interrupted(store, sleeper, ["one", "two"], 100_000)
    limits = SupervisorLimits(sessions_resident_max=1)
    refused = []
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        await wait_until(lambda: sleeper.running)
        begun_at = trio.current_time()

        async def submit_meanwhile():
            await trio.sleep(5)
            (name,) = supervisor.residents.ids()
            session = await supervisor.session(name)
            with pytest.raises(AdmissionClosed):
                await session.submit(1)
            refused.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit_meanwhile)
            report = await supervisor.drain(timeout_seconds=10, queued="finish")
        seconds = trio.current_time() - begun_at
        await trio.sleep(1000)
        running = sleeper.running

    assert seconds == pytest.approx(10, abs=0.1)
    assert len(refused) == 1
    assert {*report.requeued, *report.queued} == {run for two in runs.values() for run in two}
    assert len(report.requeued) == 1
    assert running == 0


@pytest.mark.promise(13)
async def test_a_drain_finishes_what_is_queued_in_sessions_that_are_still_to_be_recovered(
    autojump_clock, sleeper
):
    store = MemoryStore()
    runs = await interrupted(store, sleeper, ["one", "two", "three"], 10)
    limits = SupervisorLimits(sessions_resident_max=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        report = await supervisor.drain(timeout_seconds=55, queued="finish")
        infos = [info async for info in supervisor.sessions()]

    # five of the six runs, ten seconds each, one after the other
    everything = {run for two in runs.values() for run in two}
    assert len(report.completed) == 5
    assert len(report.requeued) == 1
    assert {*report.completed, *report.requeued} == everything
    assert sum(info.runs.get("completed", 0) for info in infos) == 5


@pytest.mark.promise(13)
async def test_a_session_that_is_recovered_behind_a_drain_s_deadline_starts_nothing(
    autojump_clock, sleeper
):
    store = MemoryStore()
    await interrupted(store, sleeper, ["one", "two", "three"], 100)
    started = []

    async def first_is_stubborn(request, context):
        started.append(request.session_id)
        with trio.CancelScope(shield=len(started) == 1):
            await trio.sleep(100)

    limits = SupervisorLimits(sessions_resident_max=2)
    async with open_supervisor(store, first_is_stubborn, limits=limits) as supervisor:
        report = await supervisor.drain(timeout_seconds=10, queued="finish")
        await trio.sleep(1000)

    assert len(report.not_stopped) == 1
    assert len(started) == 2


async def test_a_drained_session_admits_again_when_it_is_resumed(autojump_clock, sleeper):
    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await supervisor.drain(timeout_seconds=0)
        await session.resume()
        outcome = await session.execute(2)
        await trio.sleep(100)  # out of memory and back
        later = await session.execute(3)
        with pytest.raises(AdmissionClosed):
            await other.submit(1)

    assert (outcome.state, later.state) == ("completed", "completed")


async def test_a_session_drained_by_itself_stays_so_while_it_is_out_of_memory(
    autojump_clock, sleeper
):
    store = MemoryStore()
    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await session.drain()
        await trio.sleep(100)
        with pytest.raises(AdmissionClosed):
            await session.submit(1)
        elsewhere = await other.execute(1)

    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(1)

    assert (elsewhere.state, outcome.state) == ("completed", "completed")


async def test_an_agent_that_does_not_stop_is_in_the_report_and_leaving_waits_for_it(
    autojump_clock,
):
    async def stubborn(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(MemoryStore(), stubborn, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(1)
        report = await supervisor.drain(timeout_seconds=10)
        drained_at = trio.current_time()
        status = await session.status()
        outcome = await run.wait()
        events = await session.events()

    assert report.not_stopped == (run.id,)
    assert drained_at == pytest.approx(16, abs=0.1)
    assert status.unresponsive == (run.id,)
    assert outcome.state == "completed"
    (told,) = [event for event in events if event.type == "error_occurred"]
    assert (told.run_id, told.data["code"]) == (run.id, "agent_unresponsive")
    assert_history(events)


@pytest.mark.parametrize("options", [{"timeout_seconds": -1}, {"queued": "drop"}], ids=str)
async def test_a_drain_with_bad_arguments_closes_nothing(autojump_clock, sleeper, options):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(InvalidArgument):
            await supervisor.drain(**options)
        with pytest.raises(InvalidArgument):
            await session.drain(**options)
        outcome = await session.execute(1)

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
