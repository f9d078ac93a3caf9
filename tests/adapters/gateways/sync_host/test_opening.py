import asyncio
import os
import signal
import threading

import pytest
import trio
from moorage.adapters.gateways import sync_host
from moorage.adapters.gateways.hosting.trio_thread import TrioThread
from moorage.runtime import (
    AdmissionClosed,
    InvalidArgument,
    RunState,
    SessionHeld,
    SupervisorLimits,
    UnknownSession,
)
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.gateways.sync_host.running import (
    SECONDS_MAX,
    endless,
    event_of,
    in_thread,
    leaves_no_thread,
    no_longer_than_a_minute,
    opened,
    streaming,
)


@leaves_no_thread
def test_in_a_running_loop_it_refuses_instead_of_blocking_it():
    async def call(function):
        function()

    def open_another():
        with opened():
            pass

    with opened() as (_, session):
        for function in (session.status, open_another):
            with pytest.raises(InvalidArgument, match=r"asyncio_host here, or .*to_thread"):
                asyncio.run(call(function))
            with pytest.raises(InvalidArgument, match=r"moorage\.runtime here, or .*to_thread"):
                trio.run(call, function)

        async def beside():
            return await asyncio.to_thread(session.execute, "hello")

        assert asyncio.run(beside()).unwrap() == {"input": "hello"}


@leaves_no_thread
def test_a_run_is_submitted_followed_and_waited_for():
    with opened() as (_, session):
        run = session.submit("hello", key="message-1")
        with session.subscribe(run_id=run.id) as events:
            seen = [event.type for event in events]

        assert run.wait(timeout_seconds=SECONDS_MAX).unwrap() == {"input": "hello"}
        assert session.submit("hello", key="message-1").id == run.id

    assert seen == ["run_submitted", "run_started", *["message_streamed"] * 3, "run_completed"]


@leaves_no_thread
def test_many_threads_use_it_at_once():
    with opened() as (supervisor, _):

        def client(number):
            session = supervisor.session(f"client-{number}")
            return [session.execute(n).unwrap()["input"] for n in range(5)]

        clients = [in_thread(client, number) for number in range(8)]

        assert [client() for client in clients] == [list(range(5))] * 8


@leaves_no_thread
def test_an_exception_out_of_the_block_interrupts_what_runs():
    store = MemoryStore()
    with pytest.raises(LookupError, match="the host's own"), opened(endless, store) as (_, session):
        run = session.submit("hello")
        event_of(session, "message_streamed")
        raise LookupError("the host's own")

    with opened(endless, store) as (_, session):
        assert session.wait(run.id).state is RunState.INTERRUPTED


@leaves_no_thread
def test_a_store_that_cannot_be_opened_raises_out_of_the_opening(tmp_path):
    with (
        opened(store=JournalStore(tmp_path)),
        pytest.raises(SessionHeld),
        opened(store=JournalStore(tmp_path)),
    ):
        raise AssertionError("it was opened twice")


@leaves_no_thread
def test_after_leaving_every_call_is_refused():
    with opened() as (supervisor, session):
        events = session.subscribe(after="head").__enter__()

    for call in (session.info, supervisor.statistics, lambda: session.submit("again")):
        with pytest.raises(AdmissionClosed):
            call()
    assert list(events) == []
    events.__exit__(None, None, None)


@leaves_no_thread
def test_calls_that_are_pending_when_it_leaves_are_answered():
    with opened(endless, limits=SupervisorLimits(drain_seconds=0)) as (_, session):
        run = session.submit("hello")
        event_of(session, "message_streamed")
        begun = threading.Event()

        async def wait():  # as run.wait does, but it tells when it is pending
            begun.set()
            return await run._native.wait()

        waiting = in_thread(run._portal.call, wait)
        assert begun.wait(SECONDS_MAX)

    assert waiting().state is RunState.INTERRUPTED


@leaves_no_thread
def test_the_supervisors_own_thread_must_not_wait_for_itself():
    found = []

    async def agent(request, context):
        try:
            session.info()
        except ValueError as error:
            found.append(str(error))

    with opened(agent) as (_, session):
        session.execute("hello")

    assert "wait for itself" in found[0]


@leaves_no_thread
def test_ctrl_c_while_it_waits_leaves_cleanly():
    store = MemoryStore()
    main = threading.get_ident()
    with pytest.raises(KeyboardInterrupt), opened(endless, store) as (_, session):
        run = session.submit("hello")

        def interrupt():
            event_of(session, "message_streamed")
            signal.pthread_kill(main, signal.SIGINT)

        in_thread(interrupt)
        run.wait()

    with opened(endless, store) as (_, session):
        assert session.wait(run.id).state is RunState.INTERRUPTED


@leaves_no_thread
def test_ctrl_c_during_the_drain_ends_the_drain():
    store = MemoryStore()
    main = threading.get_ident()
    limits = SupervisorLimits(drain_seconds=3_600)

    @sync_host.sync_agent
    def agent(request, context):
        context.emit("message_streamed", {})
        while not session._native._hand_over.__self__.statistics().draining:
            context.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)
        context.sleep(3_600)

    with (
        no_longer_than_a_minute(),
        pytest.raises(KeyboardInterrupt),
        opened(agent, store, limits=limits) as (_, session),
    ):
        run = session.submit("hello")
        event_of(session, "message_streamed")

    with opened(endless, store) as (_, session):
        assert session.wait(run.id).state is RunState.INTERRUPTED


@pytest.mark.parametrize("told", [True, False], ids=["trio was told", "trio was not told"])
@leaves_no_thread
def test_ctrl_c_at_the_very_beginning_of_the_drain_ends_it_too(monkeypatch, told):
    store, left = MemoryStore(), []
    leave = TrioThread.leave

    def interrupted(thread, **named):
        left.append(thread)
        if told or len(left) > 1:
            leave(thread, **named)
        if len(left) == 1:
            signal.raise_signal(signal.SIGINT)

    limits = SupervisorLimits(drain_seconds=3_600)
    with (
        no_longer_than_a_minute(),
        pytest.raises(KeyboardInterrupt),
        opened(endless, store, limits=limits) as (_, session),
    ):
        run = session.submit("hello")
        event_of(session, "message_streamed")
        monkeypatch.setattr(TrioThread, "leave", interrupted)

    with opened(endless, store) as (_, session):
        assert session.wait(run.id).state is RunState.INTERRUPTED


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@leaves_no_thread
def test_a_forked_process_is_refused_leaves_at_once_and_the_parents_goes_on():
    reading, writing = os.pipe()
    child = 0
    try:
        with opened() as (_, session):
            parent = os.getpid()
            child = os.fork()
            if not child:
                signal.alarm(SECONDS_MAX)
                try:
                    session.submit("hello")
                except sync_host.WrongProcess as error:
                    os.write(writing, f"{error.code} {error.pid == parent}".encode())
                raise SystemExit  # leaves the block in the child
            os.close(writing)
            os.waitpid(child, 0)

            assert os.read(reading, 1_000) == b"wrong_process True"
            assert session.execute("hello").unwrap() == {"input": "hello"}
            os.close(reading)
    except BaseException:
        if not child:
            os._exit(0)
        raise


@leaves_no_thread
def test_a_reader_reads_beside_the_owner(tmp_path):
    with opened(store=JournalStore(tmp_path)) as (_, session):
        outcome = session.execute("hello")
        with sync_host.open_reader(JournalStore(tmp_path)) as reader:
            seen = reader.session("user-1")

            assert seen.wait(outcome.run_id).unwrap() == {"input": "hello"}
            assert [info.id for info in reader.sessions()] == ["user-1"]
            assert reader.statistics() is not None
            with pytest.raises(UnknownSession):
                reader.session("nobody").info()


@leaves_no_thread
def test_the_rest_of_a_supervisor_answers_in_threads():
    with opened(streaming) as (supervisor, session):
        for number in range(120):
            supervisor.session(f"many-{number:03}")

        assert supervisor.limits == SupervisorLimits()
        assert supervisor.statistics().sessions_resident == 121
        assert len(list(supervisor.sessions(prefix="many-"))) == 120
        assert next(supervisor.sessions()).id == "many-119"
        assert supervisor.run_once("x").unwrap() == {"input": "x"}
        assert not supervisor.unquarantine("user-1")
        assert supervisor.delete_session("user-1")
        with pytest.raises(UnknownSession):
            supervisor.handle("user-1").info()
        with pytest.raises(UnknownSession):
            session.info()
        assert supervisor.drain(timeout_seconds=0).completed == ()
