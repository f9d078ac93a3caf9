from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    InvalidArgument,
    SessionHeld,
    StoreFailed,
    SupervisorLimits,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import assert_history, wait_until
from moorage.stores import MemoryStore
from trio.testing import MockClock


def tasks_alive():
    """Every task of the program's own; trio's own are beside its main task."""
    found = []
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        found.append(task)
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return set(found)


async def test_leaving_leaves_no_task_and_no_thread(autojump_clock, sleeper):
    tasks, threads = tasks_alive(), set(threading.enumerate())

    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        for number in range(5):
            session = await supervisor.session(f"s{number}", slots=3)
            for seconds in (1, 100, 1000):
                await session.submit(seconds, timeout_seconds=5000)
        assert len(tasks_alive()) > len(tasks) + 5

    assert tasks_alive() == tasks
    assert set(threading.enumerate()) <= threads  # idle ones of earlier tests end by themselves
    assert sleeper.running == 0


async def test_leaving_waits_for_running_work_and_keeps_what_is_queued(autojump_clock, sleeper):
    store = MemoryStore()
    limits = SupervisorLimits(drain_seconds=10)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        one = await supervisor.session("one")
        two = await supervisor.session("two")
        quick, queued = await one.submit(8), await one.submit(1)
        slow = await two.submit(100)
    left_at = trio.current_time()

    assert left_at == pytest.approx(10, abs=0.2)
    async with open_reader(store) as reader:
        one, two = reader.session("one"), reader.session("two")
        finished = await one.wait(quick.id)
        interrupted = await two.wait(slow.id)
        status = await one.status()
    assert (finished.state, interrupted.state) == ("completed", "interrupted")
    assert status.queued == (queued.id,)


async def test_an_exception_interrupts_and_comes_out_bare(autojump_clock, sleeper):
    store = MemoryStore()
    raised = ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            lost = await session.submit(1000)
            again = await session.submit(1000, on_interrupt="requeue")
            await session.configure(slots=2)
            await wait_until(lambda: sleeper.running == 2)
            raise raised

    assert caught.value is raised
    assert trio.current_time() < 1
    async with open_reader(store) as reader:
        session = reader.session("s")
        events = await session.events()
        outcome = await session.wait(lost.id)
    assert outcome.state == "interrupted"
    assert_history(events, unfinished=[again.id])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_exception_comes_out_bare_as_well(autojump_clock, sleeper, error):
    with pytest.raises(error):
        async with open_supervisor(MemoryStore(), sleeper) as supervisor:
            session = await supervisor.session("s")
            await session.submit(1000)
            raise error


async def test_an_exception_group_of_the_block_s_own_stays_a_group(autojump_clock, sleeper):
    with pytest.RaisesGroup(ValueError):
        async with open_supervisor(MemoryStore(), sleeper):
            raise ExceptionGroup("mine", [ValueError()])


async def test_being_cancelled_from_outside_interrupts_records_and_leaks_nothing(
    autojump_clock, sleeper
):
    store = MemoryStore()
    tasks = tasks_alive()

    with trio.move_on_after(5) as scope:
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(1000)
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert trio.current_time() < 6
    assert tasks_alive() == tasks
    async with open_reader(store) as reader:
        outcome = await reader.session("s").wait(run.id)
    assert outcome.state == "interrupted"


class Failing(MemoryStore):
    """A store whose listings, and whose closing, fail once they are told to."""

    def __init__(self):
        super().__init__()
        self.listing_seconds = None
        self.fails_to_close = False
        self.released = []

    async def sessions(self, **options):
        if self.listing_seconds is not None:
            await trio.sleep(self.listing_seconds)
            raise StoreFailed("cannot be listed", written=False)
        async for info in super().sessions(**options):
            yield info

    @asynccontextmanager
    async def opened(self, **options):
        async with super().opened(**options):
            yield
        if self.fails_to_close:
            raise StoreFailed("cannot be closed")

    async def release(self, claim):
        await super().release(claim)
        self.released.append(claim.session_id)


@pytest.mark.promise(18)
@pytest.mark.parametrize("raised", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
async def test_what_goes_wrong_in_leaving_does_not_hide_what_the_block_raised(
    autojump_clock, sleeper, raised
):
    store = Failing()
    tasks = tasks_alive()

    with pytest.raises(type(raised)) as caught:
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(1000)
            await wait_until(lambda: sleeper.running)
            store.listing_seconds = 0
            store.fails_to_close = True
            raise raised

    assert caught.value is raised
    assert store.released == ["s"]
    assert tasks_alive() == tasks
    async with open_reader(store) as reader:
        outcome = await reader.session("s").wait(run.id)
    assert outcome.state == "interrupted"


@pytest.mark.promise(18)
async def test_a_block_that_is_cancelled_stays_so_when_leaving_goes_wrong(autojump_clock, sleeper):
    store = Failing()

    with trio.move_on_after(5) as scope:
        async with open_supervisor(store, sleeper):
            await trio.sleep(1)
            store.listing_seconds = 0
            store.fails_to_close = True
            await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_without_an_exception_of_the_block_what_goes_wrong_in_leaving_is_raised_at_its_end(
    autojump_clock, sleeper
):
    store = Failing()
    with pytest.raises(StoreFailed, match="listed"):
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(5)
            store.listing_seconds = 0
    assert store.released == ["s"]

    store.listing_seconds = None
    store.fails_to_close = True
    with pytest.raises(StoreFailed, match="closed"):
        async with open_supervisor(store, sleeper) as supervisor:
            outcome = await (await supervisor.session("s")).wait(run.id)

    assert outcome.state == "completed"


def test_a_service_that_fails_ends_the_block_and_is_raised_unless_the_block_did_first(sleeper):
    """In a run of its own, out of which no cancellation may leak."""
    store = Failing()
    store.listing_seconds = 1

    async def wait():
        async with open_supervisor(store, sleeper):
            await trio.sleep_forever()

    async def wait_with_a_task_that_fails_too():
        async with open_supervisor(store, sleeper), trio.open_nursery() as nursery:
            nursery.start_soon(raise_when_cancelled)

    async def fail_first():
        async with open_supervisor(store, sleeper):
            raise ValueError("mine")

    for block, error in (
        (wait, StoreFailed),
        (wait_with_a_task_that_fails_too, StoreFailed),
        (fail_first, ValueError),
    ):
        with pytest.raises(error, match=r"listed|mine"):
            trio.run(block, clock=MockClock(autojump_threshold=0))


async def raise_when_cancelled():
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("because of it")


async def test_being_cancelled_while_leaving_does_not_cut_the_drain_short(autojump_clock, sleeper):
    store = MemoryStore()
    with trio.move_on_after(2):
        async with open_supervisor(store, sleeper) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(5)

    async with open_reader(store) as reader:
        outcome = await reader.session("s").wait(run.id)
    assert outcome.state == "completed"


async def test_after_leaving_every_ask_is_refused(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        finished = await session.submit(0)
        await finished.wait()

    for ask in (
        session.submit(1),
        session.status(),
        session.cancel(finished.id),
        session.append("note", {}),
        session.close(),
        supervisor.session("s"),
        supervisor.delete_session("s"),
        supervisor.run_once(1),
    ):
        with pytest.raises(AdmissionClosed):
            await ask


async def test_subscribers_and_waiters_outside_the_block_end_when_it_is_left(
    autojump_clock, sleeper
):
    ended = []

    async def follow(session):
        async with session.subscribe() as events:
            async for _ in events:
                pass
        ended.append("subscriber")

    async def wait(session, run):
        with pytest.raises(StoreFailed):
            await session.wait(run.id)
        ended.append("waiter")

    async def poll(session, head_seq):
        with pytest.raises(StoreFailed):
            await session.events(after=head_seq, wait_seconds=10_000)
        ended.append("poll")

    async with trio.open_nursery() as nursery:
        async with open_supervisor(MemoryStore(), sleeper) as supervisor:
            session = await supervisor.session("s")
            await session.pause()
            run = await session.submit(1)
            head_seq = (await session.info()).head_seq
            nursery.start_soon(follow, session)
            nursery.start_soon(wait, session, run)
            nursery.start_soon(poll, session, head_seq)
            await trio.sleep(1)
        await trio.sleep(1)

    assert set(ended) == {"subscriber", "waiter", "poll"}


async def test_a_second_supervisor_on_a_store_of_one_process_is_refused(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(SessionHeld) as refused:
            async with open_supervisor(store.peer(), sleeper):
                pass
        outcome = await session.execute(0)

    assert "pid" in refused.value.holder
    assert outcome.state == "completed"


async def test_a_store_keeps_its_content_from_one_supervisor_to_the_next(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1, key="k")
        first = await run.wait()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s", mode="resume")
        second = await session.wait(run.id)
        same = await session.submit(1, key="k")

    assert second == first
    assert same.id == run.id


@pytest.mark.parametrize(
    "agents", [{}, {"": print}, {"a": 5}, {"a\n": print}, "x", None, 5, ["a"]], ids=repr
)
async def test_agents_that_are_none_are_refused(autojump_clock, agents):
    with pytest.raises(InvalidArgument, match="agent"):
        async with open_supervisor(MemoryStore(), agents):
            pass


async def test_a_mapping_of_agents_serves_by_name(autojump_clock):
    def named(name):
        async def agent(request, context):
            return [name, request.agent]

        return agent

    agents = {"default": named("default"), "other": named("other")}
    async with open_supervisor(MemoryStore(), agents) as supervisor:
        session = await supervisor.session("s")
        outcomes = [await session.execute(1, agent=name) for name in (None, "default", "other")]
        with pytest.raises(InvalidArgument, match=r"named 'nobody' .*: there are default, other$"):
            await session.submit(1, agent="nobody")
    async with open_supervisor(MemoryStore(), {"only": named("only")}) as supervisor:
        session = await supervisor.session("s")
        only = await session.execute(1)
    async with open_supervisor(MemoryStore(), {"a": named("a"), "b": named("b")}) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(InvalidArgument):
            await session.submit(1)

    assert [outcome.output for outcome in outcomes] == [
        ["default", None],
        ["default", "default"],
        ["other", "other"],
    ]
    assert only.output == ["only", None]


async def test_a_reader_reads_beside_the_owner_and_changes_nothing(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor, open_reader(store) as reader:
        session = await supervisor.session("s", tags={"a": "b"})
        run = await session.submit(10)
        reading = reader.session("s")
        seen = []
        async with trio.open_nursery() as nursery:

            async def follow():
                async with reading.subscribe(run_id=run.id) as events:
                    async for event in events:
                        seen.append(event.type)

            nursery.start_soon(follow)
            status = await reading.status()
            outcome = await reading.wait(run.id)
        info = await reading.info()
        listed = [info.id async for info in reader.sessions(tags={"a": "b"})]
        events = await reading.events()
        with pytest.raises(UnknownSession):
            await reader.session("nobody").info()
        with pytest.raises(InvalidArgument):
            async with reading.subscribe(name="mine"):
                pass
        with pytest.raises(InvalidArgument):
            reader.session("")
        assert reader.statistics().sessions == 1

    assert seen == ["run_submitted", "run_started", "run_completed"]
    assert (status.running, outcome.state, listed) == ((run.id,), "completed", ["s"])
    assert info.head_seq == len(events) == 4


def test_limits_out_of_range_are_refused():
    with pytest.raises(InvalidArgument, match="idle_seconds"):
        SupervisorLimits(idle_seconds=-1)


async def test_two_defects_at_once_come_out_as_a_group(autojump_clock):
    async def agent(request, context):
        raise BaseExceptionGroup("both", [KeyboardInterrupt("a"), KeyboardInterrupt("b")])

    with pytest.RaisesGroup(KeyboardInterrupt, KeyboardInterrupt, flatten_subgroups=True):
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("s")
            await session.execute(None)


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("data", r"such as JournalStore\('data'\), not a path"),
        (Path("data"), r"such as JournalStore\('data'\), not a path"),
        (None, "such as JournalStore or MemoryStore, not None"),
    ],
)
async def test_what_is_no_store_is_refused_with_what_would_be_one(store, message, sleeper):
    with pytest.raises(InvalidArgument, match=message):
        async with open_supervisor(store, sleeper):
            pass


def test_a_program_of_asyncio_is_told_that_trio_is_needed(sleeper):
    async def main():
        async with open_supervisor(MemoryStore(), sleeper):
            pass

    with pytest.raises(RuntimeError, match=r"needs trio: .* trio\.run"):
        asyncio.run(main())
