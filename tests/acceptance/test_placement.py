"""Who takes which session, in a cluster of nodes in memory under a virtual clock."""

from __future__ import annotations

import contextlib
from collections import Counter

import attrs
import pytest
import structlog
import trio
from moorage.runtime import (
    InvalidArgument,
    RunState,
    SupervisorLimits,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import assert_history
from moorage.stores import JournalStore, MemoryStore

LEASE_SECONDS = 10.0
EU = {"region": "eu"}
US = {"region": "us"}


class Where:
    """Agents that say on which node they ran; ``runs`` counts runs by node."""

    def __init__(self):
        self.runs = Counter()

    def agent(self, node):
        async def agent(request, context):
            self.runs[node] += 1
            await trio.sleep(request.input)
            return node

        return agent


@pytest.fixture
def where():
    return Where()


@pytest.fixture
def store():
    return MemoryStore(lease_seconds=LEASE_SECONDS)


async def leave_orphans(store, count, *, node_tags=None, agent=None, seconds=1_000):
    """Sessions with a queued run that a node had which has died without a word."""
    nobody = store.peer()
    names = [None] if agent is None else [agent]

    async def never(request, context):
        await trio.sleep_forever()

    class Dying(Exception):
        pass

    agents = {name or "default": never for name in names}
    limits = SupervisorLimits(drain_seconds=0)
    with pytest.raises(Dying):
        async with open_supervisor(nobody, agents, limits=limits, node_tags=node_tags) as dying:
            for number in range(count):
                session = await dying.session(f"s{number}", node_tags=node_tags)
                await session.submit(seconds, agent=agent, on_interrupt="requeue")
            raise Dying


def node(store, where, name, agents=None, **options):
    """A supervisor of the node of that name."""
    agents = where.agent(name) if agents is None else dict.fromkeys(agents, where.agent(name))
    return open_supervisor(store.peer(), agents, **options)


# ---- capacity ----


@pytest.mark.parametrize(("orphans", "shares"), [(70, (10, 20, 40)), (35, (5, 10, 20))])
async def test_orphans_are_shared_out_as_the_capacities_of_the_nodes_are(
    store, where, autojump_clock, orphans, shares
):
    async with contextlib.AsyncExitStack() as nodes:
        for capacity in (10, 20, 40):
            limits = SupervisorLimits(sessions_resident_max=capacity, drain_seconds=0)
            await nodes.enter_async_context(node(store, where, capacity, limits=limits))
        await leave_orphans(store, orphans)
        left_at = trio.current_time()
        while where.runs.total() < orphans:
            await trio.sleep(0.1)
        seconds = trio.current_time() - left_at
        await trio.sleep(3 * LEASE_SECONDS)

        assert tuple(where.runs[capacity] for capacity in (10, 20, 40)) == shares
        assert seconds <= 1.5 * LEASE_SECONDS


async def test_capacity_is_also_how_many_runs_a_node_executes_at_once(store, where, autojump_clock):
    async with contextlib.AsyncExitStack() as nodes:
        for capacity in (5, 15):
            limits = SupervisorLimits(runs_running_max=capacity, drain_seconds=0)
            await nodes.enter_async_context(node(store, where, capacity, limits=limits))
        await leave_orphans(store, 20)
        await trio.sleep(2 * LEASE_SECONDS)

        assert where.runs == {5: 5, 15: 15}


async def test_a_lone_node_takes_everything_quickly(store, where, autojump_clock):
    await leave_orphans(store, 700)  # more than one look takes
    async with node(store, where, "lone", limits=SupervisorLimits(drain_seconds=0)):
        opened_at = trio.current_time()
        while where.runs["lone"] < 700:
            await trio.sleep(0.01)
        seconds = trio.current_time() - opened_at

    assert seconds < LEASE_SECONDS / 10


async def test_what_fell_to_a_node_that_takes_nothing_is_taken_by_another(
    store, where, autojump_clock
):
    class Stuck(MemoryStore):
        async def unheld(self, limit, *, offer=None):
            return []

    stuck = Stuck(lease_seconds=LEASE_SECONDS)
    stuck._content = store._content
    async with (
        open_supervisor(stuck, where.agent("stuck")),
        node(store, where, "well", limits=SupervisorLimits(drain_seconds=0)),
    ):
        await trio.sleep(LEASE_SECONDS)
        await leave_orphans(store, 20)
        await trio.sleep(LEASE_SECONDS)

        assert where.runs == {"well": 20}


# ---- hand-off ----

LONG_LEASE_SECONDS = 1_000.0
"""Nobody looks by itself again while one of these tests goes on."""
TOLD_SECONDS = 3 * LONG_LEASE_SECONDS / 100


@pytest.fixture
def patient():
    return MemoryStore(lease_seconds=LONG_LEASE_SECONDS)


async def test_what_a_leaving_node_had_queued_goes_on_elsewhere_at_once(
    patient, where, autojump_clock
):
    async with node(patient, where, "b") as b:
        async with node(patient, where, "a") as a:
            await b.session("other")  # b is there, and looks when it is time
            session = await a.session("s")
            running, queued = [await session.submit(1) for _ in range(2)]
            await trio.sleep(0.5)
        left_at = trio.current_time()
        there = await b.session("s", mode="resume")
        outcome = await there.wait(queued.id)
        seconds = trio.current_time() - left_at
        first = await there.wait(running.id)

    assert (first.output, outcome.output) == ("a", "b")
    assert seconds < 1 + TOLD_SECONDS


async def test_a_node_that_drained_and_stays_has_handed_its_sessions_on(
    patient, where, autojump_clock
):
    limits = SupervisorLimits(drain_seconds=0)
    async with node(patient, where, "b", limits=limits) as b, node(patient, where, "a") as a:
        session = await a.session("s")
        await a.session("idle")
        busy = await b.session("busy")
        for _ in range(2):
            await busy.submit(100)  # what b has is no matter of a's drain
        running, queued = [await session.submit(1) for _ in range(2)]
        await trio.sleep(0.5)
        report = await a.drain(timeout_seconds=5)
        drained_at = trio.current_time()
        outcome = await session.wait(queued.id)
        seconds = trio.current_time() - drained_at
        held = {node.state.draining: node.sessions for node in await b.nodes()}
        again = await session.execute(1)  # a handle of a drained node reaches the other one
        log = await session.events(limit=1_000)

    assert report.completed == (running.id,)
    assert report.queued == (queued.id,)
    assert outcome.output == "b"
    assert seconds < 1 + TOLD_SECONDS
    assert held == {True: 0, False: 2}
    assert again.output == "b"
    assert_history(log)


async def test_a_drained_lone_node_keeps_what_is_queued_for_the_next(store, where, autojump_clock):
    async with node(store, where, "a") as a:
        session = await a.session("s")
        await session.submit(1)
        queued = await session.submit(1)
        await trio.sleep(0.5)
        await a.drain(timeout_seconds=5)
        await trio.sleep(3 * LEASE_SECONDS)
        status = await session.status()

    assert status.queued == (queued.id,)
    assert where.runs == {"a": 1}


# ---- node_tags and agents ----


async def test_a_session_is_served_by_a_node_with_its_tags(store, where, autojump_clock):
    async with (
        node(store, where, "us", node_tags=US) as us,
        node(store, where, "eu", node_tags={**EU, "gpu": "yes"}) as eu,
    ):
        await trio.sleep(1)
        session = await us.session("s", node_tags=EU)
        outcome = await session.execute(1)
        info = await session.info()
        tags = [node.state.offer for node in await us.nodes()]
        idle = await eu.session("idle", mode="create", node_tags=US)
        other = await idle.execute(1)

    assert (outcome.output, other.output) == ("eu", "us")
    assert info.node_tags == EU
    assert info.agents == ()
    assert {"tag:region=eu", "tag:gpu=yes", "agent:"} in tags


async def test_orphans_are_taken_only_by_nodes_that_serve_them(store, where, autojump_clock):
    await leave_orphans(store, 20, node_tags=EU, seconds=1)
    async with node(store, where, "us", node_tags=US):
        await trio.sleep(3 * LEASE_SECONDS)
        nobody = dict(where.runs)
        async with node(store, where, "eu", node_tags=EU):
            await trio.sleep(LEASE_SECONDS)

    assert nobody == {}
    assert where.runs == {"eu": 20}


async def test_a_run_waits_for_a_node_that_has_its_agent(store, where, autojump_clock):
    async with node(store, where, "a", ["default"]) as a:
        session = await a.session("s")
        plain = await session.submit(1)
        coded = await session.submit(1, agent="coder")
        later = await session.submit(1)
        assert (await plain.wait()).output == "a"
        await trio.sleep(2 * LEASE_SECONDS)
        status = await session.status()
        info = await session.info()
        async with node(store, where, "b", ["default", "coder"]):
            outcomes = [await run.wait() for run in (coded, later)]
        log = await session.events(limit=1_000)

    assert status.queued == (coded.id, later.id)
    assert info.agents == ("", "coder")
    assert [outcome.output for outcome in outcomes] == ["b", "b"]
    assert_history(log)


async def test_what_nobody_can_serve_is_listed_and_logged_once_in_a_while(
    store, where, autojump_clock
):
    with structlog.testing.capture_logs() as logs:
        async with node(store, where, "us", node_tags=US) as us:
            session = await us.session("s", node_tags=EU)
            run = await session.submit(1)
            await trio.sleep(55)
            async with open_reader(store.peer()) as reader:
                unserved = await reader.unserved()
                nodes = await reader.nodes()
            warned = [log for log in logs if log["event"] == "session_unserved"]
            await trio.sleep(60)
            warned_later = [log for log in logs if log["event"] == "session_unserved"]
            await session.configure(node_tags={})
            outcome = await run.wait()
            served = await reader_of(store)

    assert [(one.session_id, one.demands) for one in unserved] == [
        ("s", {"tag:region=eu", "agent:"})
    ]
    assert [one.live for one in nodes] == [True]
    assert [log["session_id"] for log in warned] == ["s"]
    assert warned[0]["code"] == "session_unserved"
    assert (warned[0]["node_tags"], warned[0]["agents"]) == (EU, ("",))
    assert len(warned_later) == 2
    assert outcome.output == "us"
    assert served == []


async def reader_of(store):
    async with open_reader(store.peer()) as reader:
        return list(await reader.unserved())


async def test_a_run_that_nobody_can_serve_can_be_cancelled_and_its_session_deleted(
    store, where, autojump_clock
):
    def virtual_ns():
        return int(trio.current_time() * 1e9)

    async with node(store, where, "a", time_ns=virtual_ns) as a:
        session = await a.session("s")
        run = await session.submit(1, agent="coder")
        timed = await session.submit(1, agent="coder", queue_seconds_max=20)
        assert await session.cancel(run.id)
        cancelled, expired = await run.wait(), await timed.wait()
        await session.submit(1, agent="coder")
        deleted = await a.delete_session("s")

    assert cancelled.state is RunState.CANCELLED
    assert expired.state is RunState.TIMED_OUT
    assert deleted
    assert where.runs == {}


async def test_a_session_that_moves_while_a_run_goes_on_lets_it_end_first(
    store, where, autojump_clock
):
    async with (
        node(store, where, "us", node_tags=US) as us,
        node(store, where, "eu", node_tags=EU),
    ):
        await trio.sleep(1)
        session = await us.session("s", node_tags=US)
        first, second = [await session.submit(5) for _ in range(2)]
        await trio.sleep(1)
        await session.configure(node_tags=EU)
        outcomes = [await run.wait() for run in (first, second)]
        log = await session.events(limit=1_000)

    assert [outcome.output for outcome in outcomes] == ["us", "eu"]
    assert_history(log)


async def test_what_an_earlier_release_wrote_of_a_session_is_made_good_by_who_takes_it(
    store, where, autojump_clock
):
    await leave_orphans(store, 1, agent="coder", seconds=1)
    log = store._content.logs["s0"]
    log.replace_info(attrs.evolve(log.info(), agents=()))
    claims_before = store._content.last_epoch
    async with node(store, where, "plain", ["default"]):
        await trio.sleep(2 * LEASE_SECONDS)
        agents, claims = log.info().agents, store._content.last_epoch - claims_before
        async with node(store, where, "coder", ["coder"]):
            await trio.sleep(LEASE_SECONDS)

    assert agents == ("coder",)
    assert claims == 1
    assert where.runs == {"coder": 1}


async def test_a_fork_demands_what_its_parent_does(store, where, autojump_clock):
    async with (
        node(store, where, "us", node_tags=US) as us,
        node(store, where, "eu", node_tags=EU),
    ):
        await trio.sleep(1)
        session = await us.session("s", node_tags=EU)
        await session.execute(1)
        fork = await session.fork("t")

        assert (await fork.info()).node_tags == EU
        assert (await fork.execute(1)).output == "eu"
        assert (await us.run_once(1, node_tags=EU)).output == "eu"


async def test_where_a_store_has_one_process_demands_are_kept_and_no_reason_to_wait(
    where, autojump_clock
):
    async with open_supervisor(MemoryStore(), where.agent("only"), node_tags=US) as supervisor:
        session = await supervisor.session("s", node_tags=EU)
        with pytest.raises(InvalidArgument, match="no agent named 'coder'"):
            await session.submit(1, agent="coder")

        assert (await session.execute(1)).output == "only"
        assert (await session.info()).node_tags == EU


@pytest.mark.parametrize(
    "node_tags", [["region"], {"region": 1}, {"a=b": "c"}, {"": "c"}, {"a": ""}, {"a": "\0"}]
)
async def test_tags_that_make_no_sense_are_refused(store, where, node_tags):
    with pytest.raises(InvalidArgument, match="node"):
        async with open_supervisor(store, where.agent("a"), node_tags=node_tags):
            pass
    async with open_supervisor(store, where.agent("a")) as supervisor:
        with pytest.raises(InvalidArgument, match="node"):
            await supervisor.session("s", node_tags=node_tags)
        session = await supervisor.session("s")
        with pytest.raises(InvalidArgument, match="node"):
            await session.configure(node_tags=node_tags)


async def test_a_store_of_one_process_has_no_nodes(tmp_path, where):
    store = JournalStore(tmp_path / "journal")
    async with open_supervisor(store, where.agent("a")) as supervisor:
        with pytest.raises(InvalidArgument, match="no nodes"):
            await supervisor.nodes()
        async with open_reader(JournalStore(tmp_path / "journal")) as reader:
            with pytest.raises(InvalidArgument, match="no nodes"):
                await reader.unserved()
