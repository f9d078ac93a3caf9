"""Sessions are deleted softly and for good, brought back, and removed by retention."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import structlog
import trio
from moorage.runtime import (
    InvalidArgument,
    RetentionPolicy,
    RetentionRule,
    RunState,
    SessionDeleted,
    SessionQuarantined,
    SessionState,
    StoreFailed,
    SupervisorLimits,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import VirtualClock, assert_history, wait_until
from moorage.stores import JournalStore, MemoryStore, SqliteStore

FAST = SupervisorLimits(retention_sessions_per_second_max=math.inf)
ALL = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)])


@pytest.fixture(params=["memory", "journal", "sqlite", "postgres"])
def make_store(request, tmp_path):
    """Makes the same store again and again."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").store
    if request.param == "memory":
        return MemoryStore().peer
    if request.param == "journal":
        return lambda: JournalStore(tmp_path / "journal")
    return lambda: SqliteStore(tmp_path / "store.db")


async def listed(supervisor, **options):
    return sorted([info.id async for info in supervisor.sessions(**options)])


# ---- soft deletion ----


async def test_a_soft_deletion_survives_a_restart_and_is_undone(make_store, sleeper):
    async with open_supervisor(make_store(), sleeper) as supervisor:
        session = await supervisor.session("a", tags={"t": "1"})
        run = await session.submit(0, key="k")
        await run.wait()
        await supervisor.session("b")
        assert await supervisor.delete_session("a", soft=True, reason="asked for")
        assert not await supervisor.delete_session("a", soft=True)
        assert await listed(supervisor) == ["b"]

    async with open_supervisor(make_store(), sleeper) as supervisor:
        assert await listed(supervisor) == ["b"]
        assert await listed(supervisor, include_deleted=True) == ["a", "b"]
        with pytest.raises(SessionDeleted):
            await supervisor.session("a")
        hidden = await supervisor.session("a", include_deleted=True)
        info = await hidden.info()
        assert (info.state, info.tags, info.runs) == ("closed", {"t": "1"}, {"completed": 1})
        assert (await hidden.events())[-1].data["reason"] == "asked for"
        assert (await hidden.wait(run.id)).output == 0
        for use in (hidden.submit(0), hidden.reopen(), hidden.configure(slots=2), hidden.pause()):
            with pytest.raises(SessionDeleted):
                await use
        assert (await hidden.submit(0, key="k")).id == run.id  # what was accepted is known
        async with open_reader(make_store()) as reader:
            assert await listed(reader) == ["b"]
            assert await listed(reader, include_deleted=True) == ["a", "b"]

        assert await supervisor.restore_session("a")
        assert not await supervisor.restore_session("a")
        session = await supervisor.session("a")
        assert (await session.execute(0)).output == 0
        assert await listed(supervisor) == ["a", "b"]
        assert_history(await session.events())


async def test_what_runs_ends_and_who_waits_is_told(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        running, queued = await session.submit(1_000), await session.submit(0)
        await wait_until(lambda: sleeper.running)
        followed = []

        async def follow():
            async with session.subscribe() as events:
                followed.extend([event.type async for event in events])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(1)
            await supervisor.delete_session("s", soft=True)
        outcomes = [await run.wait() for run in (running, queued)]
        events = await session.events()

    assert [outcome.state for outcome in outcomes] == ["cancelled", "cancelled"]
    assert outcomes[0].error.message == "session deleted"
    assert "session_deleted" in followed
    assert sleeper.started == [1_000]
    assert_history(events)


async def test_a_deletion_for_good_works_on_what_is_softly_deleted(make_store, sleeper):
    async with open_supervisor(make_store(), sleeper) as supervisor:
        await supervisor.session("a")
        await supervisor.delete_session("a", soft=True)

        assert await supervisor.delete_session("a")

        assert await listed(supervisor, include_deleted=True) == []
        with pytest.raises(UnknownSession):
            await supervisor.restore_session("a")
        assert not await supervisor.delete_session("a", soft=True)
        again = await supervisor.session("a")
        assert [event.seq for event in await again.events(after=2)] == [3]


async def test_a_reason_needs_somewhere_to_be_recorded(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        await supervisor.session("a")

        with pytest.raises(InvalidArgument, match="soft=True"):
            await supervisor.delete_session("a", reason="why")

        assert await listed(supervisor) == ["a"]


async def test_a_quarantined_session_is_deleted_for_good_or_not_at_all(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(restarts_max=0, retention_sessions_per_second_max=math.inf)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        failing_store.crashing = "s"
        with pytest.raises(StoreFailed):
            await session.pause()
        failing_store.crashing = None

        with pytest.raises(SessionQuarantined):
            await supervisor.delete_session("s", soft=True)
        with pytest.raises(SessionQuarantined):
            await supervisor.restore_session("s")
        await supervisor.session("s", include_deleted=True)
        report = await supervisor.apply_retention(ALL)

        assert report.ids("delete") == ("s",)
        assert await listed(supervisor) == []


async def test_a_quarantine_of_a_deleted_session_keeps_it_hidden(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(
        failing_store, sleeper, limits=SupervisorLimits(restarts_max=0)
    ) as supervisor:
        await supervisor.session("s")
        await supervisor.delete_session("s", soft=True)
        failing_store.crashing = "s"
        with pytest.raises(StoreFailed):
            await supervisor.restore_session("s")
        failing_store.crashing = None

        assert await listed(supervisor) == []
        await supervisor.unquarantine("s")
        assert await listed(supervisor) == []
        assert await supervisor.restore_session("s")
        assert (await supervisor.handle("s").info()).state is SessionState.OPEN


async def test_agents_that_were_ending_at_a_crash_have_ended_afterwards(autojump_clock, sleeper):
    async def stubborn(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    store = MemoryStore()
    crashed = store.peer()
    with pytest.raises(RuntimeError, match="crash"):
        async with open_supervisor(store, stubborn) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(0)
            await trio.sleep(1)
            await supervisor.delete_session("s", soft=True)
            crashed._content.logs = {"s": copy.deepcopy(store._content.logs["s"])}
            raise RuntimeError("crash")
    async with open_supervisor(crashed, sleeper) as supervisor:
        outcome = await supervisor.handle("s").wait(run.id)

        assert outcome.state is RunState.CANCELLED
        assert await listed(supervisor) == []


# ---- expiry ----


async def test_a_session_says_itself_when_it_expires(make_store, sleeper):
    now = 1_000_000_000_000_000_000

    def time_ns():
        return now

    async with open_supervisor(make_store(), sleeper, limits=FAST, time_ns=time_ns) as supervisor:
        await supervisor.session("hour", expire_after_seconds=3_600)
        await supervisor.session("never", expire_after_seconds="never")
        day = await supervisor.session("day", expire_after_seconds=60)
        await day.configure(expire_after_seconds=86_400)
        await supervisor.session("open")
        back = await supervisor.session("back", expire_after_seconds=60)
        await back.configure(expire_after_seconds="by_policy")
        infos = {info.id: info async for info in supervisor.sessions()}
        assert infos["hour"].expire_after_seconds == 3_600
        assert infos["never"].expire_after_seconds == math.inf
        assert infos["back"].expire_after_seconds is None

        now += 7_200 * 10**9
        report = await supervisor.apply_retention(RetentionPolicy())
        assert report.ids("delete") == ("hour",)
        now += 90_000 * 10**9
        report = await supervisor.apply_retention(ALL)
        assert set(report.ids("delete")) == {"day", "open", "back"}
        assert await listed(supervisor) == ["never"]


@pytest.mark.parametrize("value", [-1, math.nan, "often", True])
async def test_an_expiry_that_makes_no_sense_is_refused(autojump_clock, sleeper, value):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        with pytest.raises(InvalidArgument, match="expire_after_seconds"):
            await supervisor.session("s", expire_after_seconds=value)

        assert await listed(supervisor) == []


async def test_forks_expire_as_what_they_were_made_from(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s", expire_after_seconds=60)

        fork = await session.fork("f")

        assert (await fork.info()).expire_after_seconds == 60


# ---- retention ----


async def test_a_pass_does_what_the_dry_run_said(make_store, sleeper):
    policy = RetentionPolicy(
        rules=[
            RetentionRule(states=["closed"], older_than_seconds=0),
            RetentionRule(action="soft_delete", prefix="old-", older_than_seconds=0),
            RetentionRule(action="trim", prefix="long", events_keep_last=3),
        ],
        exempt_tags=["keep"],
    )
    async with open_supervisor(make_store(), sleeper, limits=FAST) as supervisor:
        for id in ("closed-1", "closed-2"):
            await (await supervisor.session(id)).close()
        await supervisor.session("old-1")
        await supervisor.session("old-2", tags={"keep": "1"})
        long = await supervisor.session("long")
        for n in range(5):
            await long.append("note", {"n": n})
        head = (await long.info()).head_seq
        busy = await supervisor.session("old-busy")
        await busy.pause()
        queued = await busy.submit(0)

        said = await supervisor.apply_retention(policy, dry_run=True)
        assert len(await listed(supervisor)) == 6
        done = await supervisor.apply_retention(policy)
        again = await supervisor.apply_retention(policy)

        assert (said.dry_run, done.dry_run) == (True, False)
        assert {e.session_id: e for e in said.entries} == {e.session_id: e for e in done.entries}
        assert set(done.ids("delete")) == {"closed-1", "closed-2"}
        assert (done.ids("soft_delete"), done.ids("trim")) == (("old-1",), ("long",))
        assert (done.deleted, done.soft_deleted, done.trimmed) == (2, 1, 1)
        assert {one.session_id for one in done.spared} == {"old-2", "old-busy"}
        assert not done.problems
        assert done.freed_bytes == sum(entry.bytes for entry in done.entries) > 0
        assert done.sessions == 6
        assert again.entries == ()
        assert await listed(supervisor) == ["long", "old-2", "old-busy"]
        assert [event.seq for event in await long.events(after=head - 3)] == [
            head - 2,
            head - 1,
            head,
        ]
        assert (await busy.status()).queued == (queued.id,)


@pytest.mark.promise(1)
async def test_what_is_accepted_meanwhile_keeps_its_session(make_store):
    """Whoever submits while a pass goes on is refused, or has an outcome that can be read."""
    names = [f"s{n}" for n in range(12)]
    accepted, refused = {}, []
    passed = trio.Event()

    async def agent(request, context):
        await passed.wait()  # or a run that ends before the pass looks is none of its concern

    async with open_supervisor(make_store(), agent, limits=FAST) as supervisor:
        sessions = [await supervisor.session(name) for name in names]

        async def submit(session):
            try:
                accepted[session.id] = await session.submit(0)
            except UnknownSession:
                refused.append(session.id)

        async with trio.open_nursery() as nursery:
            for session in sessions[::2]:
                nursery.start_soon(submit, session)
            report = await supervisor.apply_retention(ALL)
            for session in sessions[1::2]:
                nursery.start_soon(submit, session)
            passed.set()
        outcomes = {id: await run.wait() for id, run in accepted.items()}

        assert {outcome.state for outcome in outcomes.values()} <= {RunState.COMPLETED}
        assert set(accepted) | set(refused) == set(names)
        assert set(report.ids("delete")) == set(refused)
        assert await listed(supervisor) == sorted(accepted)


async def test_sessions_that_a_pass_called_into_memory_leave_it(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        for n in range(5):
            await supervisor.session(f"s{n}")
    async with open_supervisor(store, sleeper, limits=FAST) as supervisor:
        await supervisor.session("s0")
        policy = RetentionPolicy(rules=[RetentionRule(action="soft_delete", older_than_seconds=0)])

        report = await supervisor.apply_retention(policy)
        await trio.sleep(1)

        assert report.soft_deleted == 5
        assert supervisor.residents.ids() == ["s0"]


async def test_deleted_sessions_are_purged_later(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    policy = RetentionPolicy(purge_after_seconds=3_600)
    async with open_supervisor(
        MemoryStore(), sleeper, limits=FAST, time_ns=clock.time_ns
    ) as supervisor:
        await supervisor.session("s")
        await supervisor.delete_session("s", soft=True)
        await trio.sleep(3_000)
        early = await supervisor.apply_retention(policy)
        await trio.sleep(700)
        late = await supervisor.apply_retention(policy)

    assert (early.entries, late.ids("delete")) == ((), ("s",))


# ---- by the clock ----


async def test_a_schedule_applies_the_policy_again_and_again(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    reports = []

    async def told(report):
        reports.append((trio.current_time(), report))

    policy = RetentionPolicy(rules=[RetentionRule(older_than_seconds=5_000)])
    async with open_supervisor(
        MemoryStore(),
        sleeper,
        time_ns=clock.time_ns,
        retention=policy,
        retention_interval_seconds=1_000,
        on_retention=told,
    ) as supervisor:
        await supervisor.session("s")
        await trio.sleep(10_000)
        left = await listed(supervisor)

    assert left == []
    (deleted,) = [at for at, report in reports if report.deleted]
    assert 5_000 <= deleted <= 6_100
    pauses = [later[0] - earlier[0] for earlier, later in itertools.pairwise(reports)]
    assert all(900 <= pause <= 1_000.1 for pause in pauses)
    assert reports[0][0] == 0


async def test_a_pass_that_fails_is_made_again(autojump_clock, sleeper):
    told = []

    async def fail_first(report):
        told.append(report)
        if len(told) == 1:
            raise RuntimeError("the receiver is broken")

    async with open_supervisor(
        MemoryStore(),
        sleeper,
        retention=RetentionPolicy(),
        retention_interval_seconds=10,
        on_retention=fail_first,
    ):
        await trio.sleep(15)

    assert len(told) == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"retention": {"rules": []}}, "RetentionPolicy"),
        ({"retention": ALL, "retention_interval_seconds": 0}, "retention_interval_seconds"),
        ({"retention": ALL, "retention_interval_seconds": math.inf}, "retention_interval_seconds"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused(autojump_clock, sleeper, options, why):
    with pytest.raises(InvalidArgument, match=why):
        async with open_supervisor(MemoryStore(), sleeper, **options):
            pass


async def test_the_pace_is_kept(autojump_clock, sleeper):
    limits = SupervisorLimits(retention_sessions_per_second_max=10)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        for n in range(50):
            await supervisor.session(f"s{n:02}")
        begin = trio.current_time()
        report = await supervisor.apply_retention(ALL)
        seconds = trio.current_time() - begin

    assert report.deleted == 50
    assert 4.8 <= seconds <= 5.2


# ---- many nodes ----


@pytest.fixture(params=["memory", "postgres"])
def make_node(request):
    """Makes nodes of the same cluster."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").store
    return MemoryStore(lease_seconds=30).peer


async def test_nodes_share_the_work_and_do_none_of_it_twice(make_node, sleeper):
    async with (
        open_supervisor(make_node(), sleeper, limits=FAST) as one,
        open_supervisor(make_node(), sleeper, limits=FAST) as other,
    ):
        for n in range(10):
            await (one if n % 2 else other).session(f"held-{n}")
        for n in range(10):
            await one.session(f"free-{n}")
            one.residents.dismiss(f"free-{n}")
        await wait_until(lambda: not [id for id in one.residents.ids() if id.startswith("free")])
        reports = {}

        async def apply(supervisor):
            reports[supervisor] = await supervisor.apply_retention(ALL)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply, one)
            nursery.start_soon(apply, other)
        done = [id for report in reports.values() for id in report.ids("delete")]
        problems = [one for report in reports.values() for one in report.problems]
        left = await listed(one)
        # who lost a race for what nobody had has spared it, and nobody does for ever
        again = [await node.apply_retention(ALL) for node in (one, other)]
        done += [id for report in again for id in report.ids("delete")]

    assert not problems
    assert len(done) == len(set(done)) == 20
    for node, remainder in ((one, 1), (other, 0)):
        held = {id for id in reports[node].ids("delete") if id.startswith("held")}
        assert held == {f"held-{n}" for n in range(10) if n % 2 == remainder}
    assert not [id for id in left if id.startswith("held")]


async def test_what_another_live_node_has_is_left_to_it(autojump_clock, sleeper):
    first = MemoryStore(lease_seconds=10)
    async with (
        open_supervisor(first, sleeper, limits=FAST) as one,
        open_supervisor(first.peer(), sleeper, limits=FAST) as other,
    ):
        await one.session("s")

        with structlog.testing.capture_logs() as logs:
            report = await other.apply_retention(ALL)

        assert (report.entries, len(report.spared)) == ((), 1)
        assert {entry["log_level"] for entry in logs} == {"debug"}
        assert "its owner" in report.spared[0].reason
        assert (await one.apply_retention(ALL)).ids("delete") == ("s",)
