from __future__ import annotations

import math

import pytest
import structlog
import trio
from moorage.runtime import (
    BufferFull,
    InvalidArgument,
    RecordTooLarge,
    RunEnded,
    RunFailed,
    StoreFailed,
    SupervisorLimits,
    open_supervisor,
)
from moorage.runtime.testing import VirtualClock, assert_history
from moorage.stores import MemoryStore


async def execute(agent, input=None, *, limits=None, **options):
    """One run's outcome and all events of its session."""
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(input, **options)
        events = await session.events(limit=10_000)
    assert_history(events)
    return outcome, events


async def refusal_of(do, **kwargs):
    """What ``do(context)`` raised inside an agent."""
    caught = []

    async def agent(request, context):
        try:
            await do(context)
        except Exception as error:
            caught.append(error)

    await execute(agent, **kwargs)
    return caught[0] if caught else None


class CodedError(Exception):
    def __init__(self, message, **facts):
        super().__init__(message)
        self.__dict__.update(facts)


async def test_an_agent_that_raises_fails_its_run_and_the_next_one_starts(autojump_clock):
    async def agent(request, context):
        if request.input == "bad":
            raise RuntimeError("boom")
        return request.input

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        bad, good = await session.submit("bad"), await session.submit("good")
        outcomes = await bad.wait(), await good.wait()

    assert [outcome.state for outcome in outcomes] == ["failed", "completed"]
    error = outcomes[0].error
    assert (error.code, error.message, error.type, error.retryable) == (
        "agent_failed",
        "boom",
        "RuntimeError",
        False,
    )
    with pytest.raises(RunFailed, match="boom"):
        outcomes[0].unwrap()


@pytest.mark.parametrize(
    ("error", "code", "type"),
    [
        (SystemExit(3), "agent_exited", "SystemExit"),
        (SystemExit("out of luck"), "agent_exited", "SystemExit"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "agent_failed", "ExceptionGroup"),
        (BaseExceptionGroup("exit", [SystemExit(1)]), "agent_failed", "BaseExceptionGroup"),
        (GeneratorExit("odd"), "agent_failed", "GeneratorExit"),
        (type("Odd", (BaseException,), {})("odd"), "agent_failed", "Odd"),
        (CodedError("x", code="rate_limited"), "rate_limited", "CodedError"),
        (CodedError("x", code="\ud800 odd"), "? odd", "CodedError"),
        (CodedError("x", code=429), "agent_failed", "CodedError"),
        (trio.TooSlowError(), "agent_failed", "TooSlowError"),
    ],
)
async def test_whatever_an_agent_raises_is_a_failed_run(autojump_clock, error, code, type):
    async def agent(request, context):
        raise error

    outcome, _ = await execute(agent)

    assert outcome.state == "failed"
    assert (outcome.error.code, outcome.error.type) == (code, type)


async def test_an_exception_s_facts_are_kept_where_they_can_be(autojump_clock):
    async def agent(request, context):
        raise CodedError(
            "x" * 100_000 + "\ud800", code="c" * 10_000, retryable=True, details=request.input
        )

    outcome, _ = await execute(agent, {"after": [1, 2.5, None]})
    too_large, _ = await execute(agent, "x" * 100_000)

    assert outcome.error.retryable is True
    assert outcome.error.details == {"after": [1, 2.5, None]}
    assert len(outcome.error.message) <= 4096
    assert len(outcome.error.code) <= 256
    assert too_large.error.details is None


async def test_an_exception_that_cannot_be_looked_at_fails_its_run(autojump_clock):
    class Hostile(Exception):
        @property
        def code(self):
            raise ValueError("no code for you")

        def __str__(self):
            raise ValueError("no text for you")

    async def agent(request, context):
        raise Hostile

    outcome, events = await execute(agent)

    assert outcome.state == "failed"
    assert outcome.error.type.endswith("Hostile")
    assert [event.type for event in events][-2:] == ["run_started", "run_failed"]


async def test_a_keyboard_interrupt_in_an_agent_ends_the_program_bare(autojump_clock):
    async def agent(request, context):
        raise KeyboardInterrupt

    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("s")
            await session.execute(None)


@pytest.mark.parametrize(
    "output", [{1, 2}, (1, 2), {1: 2}, object(), 2**64, "\ud800", math, {"deep": {"set": {1}}}]
)
async def test_an_output_that_cannot_be_kept_fails_the_run(autojump_clock, output):
    async def agent(request, context):
        return output

    outcome, _ = await execute(agent)

    assert outcome.state == "failed"
    assert outcome.error.code == "output_invalid"


async def test_an_output_that_is_too_large_fails_the_run(autojump_clock):
    async def agent(request, context):
        return "x" * 2000

    outcome, _ = await execute(agent, limits=SupervisorLimits(record_bytes_max=1024))

    assert outcome.error.code == "output_invalid"
    assert "record_bytes_max" in outcome.error.message


@pytest.mark.parametrize(
    ("type", "data", "options"),
    [
        ("note", {1, 2}, {}),
        ("note", object(), {}),
        ("note", {3: 4}, {}),
        ("note", "\ud800", {}),
        ("run_completed", {}, {}),
        ("session_closed", {}, {}),
        ("", {}, {}),
        ("line\nbreak", {}, {}),
        ("x" * 300, {}, {}),
        (5, {}, {}),
        (["note"], {}, {}),
        ("note", {}, {"time_ns": -1}),
        ("note", {}, {"time_ns": 1.5}),
        ("note", {}, {"time_ns": 2**80}),
        ("note", {}, {"metadata": {1: 2}}),
        ("note", {}, {"metadata": ["no map"]}),
    ],
)
async def test_an_event_that_cannot_be_kept_is_refused(autojump_clock, type, data, options):
    async def emit(context):
        await context.emit(type, data, **options)

    assert isinstance(await refusal_of(emit), InvalidArgument)


async def test_an_event_that_is_too_large_is_refused_with_both_numbers(autojump_clock):
    async def emit(context):
        await context.emit("note", "x" * 2000)

    error = await refusal_of(emit, limits=SupervisorLimits(record_bytes_max=1024))

    assert isinstance(error, RecordTooLarge)
    assert (error.limit, error.size > 2000) == (1024, True)


async def test_events_come_in_order_with_their_time_metadata_and_nan(autojump_clock):
    async def agent(request, context):
        await context.emit("one", {"x": math.nan}, time_ns=5, metadata={"parent": "p"})
        context.emit_nowait("two", b"\x00")
        await context.emit("three", None)
        return math.nan

    outcome, events = await execute(agent)

    one, two, three = events[3:6]
    assert [event.type for event in (one, two, three)] == ["one", "two", "three"]
    assert math.isnan(one.data["x"])
    assert (one.time_ns, one.metadata, one.run_id) == (5, {"parent": "p"}, outcome.run_id)
    assert (two.data, three.data) == (b"\x00", None)
    assert math.isnan(outcome.output)


async def test_what_the_agent_changes_later_does_not_change_what_it_emitted(autojump_clock):
    async def agent(request, context):
        data = {"list": [1]}
        await context.emit("note", data)
        data["list"].append(2)
        request.input["changed"] = True
        return data

    input = {"changed": False}
    outcome, events = await execute(agent, input)

    assert events[1].data["input"] == {"changed": False} == input
    assert events[3].data == {"list": [1]}
    assert outcome.output == {"list": [1, 2]}


async def test_after_the_run_s_end_its_context_raises_and_appends_nothing(autojump_clock):
    contexts = []

    async def agent(request, context):
        contexts.append(context)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        await session.execute(None)
        before = await session.events()
        (context,) = contexts
        with pytest.raises(RunEnded):
            await context.emit("late", {})
        with pytest.raises(RunEnded):
            context.emit_nowait("late", {})
        with pytest.raises(RunEnded):
            await context.flush()
        with pytest.raises(RunEnded):
            await context.park("late")
        await session.execute(None)
        after = await session.events()

    assert after[: len(before)] == before
    assert "late" not in [event.type for event in after]


async def test_emit_nowait_raises_at_the_limit_and_the_agent_may_go_on(autojump_clock):
    refusals = []

    async def agent(request, context):
        accepted = 0
        for _ in range(1_000_000):
            try:
                context.emit_nowait("message_streamed", {"delta": "x" * 100})
            except BufferFull as error:
                refusals.append(error)
                break
            accepted += 1
        await context.flush()
        context.emit_nowait("message_streamed", {})
        return accepted

    limits = SupervisorLimits(emit_ahead_bytes_max=10_000)
    outcome, events = await execute(agent, limits=limits)

    assert 50 < outcome.output < 101
    assert refusals[0].limit == 10_000
    assert refusals[0].used > 10_000
    assert sum(event.type == "message_streamed" for event in events) == outcome.output + 1


async def test_a_loop_of_emits_waits_for_the_log_and_lets_other_sessions_in(autojump_clock):
    ahead = []

    async def agent(request, context):
        if request.input == "quick":
            return trio.current_time()
        for number in range(20_000):
            await context.emit("message_streamed", {"delta": "x" * 50, "number": number})
            ahead.append(context.out_bytes)
        return "done"

    limits = SupervisorLimits(emit_ahead_bytes_max=20_000)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        noisy = await supervisor.session("noisy")
        quiet = await supervisor.session("quiet")
        run = await noisy.submit("noise")
        answered = []
        for _ in range(20):
            await quiet.execute("quick")
            answered.append(len(ahead))
        outcome = await run.wait()
        head_seq = (await noisy.info()).head_seq

    assert outcome.output == "done"
    assert answered[-1] < 20_000
    assert max(ahead) < 20_000 + 200
    assert head_seq == 20_000 + 4


async def test_flush_returns_when_everything_before_it_is_durable(autojump_clock):
    store = MemoryStore()
    heads = []

    async def agent(request, context):
        for _ in range(10):
            await context.emit("note", {})
        await context.flush()
        heads.append((await store.info("s")).head_seq)

    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("s")
        await session.execute(None)

    assert heads == [13]


async def test_usage_adds_up_and_stays_bounded(autojump_clock):
    async def agent(request, context):
        await context.emit("token_usage_updated", {"input_tokens": 3, "model": "a"})
        await context.emit("token_usage_updated", {"input_tokens": 4, "output_tokens": 1.5})
        await context.emit("token_usage_updated", "no map")
        if request.input == "too much":
            await context.emit("token_usage_updated", {"input_tokens": 2**64 - 1})

    outcome, _ = await execute(agent)
    overflown, _ = await execute(agent, "too much")

    assert outcome.usage == {"input_tokens": 7, "model": "a", "output_tokens": 1.5}
    assert overflown.state == "completed"


async def test_an_agent_that_parks_gives_its_slot_away_and_is_called_again(autojump_clock):
    calls = []

    async def agent(request, context):
        calls.append((request.input, dict(request.answers), request.attempt))
        if request.input == "asks":
            name = await context.park("name", {"question": "who?"})
            age = await context.park("age")
            return [name, age]
        return "other"

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("asks")
        other = await session.execute("other")
        first = await run.status()
        wrong = await session.answer(run.id, "age", 0)
        answered = await session.answer(run.id, "name", "Ada")
        again = await session.answer(run.id, "name", "Bob")
        await trio.sleep(1)
        await session.answer(run.id, "age", 36)
        outcome = await run.wait()
        late = await session.answer(run.id, "age", 37)
        events = await session.events()

    assert other.output == "other"
    assert first == "waiting"
    assert (wrong, answered, again, late) == (False, True, False, False)
    assert outcome.output == ["Ada", 36]
    assert outcome.attempt == 1
    assert calls == [
        ("asks", {}, 1),
        ("other", {}, 1),
        ("asks", {"name": "Ada"}, 1),
        ("asks", {"name": "Ada", "age": 36}, 1),
    ]
    waiting = [event for event in events if event.type == "run_waiting"]
    assert waiting[0].data["data"] == {"question": "who?"}
    assert_history(events)


async def test_the_time_that_ran_before_parking_counts_and_the_time_parked_does_not(
    autojump_clock,
):
    clock = VirtualClock(autojump_clock)

    async def agent(request, context):
        await trio.sleep(6)
        if "go" not in request.answers:
            await context.park("go")
        return "in time"

    async with open_supervisor(MemoryStore(), agent, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        outcomes = []
        for limit in (10, 14):
            run = await session.submit(None, timeout_seconds=limit)
            await trio.sleep(1000)
            assert await run.status() == "waiting"
            await session.answer(run.id, "go", None)
            outcomes.append(await run.wait())

    assert [outcome.state for outcome in outcomes] == ["timed_out", "completed"]


async def test_a_silent_agent_times_out_and_one_that_speaks_does_not(autojump_clock):
    async def agent(request, context):
        for _ in range(10):
            await trio.sleep(request.input)
            await context.emit("message_streamed", {})

    silent, _ = await execute(agent, 20, silence_seconds_max=15)
    speaking, _ = await execute(agent, 10, silence_seconds_max=15)

    assert silent.state == "timed_out"
    assert silent.error.code == "silence_timeout"
    assert speaking.state == "completed"


async def test_an_agent_that_returns_in_spite_of_a_timeout_has_timed_out(autojump_clock):
    async def agent(request, context):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "too late"

    outcome, _ = await execute(agent, timeout_seconds=5)

    assert outcome.state == "timed_out"
    assert outcome.output is None


async def test_the_context_tells_the_agent_what_it_works_on(autojump_clock):
    seen = []

    async def agent(request, context):
        seen.append(
            (request, context.session_id, context.run_id, context.attempt, context.metadata)
        )

    outcome, _ = await execute(agent, {"x": 1}, key="k", metadata={"trace": "t"})

    request, *facts = seen[0]
    assert facts == ["s", outcome.run_id, 1, {"trace": "t"}]
    assert (request.input, request.key, request.session_id) == ({"x": 1}, "k", "s")
    assert (request.submitted_at_ns, request.agent) == (outcome.submitted_at_ns, None)


async def test_flush_does_not_return_for_events_that_were_lost(autojump_clock, failing_store):
    flushed = []

    async def agent(request, context):
        await context.emit("note", "lost")
        try:
            await context.flush()
        except BaseException as error:
            flushed.append(type(error))
            raise
        flushed.append("durable")
        await trio.sleep_forever()

    failing_store.only = lambda records: records[0].type == "note"
    failing_store.lose_answer(written=False)
    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(None)

    assert flushed == [RunEnded]
    assert outcome.state == "interrupted"


async def test_flush_waits_for_what_was_emitted_before_and_not_for_what_comes_later(
    autojump_clock,
):
    class SlowStore(MemoryStore):
        async def append(self, claim, **options):
            await trio.sleep(0.05)
            await super().append(claim, **options)

    waited = []

    async def agent(request, context):
        async def go_on():
            while True:
                await context.emit("note", 1)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            await trio.sleep(1)
            await context.emit("important", 1)
            began = trio.current_time()
            with trio.move_on_after(20):
                await context.flush()
            waited.append(trio.current_time() - began)
            nursery.cancel_scope.cancel()

    async with open_supervisor(SlowStore(), agent) as supervisor:
        outcome = await (await supervisor.session("s")).execute(None)

    assert outcome.state == "completed"
    assert waited[0] < 0.5


@pytest.mark.promise(14)
async def test_an_agent_whose_cleanup_fails_while_the_store_is_poisoned_harms_nobody(
    autojump_clock, failing_store
):
    async def fail_when_cancelled():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup failed")

    async def agent(request, context):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await session.submit(None)
        await trio.sleep(1)
        failing_store.fail_sync()
        with pytest.raises(StoreFailed):
            await other.append("note", {})
        await trio.sleep(10)
        events = await session.events()

    assert [event.type for event in events][-1] == "run_started"


async def test_where_an_agent_raised_is_logged_unless_it_says_itself_what_failed(autojump_clock):
    async def agent(request, context):
        raise KeyError("nope") if request.input == "defect" else CodedError("told", code="told")

    with structlog.testing.capture_logs() as logs:
        for input in ("defect", "told"):
            outcome, _ = await execute(agent, input)
            assert outcome.state == "failed"

    (log,) = [log for log in logs if log["event"] == "agent_raised"]
    assert "in agent" in log["traceback"]
    assert "KeyError: 'nope'" in log["traceback"]


# ---- asking in the slot ----


async def answering(agent, *answers, clock_seconds=0.0, **options):
    """One run's outcome, what each answer was met with, and the events, on virtual time."""
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None, **options)
        met = []
        for name, value in answers:
            await trio.sleep(1)
            met.append(await session.answer(run.id, name, value))
        outcome = await run.wait()
        events = await session.events()
    assert_history(events)
    return outcome, met, events


async def test_an_agent_gets_the_answer_to_what_it_asks_without_leaving_its_slot(autojump_clock):
    async def agent(request, context):
        await context.emit("turn_completed", {})
        first = await context.ask("colour", {"choices": ["red", "blue"]})
        again = await context.ask("colour")
        return [first, again, request.attempt]

    outcome, met, events = await answering(agent, ("size", 1), ("colour", "red"), ("colour", "b"))

    assert outcome.output == ["red", "red", 1]
    assert met == [False, True, False]
    types = [event.type for event in events if event.run_id is not None]
    assert types[2:5] == ["turn_completed", "run_asked", "run_answered"]


async def test_a_question_that_nobody_answers_has_its_default(autojump_clock):
    async def agent(request, context):
        return await context.ask("q", timeout_seconds=30, default={"approved": False})

    outcome, _, events = await answering(agent)

    assert outcome.output == {"approved": False}
    assert trio.current_time() == pytest.approx(30, abs=0.5)
    assert next(e for e in events if e.type == "run_answered").data["expired"] is True


async def test_an_agent_that_gave_up_waiting_finds_the_answer_later(autojump_clock):
    async def agent(request, context):
        with trio.move_on_after(0.5):
            await context.ask("q")
        await trio.sleep(2)
        return await context.ask("q")

    outcome, met, _ = await answering(agent, ("q", "late"))

    assert (outcome.output, met) == ("late", [True])


async def test_the_same_question_twice_at_once_is_refused(autojump_clock):
    async def agent(request, context):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.ask, "q")
            await trio.sleep(0.1)
            with pytest.raises(InvalidArgument, match="asks for 'q' already"):
                await context.ask("q")
            nursery.cancel_scope.cancel()

    outcome, _, _ = await answering(agent)

    assert outcome.error is None


async def test_who_waits_for_an_answer_is_not_silent(autojump_clock):
    async def agent(request, context):
        return await context.ask("q", timeout_seconds=50, default="nobody")

    outcome, _, _ = await answering(agent, silence_seconds_max=5)

    assert outcome.output == "nobody"


async def test_a_parked_run_is_answered_when_its_time_is_over_also_in_another_process(
    autojump_clock,
):
    store, clock = MemoryStore(), VirtualClock(autojump_clock)

    async def agent(request, context):
        return await context.park("n", timeout_seconds=60, default="nobody")

    async with open_supervisor(store, agent, time_ns=clock.time_ns) as supervisor:
        run = await (await supervisor.session("s")).submit(1)
        await trio.sleep(20)
    parked_at = trio.current_time()
    async with open_supervisor(store, agent, time_ns=clock.time_ns) as supervisor:
        outcome = await (await supervisor.session("s")).wait(run.id)

    assert outcome.output == "nobody"
    assert trio.current_time() - parked_at == pytest.approx(40, abs=1)


@pytest.mark.parametrize("method", ["ask", "park"])
async def test_a_question_with_its_default_has_to_fit_into_one_record(autojump_clock, method):
    async def agent(request, context):
        with pytest.raises(RecordTooLarge, match="data and default is 1206 bytes"):
            await getattr(context, method)("n", bytes(600), default=bytes(600), timeout_seconds=1)

    limits = SupervisorLimits(record_bytes_max=1_200)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        outcome = await (await supervisor.session("s")).execute(None)

    assert outcome.error is None


async def test_an_ended_run_neither_asks_nor_takes(autojump_clock):
    left = []

    async def agent(request, context):
        context.accept_steers()
        left.append(context)

    await execute(agent)

    with pytest.raises(RunEnded):
        await left[0].ask("q")
    assert left[0].take_steers() == []


# ---- the session of a run ----


async def test_an_agent_reads_and_configures_its_own_session(autojump_clock):
    async def agent(request, context):
        await context.emit("message_sent", {"content": "hi"})
        await context.flush()
        seen = [event.type for event in await context.session.events(run_id=context.run_id)]
        await context.session.configure(metadata_update={"handle": "h1", "old": None})
        await context.session.append("note", {"by": "agent"})
        info = await context.session.info()
        return [context.session.id, seen, info.metadata]

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s", metadata={"old": 1, "kept": 2})
        outcome = await session.execute(None)

    assert outcome.output == [
        "s",
        ["run_submitted", "run_started", "message_sent"],
        {"kept": 2, "handle": "h1"},
    ]


# ---- what is emitted before a run parks ----


class Appends(MemoryStore):
    """Remembers the types of each append."""

    def __init__(self):
        super().__init__()
        self.types = []

    async def append(self, claim, *, expected_seq, records, info=None):
        self.types.append([record.type for record in records])
        await super().append(claim, expected_seq=expected_seq, records=records, info=info)


async def test_an_event_that_asks_for_an_answer_is_not_seen_before_it_can_be_answered(
    autojump_clock,
):
    async def agent(request, context):
        try:
            await context.emit("message_sent", {"content": "working"})
            await trio.sleep(1)
            await context.emit("tool_approval_requested", {"request_id": "r"})
            return await context.park("approval")
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    store = Appends()
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1)
        async with session.subscribe(types={"tool_approval_requested"}) as events:
            async for _ in events:
                break
        accepted = await session.answer(run.id, "approval", "yes")
        outcome = await run.wait(timeout_seconds=60)

    assert accepted is True
    assert outcome.output == "yes"
    assert ["tool_approval_requested", "run_waiting"] in store.types


async def test_an_agent_that_flushes_behind_its_parking_does_not_wait_for_itself(autojump_clock):
    async def agent(request, context):
        try:
            await context.emit("turn_completed", {"n": 1})
            return await context.park("n", timeout_seconds=1)
        finally:
            with trio.CancelScope(shield=True):
                await context.emit("turn_completed", {"n": 2})
                await context.flush()
                await context.emit("turn_completed", {"n": 3})

    outcome, events = await execute(agent)

    assert outcome.error is None
    before = [event.data["n"] for event in events if event.type == "turn_completed"][:3]
    assert before == [1, 2, 3]
