from __future__ import annotations

import datetime
import math
from functools import partial

import attrs
import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    BufferFull,
    InvalidArgument,
    KeyConflict,
    NewEvent,
    QueueFull,
    RecordTooLarge,
    RunCancelled,
    SessionBusy,
    SessionChanged,
    SessionClosed,
    StoreFailed,
    SupervisorLimits,
    UnknownRun,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.commands import Close, Reopen
from moorage.runtime.testing import VirtualClock, assert_history, wait_until
from moorage.stores import MemoryStore

NOT_PLAIN = [
    {1, 2},
    (1, 2),
    {1: "int key"},
    {b"k": 1},
    object(),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    2**64,
    -(2**63) - 1,
    "\ud800",
    {"deep": [{"er": {1}}]},
    bytearray(b"x"),
    type("Text", (str,), {})("x"),
    1j,
]


@pytest.fixture
async def supervisor(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        yield supervisor


@pytest.fixture
async def session(supervisor):
    return await supervisor.session("s")


# ---- submitting ----


@pytest.mark.parametrize("data", NOT_PLAIN, ids=lambda data: type(data).__name__)
async def test_data_that_is_not_plain_msgpack_is_refused_everywhere(autojump_clock, session, data):
    for ask in (
        session.submit(data),
        session.submit(1, metadata={"x": data}),
        session.append("note", data),
        session.append("note", 1, metadata={"x": data}),
        session.answer("run", "name", data),
        session.configure(metadata={"x": data}),
    ):
        with pytest.raises(InvalidArgument):
            await ask

    assert [event.type for event in await session.events()] == ["session_opened"]


async def test_plain_data_comes_back_as_it_went_in(autojump_clock):
    async def echo(request, context):
        return request.input

    data = {
        "": None,
        "bytes": b"\x00\xff",
        "ints": [0, -(2**63), 2**64 - 1],
        "floats": [1.5, -0.0, math.inf],
        "text": "né\u2028\x00",
        "nested": [[[{"a": []}]]],
        "flags": [True, False],
    }
    async with open_supervisor(MemoryStore(), echo) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(data)
        not_a_number = await session.execute(math.nan)

    assert outcome.output == data
    assert repr(outcome.output) == repr(data)
    assert math.isnan(not_a_number.output)


async def test_input_over_the_limit_is_refused_with_both_numbers(autojump_clock, sleeper):
    limits = SupervisorLimits(record_bytes_max=1024)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        for ask in (session.submit("x" * 2000), session.append("note", "x" * 2000)):
            with pytest.raises(RecordTooLarge) as refused:
                await ask
            assert refused.value.limit == 1024
            assert refused.value.size > 2000
        events = await session.events()

    assert len(events) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"key": ""},
        {"key": "a\nb"},
        {"key": "x" * 300},
        {"key": 5},
        {"agent": ""},
        {"agent": "nobody"},
        {"metadata": [1]},
        {"metadata": {"x": "y" * 20_000}},
        {"on_interrupt": "retry"},
        {"on_interrupt": ["fail"]},
        {"attempts_max": 0},
        {"attempts_max": 1.0},
        {"attempts_max": True},
        {"timeout_seconds": -1},
        {"timeout_seconds": math.nan},
        {"timeout_seconds": "5"},
        {"queue_seconds_max": -0.1},
        {"silence_seconds_max": False},
    ],
    ids=lambda options: str(options)[:40],
)
async def test_options_out_of_range_are_refused_and_leave_nothing(autojump_clock, session, options):
    with pytest.raises(InvalidArgument):
        await session.submit(1, **options)

    assert len(await session.events()) == 1


async def test_a_full_queue_says_how_many_and_how_many_at_most(autojump_clock, sleeper):
    limits = SupervisorLimits(runs_queued_max=3)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        running = await session.submit(10)
        await wait_until(lambda: sleeper.running)
        queued = [await session.submit(1, key=f"k{number}") for number in range(3)]
        with pytest.raises(QueueFull) as full:
            await session.submit(1)
        known = await session.submit(1, key="k1")
        await running.wait()
        await trio.sleep(0.5)
        later = await session.submit(1)
        await later.wait()

    assert (full.value.queued, full.value.limit, full.value.unit) == (3, 3, "runs")
    assert full.value.retryable
    assert known.id == queued[1].id


async def test_a_queue_is_bounded_in_bytes_too(autojump_clock):
    async def agent(request, context):
        await trio.sleep(10)

    limits = SupervisorLimits(queue_bytes_max=2_500)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        runs = [await session.submit("x" * 1000) for _ in range(2)]
        with pytest.raises(QueueFull) as full:
            await session.submit("x" * 1000)
        small = await session.submit("x")
        await runs[0].wait()
        later = await session.submit("x" * 1000)
        outcomes = [await run.wait() for run in (*runs, small, later)]

    assert full.value.unit == "bytes"
    assert (full.value.queued > 2000, full.value.limit) == (True, 2_500)
    assert {outcome.state for outcome in outcomes} == {"completed"}


async def test_a_full_inbox_refuses_and_the_worker_goes_on(autojump_clock, sleeper):
    limits = SupervisorLimits(inbox_commands_max=5)
    refused = []
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")

        async def submit():
            try:
                await session.submit(0)
            except BufferFull as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(submit)
        await session.wait_idle()
        info = await session.info()

    assert len(refused) + info.runs["completed"] == 20
    assert refused
    assert refused[0].limit == 5


async def test_a_key_names_one_run_before_and_after_its_end_and_a_restart(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(5, key="k")
        queued_again = await session.submit(5, key="k")
        await run.wait()
        ended_again = await session.submit(5, key="k")
        other = await session.submit(5, key="other")
        elsewhere = await (await supervisor.session("t")).submit(5, key="k")
        with pytest.raises(KeyConflict) as conflict:
            await session.submit(6, key="k")
        await session.wait_idle()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        restarted = await session.submit(5, key="k")
        with pytest.raises(KeyConflict):
            await session.submit(6, key="k")
        events = await session.events()

    assert run.id == queued_again.id == ended_again.id == restarted.id
    assert len({run.id, other.id, elsewhere.id}) == 3
    assert (conflict.value.key, conflict.value.run_id) == ("k", run.id)
    assert sum(event.type == "run_submitted" for event in events) == 2


async def test_many_submits_at_once_with_one_key_make_one_run(autojump_clock, session):
    ids = []

    async def submit():
        ids.append((await session.submit(1, key="k")).id)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(submit)

    assert len(ids) == 50
    assert len(set(ids)) == 1


async def test_a_number_that_does_not_equal_itself_is_no_key_conflict(autojump_clock, session):
    run = await session.submit([math.nan, {"x": 1.5}], key="k")
    again = await session.submit([math.nan, {"x": 1.5}], key="k")
    await run.wait()
    after_its_end = await session.submit([math.nan, {"x": 1.5}], key="k")

    assert run.id == again.id == after_its_end.id


async def test_a_submit_cancelled_before_it_was_handed_over_was_not_accepted(
    autojump_clock, session
):
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.submit(1)

    assert scope.cancelled_caught
    assert len(await session.events()) == 1


async def test_a_submit_cancelled_while_it_waits_or_is_written_was_accepted_or_was_not(
    autojump_clock, sleeper
):
    """Whatever the moment: it returns a run that exists, or is cancelled and none does."""
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        returned, cancelled = [], 0
        for steps in range(12):
            scope = trio.CancelScope()

            async def submit(scope=scope):
                with scope:
                    returned.append((await session.submit(0)).id)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(submit)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
            cancelled += scope.cancelled_caught
        await session.wait_idle()
        events = await session.events(limit=1000)

    accepted = [event.run_id for event in events if event.type == "run_submitted"]
    assert accepted == returned
    assert len(accepted) + cancelled == 12
    assert accepted
    assert cancelled


# ---- cancelling ----


async def test_a_cancelled_queued_run_never_reaches_the_agent(autojump_clock, session, sleeper):
    running, queued = await session.submit(10), await session.submit(1)

    cancelled = await queued.cancel(reason="changed my mind")
    again = await queued.cancel()
    outcome = await queued.wait()
    first = await running.wait()
    await trio.sleep(100)

    assert (cancelled, again) == (True, False)
    assert outcome.state == "cancelled"
    assert outcome.error.message == "changed my mind"
    assert (outcome.started_at_ns, outcome.attempt) == (None, 0)
    assert first.state == "completed"
    assert sleeper.started == [10]
    with pytest.raises(RunCancelled):
        outcome.unwrap()


async def test_a_cancelled_running_run_ends_and_the_next_one_starts(
    autojump_clock, session, sleeper
):
    running, queued = await session.submit(1000), await session.submit(1)
    await wait_until(lambda: sleeper.running)

    cancelled = await running.cancel()
    outcomes = [await running.wait(), await queued.wait()]
    again = await running.cancel()
    events = await session.events()

    assert (cancelled, again) == (True, False)
    assert [outcome.state for outcome in outcomes] == ["cancelled", "completed"]
    assert trio.current_time() < 2
    assert_history(events)


async def test_a_run_that_is_being_cancelled_can_be_cancelled_again(autojump_clock):
    async def slow_to_end(request, context):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async with open_supervisor(MemoryStore(), slow_to_end) as supervisor:
        session = await supervisor.session("s")
        run, queued = await session.submit(None), await session.submit(None)
        await trio.sleep(1)
        first = await run.cancel()
        second = await run.cancel()
        state = await run.status()
        status = await session.status()
        await queued.cancel()
        outcome = await run.wait()
        events = await session.events()

    assert (first, second, state) == (True, True, "cancelling")
    assert (status.running, status.cancelling, status.queued) == (
        (run.id,),
        (run.id,),
        (queued.id,),
    )
    assert outcome.state == "cancelled"
    assert sum(event.type == "run_cancel_requested" for event in events) == 1


async def test_an_agent_that_ignores_cancelling_is_reported_and_keeps_its_slot(autojump_clock):
    async def stubborn(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(100)
        return "done all the same"

    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(MemoryStore(), stubborn, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run, queued = await session.submit(None), await session.submit(None)
        await trio.sleep(1)
        await run.cancel()
        await trio.sleep(4)
        before = await session.status()
        await trio.sleep(2)
        after = await session.status()
        await queued.cancel()
        outcome = await run.wait()
        ended_at = trio.current_time()
        events = await session.events()

    assert (before.unresponsive, after.unresponsive) == ((), (run.id,))
    assert after.queued == (queued.id,)
    assert outcome.state == "cancelled"
    assert outcome.output is None
    assert ended_at == pytest.approx(100, abs=0.1)
    told = [event for event in events if event.type == "error_occurred"]
    assert [event.data["code"] for event in told] == ["agent_unresponsive"]
    assert told[0].run_id == run.id
    assert_history(events)


async def test_whatever_an_agent_does_when_it_is_cancelled_it_is_cancelled(autojump_clock):
    async def agent(request, context):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if request.input == "returns":
                return "done"
            if request.input == "raises":
                raise RuntimeError("no") from None
            if request.input == "parks":
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await context.park("x")
            raise

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        states = []
        for input in ("returns", "raises", "parks", "ends"):
            run = await session.submit(input)
            await trio.sleep(1)
            await run.cancel()
            states.append((await run.wait()).state)

    assert states == ["cancelled"] * 4


async def test_a_waiting_run_is_cancelled_without_an_agent(autojump_clock):
    calls = []

    async def agent(request, context):
        calls.append(request.run_id)
        await context.park("question")

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(1)
        cancelled = await run.cancel()
        outcome = await run.wait()
        late = await session.answer(run.id, "question", 1)

    assert (cancelled, late, outcome.state, len(calls)) == (True, False, "cancelled", 1)


async def test_a_finished_run_cannot_be_cancelled_and_an_unknown_one_is_unknown(
    autojump_clock, session
):
    run = await session.submit(0)
    await run.wait()

    assert await run.cancel() is False
    assert await session.cancel(run.id, reason="too late") is False
    assert await session.answer(run.id, "name", 1) is False
    unknown = session.run("run_unknown")
    for ask in (
        session.cancel("run_unknown"),
        session.answer("run_unknown", "name", 1),
        session.wait("run_unknown"),
        unknown.wait(),
        unknown.status(),
    ):
        with pytest.raises(UnknownRun):
            await ask
    for bad in ("", "a\nb", 5):
        with pytest.raises(InvalidArgument):
            await session.cancel(bad)
        with pytest.raises(InvalidArgument):
            session.run(bad)
    with pytest.raises(InvalidArgument):
        await session.cancel(run.id, reason=5)


@pytest.mark.promise(6)
async def test_a_run_is_cancelled_whatever_text_is_given_as_the_reason(autojump_clock, session):
    texts = {"line one\nline two": "line one\nline two", "": "cancelled", "\ud800\x00": "?\x00"}
    await session.pause()
    told = {}
    for reason in texts:
        run = await session.submit(1)
        assert await run.cancel(reason=reason) is True
        told[reason] = (await run.wait()).error.message
    await session.close(reason="all\ndone")
    info = await session.info()

    assert told == texts
    assert info.reason == "all\ndone"


async def test_a_run_of_another_session_is_unknown(autojump_clock, supervisor, session):
    run = await session.submit(5)
    other = await supervisor.session("other")

    with pytest.raises(UnknownRun):
        await other.cancel(run.id)
    with pytest.raises(UnknownRun):
        await other.wait(run.id)


# ---- the session ----


async def test_a_paused_session_admits_and_starts_nothing(autojump_clock, session, sleeper):
    running = await session.submit(5)
    await wait_until(lambda: sleeper.running)

    paused = await session.pause(), await session.pause()
    queued = await session.submit(1)
    first = await running.wait()
    await trio.sleep(100)
    status = await session.status()
    resumed = await session.resume(), await session.resume()
    outcome = await queued.wait()

    assert (paused, resumed) == ((True, False), (True, False))
    assert first.state == "completed"
    assert (status.state, status.queued) == ("paused", (queued.id,))
    assert outcome.state == "completed"


async def test_a_closed_session_can_be_read_and_takes_nothing_until_it_is_reopened(
    autojump_clock, supervisor, session
):
    run = await session.submit(0, key="k")
    await run.wait()

    closed = await session.close(outcome="failed", reason="given up"), await session.close()
    known = await session.submit(0, key="k")
    for ask in (
        session.submit(1),
        session.submit(1, key="new"),
        session.append("note", {}),
        session.pause(),
        session.resume(),
    ):
        with pytest.raises(SessionClosed):
            await ask
    info = await session.info()
    status = await session.status()
    again = await supervisor.session("s", mode="resume")
    reopened = await again.reopen(), await again.reopen()
    outcome = await session.execute(1)

    assert (closed, reopened) == ((True, False), (True, False))
    assert known.id == run.id
    assert (info.state, info.outcome, info.reason) == ("closed", "failed", "given up")
    assert status.state == "closed"
    assert outcome.state == "completed"
    assert (await session.info()).outcome is None


async def test_closing_with_work_left_needs_force_and_then_waits_for_its_end(
    autojump_clock, session, sleeper
):
    running, queued = await session.submit(1000), await session.submit(1)
    await wait_until(lambda: sleeper.running)

    with pytest.raises(SessionBusy) as busy:
        await session.close()
    closed = await session.close(force=True, outcome="cancelled")
    info = await session.info()
    outcomes = [await running.wait(), await queued.wait()]
    events = await session.events()

    assert (busy.value.running, busy.value.queued, busy.value.waiting) == (1, 1, 0)
    assert closed is True
    assert (info.state, info.outcome) == ("closed", "cancelled")
    assert [outcome.state for outcome in outcomes] == ["cancelled", "cancelled"]
    assert events[-1].type == "session_closed"
    assert_history(events)


async def test_a_close_by_force_goes_on_when_the_worker_is_rebuilt_meanwhile(
    autojump_clock, failing_store
):
    async def agent(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("stubborn")
        await trio.sleep(0.5)
        closed = []

        async def close():
            closed.append(await session.close(force=True, outcome="failed"))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(close)
                await trio.sleep(0.5)
                failing_store.crash()
                with pytest.raises(StoreFailed):
                    await session.append("message_received", {})
        info, outcome = await session.info(), await run.wait()

    assert closed == [True]
    assert (info.state, info.outcome) == ("closed", "failed")
    assert outcome.state == "cancelled"


class ReopenedAtOnce(MemoryStore):
    """Somebody reopens each session before who closed it hears of that."""

    async def hand_over(self, session_id, command):
        answer = await super().hand_over(session_id, command)
        if isinstance(command, Close):
            await super().hand_over(session_id, Reopen())
        return answer


async def test_a_close_that_is_undone_at_once_has_taken_place_all_the_same(autojump_clock, sleeper):
    async with open_supervisor(ReopenedAtOnce(), sleeper) as supervisor:
        session = await supervisor.session("s")
        with trio.fail_after(60):
            closed = await session.close()
        state = (await session.info()).state

    assert closed is True
    assert state == "open"


async def test_while_a_close_by_force_is_under_way_nothing_is_accepted(autojump_clock):
    async def slow_to_end(request, context):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async with open_supervisor(MemoryStore(), slow_to_end) as supervisor:
        session = await supervisor.session("s")
        await session.submit(None)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: session.close(force=True))
            await trio.sleep(1)
            with pytest.raises(SessionClosed):
                await session.submit(None)
        info = await session.info()

    assert info.state == "closed"


async def test_a_close_by_force_goes_on_when_the_worker_crashes_in_between(
    autojump_clock, failing_store
):
    async def slow_to_end(request, context):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async with open_supervisor(failing_store, slow_to_end) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(1)

        async def crash():
            await trio.sleep(1)
            failing_store.lose_answer(written=False)
            with pytest.raises(StoreFailed):
                await session.configure(summary="crash")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            with trio.fail_after(60):
                await session.close(force=True, outcome="failed")
        info = await session.info()
        outcome = await run.wait()

    assert (info.state, info.outcome) == ("closed", "failed")
    assert outcome.state == "cancelled"


@pytest.mark.parametrize("options", [{"outcome": "done"}, {"reason": 5}, {"reason": "x" * 5000}])
async def test_closing_with_bad_arguments_is_refused(autojump_clock, session, options):
    with pytest.raises(InvalidArgument):
        await session.close(**options)

    assert (await session.info()).state == "open"


async def test_the_host_records_events_outside_any_run(autojump_clock, session):
    event = await session.append("message_received", {"text": "hi"}, metadata={"from": "web"})
    (stored,) = await session.events(after=1)
    for type in ("run_completed", "session_closed", "", "a\nb", 5):
        with pytest.raises(InvalidArgument):
            await session.append(type, {})

    assert event == stored
    assert (event.seq, event.run_id, event.metadata) == (2, None, {"from": "web"})


async def test_configure_changes_what_is_given_and_nothing_else(autojump_clock, session):
    await session.configure(tags={"a": "1"}, metadata={"m": 1})
    await session.configure(summary="A summary", slots=5)
    await session.configure()
    info = await session.info()
    events = await session.events()

    assert (info.tags, info.metadata, info.summary, info.slots) == (
        {"a": "1"},
        {"m": 1},
        "A summary",
        5,
    )
    assert len(events) == 3


async def test_a_drain_of_one_session_leaves_the_others_alone(
    autojump_clock, supervisor, session, sleeper
):
    other = await supervisor.session("other")
    finishing, queued = await session.submit(5), await session.submit(1)
    elsewhere = await other.submit(50)
    await wait_until(lambda: sleeper.running == 2)

    report = await session.drain(timeout_seconds=20)
    with pytest.raises(AdmissionClosed):
        await session.submit(1)
    status = await session.status()
    resumed = await session.resume()
    outcomes = [await run.wait() for run in (queued, elsewhere)]

    assert (report.completed, report.queued) == ((finishing.id,), (queued.id,))
    assert (status.draining, resumed) == (True, True)
    assert [outcome.state for outcome in outcomes] == ["completed", "completed"]


@pytest.mark.promise(13)
async def test_a_drain_without_end_waits_for_as_long_as_it_takes(autojump_clock, session):
    run = await session.submit(10_000)

    report = await session.drain(timeout_seconds=math.inf)

    assert report.completed == (run.id,)
    assert trio.current_time() >= 10_000


async def test_an_idle_session_drains_at_once(autojump_clock, session):
    report = await session.drain(timeout_seconds=1000)

    assert attrs.astuple(report) == ((), (), (), (), ())
    assert trio.current_time() < 1


async def test_two_drains_at_once_both_get_their_report(autojump_clock, session, sleeper):
    run = await session.submit(1000)
    await wait_until(lambda: sleeper.running)
    reports = []

    async def drain(seconds):
        reports.append((seconds, await session.drain(timeout_seconds=seconds)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, 5)
        nursery.start_soon(drain, 50)

    assert {report.interrupted for _, report in reports} == {(run.id,)}
    assert trio.current_time() < 10


async def test_execute_submits_and_waits_and_its_wait_may_end_early(autojump_clock, session):
    outcome = await session.execute(1, key="k")
    with pytest.raises(trio.TooSlowError):
        await session.execute(100, key="slow", wait_seconds=5)
    run = await session.submit(100, key="slow")
    state = await run.status()
    late = await run.wait()

    assert (outcome.state, state, late.state) == ("completed", "running", "completed")


async def test_a_wait_that_cannot_be_leaves_no_run_behind(autojump_clock, session):
    with pytest.raises(InvalidArgument, match="wait_seconds"):
        await session.execute(1, wait_seconds=-1)

    assert len(await session.events()) == 1


async def test_a_run_s_status_follows_its_life(autojump_clock):
    async def agent(request, context):
        await context.park("x")
        await trio.sleep(10)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit(None, key="k")
        states = [await run.status()]
        await session.resume()
        await trio.sleep(1)
        states.append(await run.status())
        await session.answer(run.id, "x", 1)
        await trio.sleep(1)
        states.append(await run.status())
        await run.wait()
        states.append(await run.status())

    assert states == ["queued", "waiting", "running", "completed"]
    assert (run.key, run.session_id) == ("k", "s")
    assert "k" not in repr(run) or run.id in repr(run)


@pytest.mark.parametrize("before", [0, -1, 1.5, "1", 100])
async def test_trimming_outside_the_log_is_refused(autojump_clock, session, before):
    with pytest.raises(InvalidArgument):
        await session.trim(before=before)


async def test_handles_of_a_session_that_is_not_there_say_so(autojump_clock, supervisor, session):
    await supervisor.delete_session("s")

    with pytest.raises(UnknownSession):
        await session.trim(before=1)
    with pytest.raises(UnknownSession):
        await session.reopen()
    with pytest.raises(UnknownSession):
        await session.configure(slots=2)


# ---- limits of time ----


async def test_a_run_that_waits_too_long_in_the_queue_times_out_unseen(
    autojump_clock, session, sleeper
):
    await session.submit(100)
    run = await session.submit(1, queue_seconds_max=10)
    outcome = await run.wait()

    assert trio.current_time() == pytest.approx(10, abs=0.1)
    assert (outcome.state, outcome.error.code) == ("timed_out", "queue_timeout")
    assert sleeper.started == [100]


async def test_a_run_that_started_in_time_is_not_ended_by_its_queue_limit(autojump_clock, session):
    outcome = await session.execute(50, queue_seconds_max=10)

    assert outcome.state == "completed"


async def test_the_rest_of_a_queue_limit_survives_a_restart_and_a_clock_set_back(
    autojump_clock, sleeper
):
    clock = VirtualClock(autojump_clock)
    store = MemoryStore()
    async with open_supervisor(store, sleeper, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit(1, queue_seconds_max=100)
        await trio.sleep(60)
    async with open_supervisor(store, sleeper, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        begun = trio.current_time()
        outcome = await session.wait(run.id)
        waited = trio.current_time() - begun

        back = await session.submit(1, queue_seconds_max=100)
    clock.set_wall_back(3600)
    async with open_supervisor(store, sleeper, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        begun = trio.current_time()
        set_back = await session.wait(back.id)
        waited_again = trio.current_time() - begun
        events = await session.events()

    assert (outcome.state, set_back.state) == ("timed_out", "timed_out")
    assert waited == pytest.approx(40, abs=1)
    assert waited_again <= 101
    times = [event.time_ns for event in events]
    assert times == sorted(times)


async def test_a_wall_clock_that_goes_backwards_moves_no_timer(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    async with open_supervisor(MemoryStore(), sleeper, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1000, timeout_seconds=50)
        await trio.sleep(10)
        clock.set_wall_back(7200)
        outcome = await run.wait()
        ended_at = trio.current_time()
        after = await session.execute(1, queue_seconds_max=5)

    assert outcome.state == "timed_out"
    assert ended_at == pytest.approx(50, abs=0.1)
    assert outcome.ended_at_ns >= outcome.started_at_ns >= outcome.submitted_at_ns
    assert after.state == "completed"


# ---- interruption ----


async def test_requeued_runs_go_to_the_front_and_end_after_their_last_attempt(
    autojump_clock, sleeper
):
    store = MemoryStore()
    limits = SupervisorLimits(drain_seconds=1)
    for number in range(4):
        async with open_supervisor(store, sleeper, limits=limits) as supervisor:
            session = await supervisor.session("s")
            if number == 0:
                again = await session.submit(
                    1000, on_interrupt="requeue", attempts_max=3, timeout_seconds=3000
                )
                queued = await session.submit(1)
            await trio.sleep(1)
            status = await session.status()
            if number < 3:
                assert status.running == (again.id,)
                assert status.queued == (queued.id,)
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcomes = [await session.wait(run.id) for run in (again, queued)]
        events = await session.events()

    assert [request.attempt for request in sleeper.requests if request.input == 1000] == [1, 2, 3]
    assert (outcomes[0].state, outcomes[0].attempt) == ("interrupted", 3)
    assert outcomes[1].state == "completed"
    assert_history(events)


async def test_a_parked_run_waits_over_a_restart_without_a_slot_and_comes_back_in_front(
    autojump_clock,
):
    calls = []

    async def agent(request, context):
        calls.append((request.input, request.attempt))
        if request.input == "asks":
            return await context.park("question", {"text": "?"})
        await trio.sleep(10)
        return None

    store = MemoryStore()
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("asks", timeout_seconds=60)
        await trio.sleep(1)
    await trio.sleep(10_000)
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("s")
        running, queued = await session.submit("first"), await session.submit("second")
        await trio.sleep(1)
        status = await session.status()
        await session.answer(run.id, "question", {"text": "!"})
        queue = (await session.status()).queued
        outcome = await session.wait(run.id)
        await session.wait_idle()
        events = await session.events()

    assert (status.running, status.waiting) == ((running.id,), (run.id,))
    assert queue == (run.id, queued.id)
    assert outcome.output == {"text": "!"}
    assert calls == [("asks", 1), ("first", 1), ("asks", 1), ("second", 1)]
    assert_history(events)


async def test_wait_idle_waits_for_queued_and_running_but_not_for_parked_runs(autojump_clock):
    async def agent(request, context):
        if request.input == "park":
            await context.park("x")
        await trio.sleep(5)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        await session.submit("park")
        for _ in range(3):
            await session.submit("work")
        with pytest.raises(trio.TooSlowError):
            await session.wait_idle(timeout_seconds=4)
        await session.wait_idle(timeout_seconds=100)
        idle_at = trio.current_time()
        await session.wait_idle()

    assert idle_at == pytest.approx(15, abs=0.1)


# ---- approvals, appending many, single entries of the metadata ----


async def asker(request, context):
    return await context.park("approval:call_1")


async def test_a_tool_call_is_approved_or_denied_once(autojump_clock):
    async with open_supervisor(MemoryStore(), asker) as supervisor:
        session = await supervisor.session("s", slots=2)
        yes, no = await session.submit(1), await session.submit(2)
        await trio.sleep(1)
        met = [
            await session.approve(f"{yes.id}:call_1", by="ada", tool_input={"x": 1}),
            await session.deny(f"{yes.id}:call_1"),
            await session.deny(f"{no.id}:call_1", reason="too dangerous"),
        ]
        with pytest.raises(InvalidArgument, match="request id"):
            await session.approve(yes.id)
        with pytest.raises(UnknownRun):
            await session.approve("run_none:call_1")
        outputs = [(await run.wait()).output for run in (yes, no)]
        late = await session.approve(f"{no.id}:call_1")

    assert met == [True, False, True]
    assert late is False
    assert outputs == [
        {"approved": True, "by": "ada", "tool_input": {"x": 1}},
        {"approved": False, "reason": "too dangerous"},
    ]


async def test_several_events_are_appended_together_or_not_at_all(autojump_clock, session):
    events = [NewEvent("note", {"n": n}, {"from": "me"}) for n in range(3)]

    appended = await session.append_many(events)
    nothing = await session.append_many([])
    for bad in (NewEvent("note", object()), NewEvent("run_started", {})):
        with pytest.raises(InvalidArgument):
            await session.append_many([*events, bad])

    assert [event.seq for event in appended] == [2, 3, 4]
    assert nothing == []
    assert await session.events(after=1) == appended


async def test_of_two_who_append_behind_the_same_head_one_is_refused(autojump_clock, session):
    refused = []

    async def append(name):
        try:
            await session.append_many([NewEvent("note", name)], expected_seq=1)
        except SessionChanged as error:
            refused.append((name, error.head_seq))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, "a")
        nursery.start_soon(append, "b")
    with pytest.raises(InvalidArgument, match="expected_seq"):
        await session.append_many([NewEvent("note", "c")], expected_seq=-1)

    (noted,) = await session.events(types={"note"})
    assert refused == [({"a": "b", "b": "a"}[noted.data], 2)]


async def test_events_that_are_too_large_together_are_refused(autojump_clock, sleeper):
    limits = SupervisorLimits(record_bytes_max=1_024, emit_ahead_bytes_max=1_024)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(RecordTooLarge, match="3 events together"):
            await session.append_many([NewEvent("note", "x" * 500)] * 3)

        assert (await session.info()).head_seq == 1


async def test_metadata_entries_of_many_writers_do_not_overwrite_each_other(
    autojump_clock, session
):
    await session.configure(metadata={"gone": 1})

    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(partial(session.configure, metadata_update={f"k{n}": n}))
    await session.configure(metadata_update={"gone": None, "never there": None})

    assert (await session.info()).metadata == {f"k{n}": n for n in range(10)}


async def test_metadata_does_not_grow_beyond_its_limit_in_steps(autojump_clock, session):
    await session.configure(metadata_update={"a": "x" * 10_000})

    with pytest.raises(RecordTooLarge):
        await session.configure(metadata_update={"b": "x" * 10_000})

    assert list((await session.info()).metadata) == ["a"]
