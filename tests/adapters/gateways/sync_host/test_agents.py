import threading

import pytest
import trio
from moorage.adapters.gateways import sync_host
from moorage.runtime import (
    BufferFull,
    InvalidArgument,
    NewEvent,
    RunEnded,
    RunState,
    SupervisorLimits,
    current_overrides,
    open_supervisor,
    overriding,
)
from moorage.stores import MemoryStore
from moorage.stores.artifacts import MemoryArtifacts, with_artifacts

from tests.adapters.gateways.sync_host.running import (
    SECONDS_MAX,
    event_of,
    in_thread,
    leaves_no_thread,
    opened,
)
from tests.forked import forks, in_fork


@leaves_no_thread
def test_an_agent_that_asks_whether_it_is_cancelled_ends_when_it_is():
    ended = []

    @sync_host.sync_agent
    def agent(request, context):
        context.emit("message_streamed", {})
        try:
            while True:
                request.input and context.check_cancelled()
                request.input or context.emit("message_streamed", {})
        finally:
            context.emit_nowait("message_streamed", {"last": "words"})
            ended.append(context.cancelled)

    with opened(agent) as (_, session):
        for checks in (True, False):
            run = session.submit(checks)
            with session.subscribe(run_id=run.id, types={"message_streamed"}) as events:
                next(events)
            run.cancel()

            assert run.wait().state is RunState.CANCELLED
            kept = session.events(before=2**62, limit=1, types={"message_streamed"})
            assert kept[-1].data == {"last": "words"}

    assert ended == [True, True]


@leaves_no_thread
def test_overrides_reach_agents_in_threads():
    @sync_host.sync_agent
    def agent(request, context):
        return dict(current_overrides())

    with opened(agent) as (_, session):
        with overriding(model="small"):
            inside = session.submit("hello")
        outside = session.submit("hello")

        assert inside.wait().unwrap() == {"model": "small"}
        assert outside.wait().unwrap() == {}


@leaves_no_thread
def test_what_waits_in_an_agent_ends_with_its_run():
    @sync_host.sync_agent
    def agent(request, context):
        context.emit("message_streamed", {"run": request.run_id})
        waits = {"sleep": lambda: context.sleep(3_600), "ask": lambda: context.ask("name")}
        waits["steer"] = context.wait_steer
        waits[request.input]()

    with opened(agent) as (_, session):
        for wait in ("sleep", "ask", "steer"):
            run = session.submit(wait)
            with session.subscribe(run_id=run.id, types={"message_streamed"}) as events:
                next(events)
            run.cancel()

            assert run.wait(timeout_seconds=SECONDS_MAX).state is RunState.CANCELLED


@leaves_no_thread
def test_threads_that_an_agent_starts_may_emit_and_end_with_the_run():
    found = []

    @sync_host.sync_agent
    def agent(request, context):
        emitted = in_thread(context.emit, "message_streamed", {"by": "a thread"})
        emitted()
        assert in_thread(context.session.info)().id == "user-1"
        found.append(in_thread(context.sleep, 3_600))
        context.emit("message_streamed", {"by": "the agent"})
        context.flush()
        context.sleep(3_600)

    with opened(agent) as (_, session):
        run = session.submit("hello")
        while len(session.events(types={"message_streamed"}, wait_seconds=SECONDS_MAX)) < 2:
            pass
        run.cancel()
        assert run.wait().state is RunState.CANCELLED

        with pytest.raises(RunEnded):
            found[0]()


@leaves_no_thread
def test_after_the_runs_end_nothing_is_emitted():
    kept = []

    @sync_host.sync_agent
    def agent(request, context):
        kept.append(context)

    with opened(agent) as (_, session):
        session.execute("hello")

        assert kept[0].cancelled
        for call in (
            lambda: kept[0].emit("note", {}),
            lambda: kept[0].emit_nowait("note", {}),
            kept[0].check_cancelled,
            kept[0].flush,
        ):
            with pytest.raises(RunEnded):
                call()


@leaves_no_thread
def test_an_agent_emits_asks_parks_and_is_steered():
    @sync_host.sync_agent
    def agent(request, context):
        if "approval" not in request.answers:
            context.accept_steers()
            context.emit("message_streamed", {"delta": "a"}, metadata={"own": 1})
            context.flush()
            context.wait_steer()
            for steer in context.take_steers():
                context.emit("message_sent", {"content": steer.message, "steer_id": steer.id})
        name = context.ask("name")
        return [name, context.park("approval", {"for": name})]

    with opened(agent) as (_, session):
        run = session.submit("hello")
        event_of(session, "message_streamed")
        assert run.steer("to the left").steered
        while not session.answer(run.id, "name", "Ada"):
            pass
        waiting = event_of(session, "run_waiting")
        assert session.answer(run.id, "approval", True)

        assert run.wait().unwrap() == ["Ada", True]

    assert waiting.data["data"] == {"for": "Ada"}


@leaves_no_thread
def test_emit_waits_and_emit_nowait_refuses_where_the_log_is_far_behind():
    refused = []

    @sync_host.sync_agent
    def agent(request, context):
        # longer than trio can keep up with
        while not refused:
            try:
                context.emit_nowait("message_streamed", {"delta": "x" * 100})
            except BufferFull as error:
                refused.append(error.limit)
        for _ in range(50):
            context.emit("message_streamed", {"delta": "waits until there is room"})

    with opened(agent, limits=SupervisorLimits(emit_ahead_bytes_max=2_048)) as (_, session):
        session.execute("hello").unwrap()
        last = session.events(before=2**62, limit=50, types={"message_streamed"})

    assert refused == [2_048]
    assert {event.data["delta"] for event in last} == {"waits until there is room"}


@leaves_no_thread
def test_the_context_tells_what_the_run_is():
    @sync_host.sync_agent
    def agent(request, context):
        session = context.session
        session.append("note", {"by": "the agent"})
        session.append_many([NewEvent("note", {})])
        session.configure(metadata_update={"seen": True})
        return [
            context.session_id == request.session_id == session.info().id,
            context.run_id == request.run_id,
            context.attempt,
            dict(context.metadata),
            context.limits == SupervisorLimits(),
            isinstance(session, sync_host.Session),
        ]

    with opened(agent) as (_, session):
        outcome = session.execute("hello", metadata={"a": 1})

        assert outcome.unwrap() == [True, True, 1, {"a": 1}, True, True]


@leaves_no_thread
def test_an_agent_inside_of_a_wrapper_sees_what_the_wrapper_shows():
    big = "x" * 1_000

    @sync_host.sync_agent
    def agent(request, context):
        context.emit("note", {"big": big})
        context.flush()
        shown = context.session.events(types={"note"})
        return [context.session.id, shown[0].data["big"] == big]

    wrapped = with_artifacts(agent, MemoryArtifacts(), over_bytes=100)
    with opened(wrapped) as (_, session):
        assert session.execute("hello").unwrap() == ["user-1", True]


async def test_a_sync_agent_works_in_any_supervisor_and_takes_only_its_own_threads():
    both = threading.Barrier(2)
    running = []

    def function(request, context):
        running.append(request.input)
        try:
            if request.input in ("first", "second"):
                both.wait(SECONDS_MAX)
            return len(running)
        finally:
            running.remove(request.input)

    agent = sync_host.sync_agent(function, threads_max=2)
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1", slots=4)
        runs = [await session.submit(name) for name in ("first", "second", "third", "fourth")]
        with trio.fail_after(SECONDS_MAX):
            outcomes = [await run.wait() for run in runs]

    assert max(outcome.unwrap() for outcome in outcomes) <= 2


@leaves_no_thread
def test_an_agents_exception_fails_its_run():
    @sync_host.sync_agent
    def agent(request, context):
        raise LookupError("mine")

    with opened(agent) as (_, session):
        outcome = session.execute("hello")

    assert (outcome.state, outcome.error.type) == (RunState.FAILED, "LookupError")


def test_bad_arguments_are_refused():
    with pytest.raises(InvalidArgument, match="callable"):
        sync_host.sync_agent("agent")
    for threads_max in (0, 1.5, True):
        with pytest.raises(InvalidArgument, match="threads_max"):
            sync_host.sync_agent(len, threads_max=threads_max)


async def test_outside_of_a_sync_agent_there_is_no_current_run():
    found = []

    async def agent(request, context):
        try:
            sync_host.current_session()
        except InvalidArgument as error:
            found.append(str(error))

    with pytest.raises(InvalidArgument, match="no run is current"):
        sync_host.current_run()
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        await supervisor.run_once("hello")
    assert "no sync_agent" in found[0]


@forks
@leaves_no_thread
def test_what_a_fork_of_an_agent_asks_its_context_is_refused():
    told = []

    @sync_host.sync_agent
    def agent(request, context):
        for ask in (
            lambda: context.emit("message_streamed", {"delta": "of the fork"}),
            lambda: context.emit_nowait("message_streamed", {"delta": "of the fork"}),
            context.flush,
            context.check_cancelled,
            lambda: context.cancelled,
            lambda: context.sleep(0),
            context.session.info,
        ):
            told.append(in_fork(ask).partition(":")[0])
        context.emit("message_streamed", {"delta": "of the parent"})

    with opened(agent) as (_, session):
        session.execute("x").unwrap()
        events = session.events(types={"message_streamed"})

    assert told == ["WrongProcess"] * 7
    assert [event.data["delta"] for event in events] == ["of the parent"]
