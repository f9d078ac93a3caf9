import threading

import pytest
import trio
from moorage.adapters.gateways import sync_host
from moorage.runtime import CursorHeld, KeyConflict, RunState

from tests.adapters.gateways.sync_host.running import (
    SECONDS_MAX,
    endless,
    event_of,
    leaves_no_thread,
    opened,
)


@sync_host.sync_agent
def parking(request, context):
    return context.park("go", {})


@leaves_no_thread
def test_errors_cross_with_their_types_and_facts():
    with opened() as (_, session):
        session.submit("hello", key="k")

        with pytest.raises(KeyConflict) as caught:
            session.submit("another", key="k")

    assert caught.value.key == "k"


@leaves_no_thread
def test_a_wait_that_is_over_is_a_timeout_error_of_python_and_of_trio():
    with opened(endless) as (_, session):
        run = session.submit("hello")

        with pytest.raises(TimeoutError):
            run.wait(timeout_seconds=0)
        with pytest.raises(trio.TooSlowError):
            session.execute("hello", wait_seconds=0)
        session.drain(timeout_seconds=0)


@leaves_no_thread
def test_reading_that_takes_too_long_takes_no_event_away():
    with opened() as (_, session), session.subscribe(after="head") as events:
        with pytest.raises(sync_host.WaitTooSlow):
            events.next_batch(timeout_seconds=0)
        session.append("note", {"number": 1})

        batch = events.next_batch(timeout_seconds=SECONDS_MAX)

    assert [event.data for event in batch] == [{"number": 1}]


@leaves_no_thread
def test_batches_have_what_iterating_has_left():
    with opened() as (_, session):
        run = session.submit("hello")
        run.wait()
        with session.subscribe(run_id=run.id) as events:
            first = next(events)

            batches = list(events.batches())

            assert events.next_batch() == []

    seqs = [first.seq, *(event.seq for batch in batches for event in batch)]
    assert seqs == list(range(2, 8))


@leaves_no_thread
def test_a_named_subscription_goes_on_where_it_was_acknowledged():
    with opened() as (_, session):
        session.execute("hello")
        with pytest.raises(LookupError), session.subscribe(name="mail") as events:
            for event in events:
                events.ack(event)
                raise LookupError

        with session.subscribe(name="mail") as events:
            assert next(events).seq == 2
            assert events.cursor >= 2
            with pytest.raises(CursorHeld):
                session.subscribe(name="mail").__enter__()


@leaves_no_thread
def test_another_thread_ends_a_wait_by_cancelling_the_run():
    with opened(endless) as (_, session):
        run = session.submit("hello")
        event_of(session, "message_streamed")
        thread = threading.Thread(target=run.cancel)
        thread.start()

        assert run.wait(timeout_seconds=SECONDS_MAX).state is RunState.CANCELLED
        thread.join(SECONDS_MAX)


@leaves_no_thread
def test_the_conversation_of_a_session_is_there_in_threads():
    with opened() as (supervisor, session):
        session.add_messages([{"role": "user", "content": "My name is Ada."}])
        transcript = session.transcript()
        label = session.label("begin")
        session.add_messages([{"role": "assistant", "content": "Hello."}])

        assert [message.role for message in session.messages()] == ["user", "assistant"]
        assert len(transcript.since(0)) == 1  # a copy
        assert session.labels() == [label]
        fork = session.fork("user-2")
        assert isinstance(fork, sync_host.Session)
        assert fork.rotate("Ada was here.").id != "user-2"
        assert supervisor.handle("user-2").info().state == "closed"


@leaves_no_thread
def test_the_rest_of_a_session_answers_in_threads():
    with opened(parking) as (_, session):
        run = session.submit("it")
        event_of(session, "run_waiting")
        handle = session.run(run.id)

        assert (handle.id, handle.session_id, handle.key) == (run.id, "user-1", None)
        assert run.status() is RunState.WAITING
        assert session.status().waiting == (run.id,)
        assert session.answer(run.id, "go", "yes")
        assert handle.wait().unwrap() == "yes"
        session.configure(tags={"tenant": "acme"})
        assert session.info().tags == {"tenant": "acme"}
        assert session.close()
        assert session.reopen()
