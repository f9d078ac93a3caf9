"""A pass measures, plans and does; what has happened since its plan keeps a session."""

from __future__ import annotations

import math
import time

import pytest
import trio
from moorage.runtime import (
    NewEvent,
    RetentionPlan,
    RetentionPolicy,
    RetentionRule,
    StoreFailed,
    SupervisorLimits,
    open_supervisor,
    retention_pass,
)
from moorage.runtime.retention import Planned
from moorage.runtime.retention_pass import Pace, RetentionPass, Sizes, session_bytes
from moorage.runtime.sessions import SessionInfo, SessionState
from moorage.stores import JournalStore, MemoryStore, SqliteStore

ALL = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)])
FAST = SupervisorLimits(retention_sessions_per_second_max=math.inf)


class Unsized(MemoryStore):
    """A store that cannot say how large a session is, and counts who reads it."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __getattribute__(self, name):
        if name == "session_bytes":
            raise AttributeError(name)
        return super().__getattribute__(name)

    async def read(self, session_id, **options):
        self.reads += 1
        return await super().read(session_id, **options)


def a_pass(supervisor, sizes=None, deliver=None):
    return RetentionPass(
        supervisor._store,
        deliver or supervisor._retain,
        time_ns=time.time_ns,
        sizes=sizes or Sizes(),
        sessions_per_second=math.inf,
        sessions_at_once=2,
    )


async def done(work, planned):
    await work.perform(planned, dry_run=False)
    return set(work._entries), sorted(one.session_id for one in work._spared)


async def test_a_run_that_was_submitted_since_the_plan_keeps_its_session(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        quick = await supervisor.session("quick")
        slow = await supervisor.session("slow")
        await supervisor.session("idle")
        work = a_pass(supervisor)
        planned = await work.plan(ALL)
        await quick.execute(0)
        run = await slow.submit(5)

        assert await done(work, planned) == ({"idle"}, ["quick", "slow"])
        assert (await run.wait()).output == 5
        (why,) = [one.reason for one in work._spared if one.session_id == "slow"]
        assert "1 running" in why or "1 queued" in why


async def test_whatever_was_recorded_since_the_plan_keeps_its_session(autojump_clock, sleeper):
    soft = RetentionPolicy(rules=[RetentionRule(action="soft_delete", older_than_seconds=0)])
    for policy in (ALL, soft):
        async with open_supervisor(MemoryStore(), sleeper) as supervisor:
            session = await supervisor.session("s")
            work = a_pass(supervisor)
            planned = await work.plan(policy)
            await session.append("note", 1)

            assert await done(work, planned) == (set(), ["s"])


async def test_what_is_gone_since_the_plan_is_nobodys_success(autojump_clock, sleeper):
    rules = [
        RetentionRule(prefix="d", older_than_seconds=0),
        RetentionRule(prefix="s", older_than_seconds=0, action="soft_delete"),
        RetentionRule(prefix="t", events_keep_last=1, action="trim"),
    ]
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        for id in ("d", "s", "t"):
            await (await supervisor.session(id)).append("note", 1)
        work = a_pass(supervisor)
        planned = await work.plan(RetentionPolicy(rules=rules))
        assert len(planned.actions) == 3
        for id in ("d", "s", "t"):
            await supervisor.delete_session(id)

        assert await done(work, planned) == (set(), [])
        assert not work._problems


async def test_events_that_are_old_are_trimmed_and_the_unfinished_never(autojump_clock, sleeper):
    now = 10**18

    def time_ns():
        return now

    policy = RetentionPolicy(rules=[RetentionRule(action="trim", events_older_than_seconds=100)])
    async with open_supervisor(MemoryStore(), sleeper, limits=FAST, time_ns=time_ns) as supervisor:
        session = await supervisor.session("s")
        await session.append("note", "old")
        now += 200 * 10**9
        await session.append("note", "new")
        await supervisor.session("young")
        before = await session.events()

        report = await supervisor.apply_retention(policy)
        again = await supervisor.apply_retention(policy)

        (entry,) = report.entries
        assert (entry.session_id, entry.events, entry.bytes > 0) == ("s", 2, True)
        assert again.entries == ()
        assert await session.events(after=2) == before[2:]

        # planned while idle, and busy when it is done
        seen = await session.info()
        run = await session.submit(50)
        await trio.sleep(1)
        everything = Planned("s", "trim", "by test", (await session.info()).head_seq)
        work = a_pass(supervisor)
        await work.perform(RetentionPlan((everything,), (), 1), dry_run=False)

        oldest = (await session.events(after=seen.head_seq))[0]
        assert (oldest.type, (await run.wait()).output) == ("run_submitted", 50)
        assert [entry.action for entry in work._entries.values()] == ["trim"]


async def test_bytes_are_those_of_the_bodies_however_they_are_found_out(
    tmp_path, sleeper, postgres
):
    async def fill(store):
        async with open_supervisor(store, sleeper, time_ns=lambda: 10**18) as supervisor:
            session = await supervisor.session("s")
            notes = [NewEvent("note", {"n": n, "text": "x" * 10}) for n in range(700)]
            await session.append_many(notes)
            await supervisor.session("other")
            await session.trim(before=100)
            return await session_bytes(store, "s")

    stores = [
        MemoryStore(),
        Unsized(),
        JournalStore(tmp_path / "journal"),
        SqliteStore(tmp_path / "store.db"),
        postgres.store(),
    ]
    sizes = {await fill(store) for store in stores}

    assert len(sizes) == 1
    assert sizes.pop() > 600 * 30


async def test_a_store_that_says_it_is_not_read(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        await supervisor.session("s")

        assert await session_bytes(store, "s") == store._content.logs["s"].size_bytes


async def test_what_has_not_changed_is_measured_once(autojump_clock, sleeper):
    policy = RetentionPolicy(rules=[RetentionRule(bytes_max=10_000)])
    store = Unsized()
    async with open_supervisor(store, sleeper, limits=FAST) as supervisor:
        for n in range(5):
            await supervisor.session(f"s{n}")
        await supervisor.apply_retention(policy)
        first = store.reads
        await supervisor.apply_retention(policy)
        second = store.reads
        await (await supervisor.session("s1")).append("note", 1)
        await supervisor.apply_retention(policy)

    assert (first, second) == (5, 5)
    assert store.reads == 6


async def test_the_oldest_go_until_the_rest_is_small_enough(autojump_clock, sleeper):
    store = Unsized()
    async with open_supervisor(store, sleeper, limits=FAST) as supervisor:
        for n in range(4):
            await (await supervisor.session(f"s{n}")).append("note", b"x" * 1_000)
            await trio.sleep(1)
        size = await session_bytes(store, "s0")

        report = await supervisor.apply_retention(
            RetentionPolicy(rules=[RetentionRule(bytes_max=2 * size)])
        )

    assert set(report.ids("delete")) == {"s0", "s1"}
    assert report.freed_bytes == 2 * size


def test_no_more_sizes_are_remembered_than_there_is_room_for():
    sizes = Sizes(2)
    infos = [SessionInfo(id, SessionState.OPEN, {}, {}, 0, 0, 5, {}) for id in "abc"]
    for info in infos:
        sizes.note(info, 7)

    assert [sizes.known(info) for info in infos] == [None, 7, 7]
    sizes.forget("b")
    assert sizes.known(infos[1]) is None


async def test_one_session_that_fails_does_not_keep_the_others(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        for id in ("bad", "good"):
            await supervisor.session(id)

        async def deliver(session_id, command):
            if session_id == "bad":
                raise StoreFailed("no space left on device", written=False)
            return await supervisor._retain(session_id, command)

        report = await a_pass(supervisor, deliver=deliver).apply(ALL)

    assert report.ids("delete") == ("good",)
    (problem,) = report.problems
    assert (problem.session_id, problem.code) == ("bad", "store_failed")


async def test_a_store_that_fails_for_good_ends_the_pass(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        for n in range(9):
            await supervisor.session(f"s{n}")
        asked = []

        async def deliver(session_id, command):
            asked.append(session_id)
            raise StoreFailed("sync failed", poisoned=True)

        with pytest.raises(StoreFailed, match="sync failed"):
            await a_pass(supervisor, deliver=deliver).apply(ALL)

    assert len(asked) <= 2


class Unreadable(Unsized):
    """A store in which one session can be listed and not read."""

    async def read(self, session_id, **options):
        if session_id == "bad":
            raise StoreFailed("unreadable", written=False)
        return await super().read(session_id, **options)


async def test_what_cannot_be_read_is_not_measured_and_can_be_deleted(autojump_clock, sleeper):
    async with open_supervisor(Unreadable(), sleeper, limits=FAST) as supervisor:
        await supervisor.session("bad")
        by_size = RetentionPolicy(rules=[RetentionRule(bytes_max=0)])

        report = await supervisor.apply_retention(by_size)
        assert (report.entries, report.problems[0].message) == ((), "unreadable")

        report = await supervisor.apply_retention(ALL)
        assert [(entry.session_id, entry.bytes) for entry in report.entries] == [("bad", 0)]


async def test_many_sessions_are_planned_for_in_a_thread(sleeper, monkeypatch):
    monkeypatch.setattr(retention_pass, "PLANNED_AT_ONCE_MAX", 20)
    async with open_supervisor(MemoryStore(), sleeper, limits=FAST) as supervisor:
        for n in range(21):
            await supervisor.session(f"s{n}")

        planned = await a_pass(supervisor).plan(
            RetentionPolicy(rules=[RetentionRule(keep_newest=1)])
        )

    assert len(planned.actions) == 20


async def test_turns_are_taken_at_a_pace(autojump_clock):
    pace, times = Pace(4), []
    for _ in range(5):
        await pace.turn()
        times.append(trio.current_time())
    await trio.sleep(10)
    await pace.turn()  # what was not used is not made up for
    await pace.turn()
    times += [trio.current_time()]

    assert [round(at - times[0], 6) for at in times] == [0, 0.25, 0.5, 0.75, 1.0, 11.25]
