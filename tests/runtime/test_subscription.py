from __future__ import annotations

import gc

import pytest
import trio
from moorage.runtime import (
    CursorExpired,
    CursorHeld,
    InvalidArgument,
    SupervisorLimits,
    UnknownRun,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.testing import assert_contiguous, wait_until
from moorage.stores import MemoryStore


async def numbers(request, context):
    """Emits its input's ``count`` events, ``pause`` seconds apart."""
    for number in range(request.input["count"]):
        await context.emit("number", {"number": number})
        if request.input.get("pause"):
            await trio.sleep(request.input["pause"])


async def collect(session, into, **options):
    async with session.subscribe(**options) as events:
        async for event in events:
            into.append(event)


@pytest.mark.parametrize("tail_cache_bytes_max", [0, 300, 1 << 20])
async def test_the_backlog_comes_first_then_live_without_gap_or_repeat(
    autojump_clock, tail_cache_bytes_max
):
    limits = SupervisorLimits(tail_cache_bytes_max=tail_cache_bytes_max)
    collected = {after: [] for after in (0, 1, 2, 200, 403)}
    async with open_supervisor(MemoryStore(), numbers, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 400})
        run = await session.submit({"count": 400, "pause": 0.001})
        async with trio.open_nursery() as nursery:
            for after, seen in collected.items():
                nursery.start_soon(
                    lambda seen=seen, after=after: collect(session, seen, after=after)
                )
            await run.wait()
            await session.close()
        head_seq = (await session.info()).head_seq

    for after, seen in collected.items():
        assert_contiguous(seen, after=after)
        assert seen[-1].seq == head_seq


async def test_from_the_head_means_from_now(autojump_clock):
    seen = []
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        head_seq = (await session.info()).head_seq
        async with session.subscribe(after="head") as events:
            await session.execute({"count": 1})
            async for event in events:
                seen.append(event)
                if event.type == "run_completed":
                    break

    assert_contiguous(seen, after=head_seq)
    assert [event.type for event in seen] == [
        "run_submitted",
        "run_started",
        "number",
        "run_completed",
    ]


async def test_types_and_run_filter_and_a_run_s_terminal_event_ends(autojump_clock):
    by_type, by_run, both, ended = [], [], [], []
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s", slots=2)
        one = await session.submit({"count": 5, "pause": 1})
        two = await session.submit({"count": 5, "pause": 2})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, by_type, types={"run_completed"}))
            nursery.start_soon(lambda: collect(session, by_run, run_id=one.id))
            nursery.start_soon(lambda: collect(session, both, run_id=two.id, types={"number"}))
            await session.wait_idle()
            await collect(session, ended, run_id=one.id)
            await session.close()
        after_its_end = []
        await collect(session, after_its_end, run_id=one.id, after=by_run[-1].seq)

    assert [event.run_id for event in by_type] == [one.id, two.id]
    assert [event.type for event in by_run] == [
        "run_submitted",
        "run_started",
        *["number"] * 5,
        "run_completed",
    ]
    assert [event.data["number"] for event in both] == [0, 1, 2, 3, 4]
    assert ended == by_run
    assert after_its_end == []


async def test_following_a_run_that_ended_before_the_cursor_ends_at_once_in_an_open_session(
    autojump_clock,
):
    seen = []
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute({"count": 1})
        await session.append("note", {})
        await collect(session, seen, run_id=outcome.run_id, after="head")

    assert seen == []
    assert trio.current_time() < 1


async def test_a_stalled_subscriber_costs_nothing_and_misses_nothing(autojump_clock):
    seen = []
    limits = SupervisorLimits(tail_cache_bytes_max=10_000)
    async with open_supervisor(MemoryStore(), numbers, limits=limits) as supervisor:
        session = await supervisor.session("s")

        async def stall():
            async with session.subscribe() as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == 1:
                        await trio.sleep(3600)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stall)
            await trio.sleep(1)
            begun = trio.current_time()
            for _ in range(5):
                await session.execute({"count": 1_000})
            taken = trio.current_time() - begun
            tail = supervisor.statistics().tail
            await trio.sleep(4000)
            await session.close()
        head_seq = (await session.info()).head_seq

    assert taken < 1
    assert tail.bytes <= 10_000
    assert_contiguous(seen)
    assert len(seen) == head_seq


async def test_a_subscriber_that_dies_takes_nobody_with_it(autojump_clock):
    seen = []
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")

        async def die():
            async with session.subscribe() as events:
                async for event in events:
                    if event.seq == 5:
                        raise RuntimeError("dead")

        async def bury():
            with pytest.raises(RuntimeError, match="dead"):
                await die()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bury)
            nursery.start_soon(collect, session, seen)
            outcome = await session.execute({"count": 100, "pause": 0.1})
            await session.close()
        statistics = supervisor.statistics()

    assert outcome.state == "completed"
    assert_contiguous(seen)
    assert seen[-1].type == "session_closed"
    assert (statistics.tail.sessions, statistics.tail.bytes, statistics.store.waiting) == (0, 0, 0)


async def test_a_seq_from_the_future_is_refused_and_one_from_before_is_expired(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        head_seq = (await session.info()).head_seq
        with pytest.raises(InvalidArgument, match=str(head_seq)):
            async with session.subscribe(after=head_seq + 1):
                pass
        await session.trim(before=8)
        with pytest.raises(CursorExpired) as expired:
            async with session.subscribe(after=6):
                pass
        seen = []
        async with session.subscribe(after=expired.value.oldest_seq - 1) as events:
            async for event in events:
                seen.append(event)
                if event.seq == head_seq:
                    break

    assert expired.value.oldest_seq == 8
    assert_contiguous(seen, after=7)


async def test_a_subscriber_that_was_trimmed_away_is_told(autojump_clock):
    limits = SupervisorLimits(tail_cache_bytes_max=0)
    async with open_supervisor(MemoryStore(), numbers, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 3_000})
        async with session.subscribe() as events:
            await anext(events)
            await session.trim(before=2_500)
            with pytest.raises(CursorExpired) as expired:
                async for _ in events:
                    pass

    assert expired.value.oldest_seq == 2_500


@pytest.mark.parametrize(
    "options",
    [
        {"after": -1},
        {"after": "tail"},
        {"after": None},
        {"name": ""},
        {"name": "a\n"},
        {"types": []},
        {"run_id": 5},
        {"run_id": ["run"]},
        {"run_id": ""},
    ],
    ids=str,
)
async def test_subscribing_with_bad_arguments_is_refused(autojump_clock, options):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(InvalidArgument):
            session.subscribe(**options)


async def test_subscribing_to_what_is_not_there_is_refused(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(UnknownRun):
            async with session.subscribe(run_id="run_unknown", name="mine"):
                pass
        async with session.subscribe(name="mine"):
            pass
        await supervisor.delete_session("s")
        with pytest.raises(UnknownSession):
            async with session.subscribe():
                pass


async def test_a_subscription_is_entered_once_and_before_it_is_read(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        events = session.subscribe()
        with pytest.raises(InvalidArgument, match="enter"):
            await anext(events)
        async with events:
            await anext(events)
            with pytest.raises(InvalidArgument, match="entered before"):
                async with events:
                    pass
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        with pytest.raises(InvalidArgument):
            async with events:
                pass


async def test_batches_are_the_same_events_as_lists(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 2_500})
        await session.close()
        async with session.subscribe() as events:
            first = await anext(events)
            batches = [batch async for batch in events.batches()]
            cursor = events.cursor

    assert all(batches)
    assert len(batches) < 20
    assert_contiguous([first, *(event for batch in batches for event in batch)])
    assert cursor == batches[-1][-1].seq


async def test_a_named_cursor_is_durable_and_beats_after(autojump_clock):
    store = MemoryStore()
    seen = []
    async with open_supervisor(store, numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 20})
        async with session.subscribe(after=2, name="mine") as events:
            async for event in events:
                seen.append(event.seq)
                if event.seq in (4, 9):
                    await events.ack(event)
                if event.seq == 15:
                    break
    async with open_supervisor(store, numbers) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(after=20, name="mine") as events:
            again = await anext(events)
            await events.ack(again)
        async with session.subscribe(after="head", name="mine") as events:
            next_one = await anext(events)
        async with session.subscribe(after=20, name="another") as events:
            fresh = await anext(events)

    assert seen == list(range(3, 16))
    assert (again.seq, next_one.seq, fresh.seq) == (10, 11, 21)


async def test_an_ack_means_everything_up_to_here_and_never_goes_back(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 5})
        async with session.subscribe(types={"number"}, name="mine") as events:
            received = [await anext(events) for _ in range(4)]
            await events.ack(received[3])
            await events.ack(received[1])
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert following.seq == received[3].seq + 1


async def test_a_name_has_one_live_user(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        async with session.subscribe(name="mine"):
            with pytest.raises(CursorHeld) as held:
                async with session.subscribe(name="mine"):
                    pass
            async with session.subscribe(name="yours"), other.subscribe(name="mine"):
                pass
            with pytest.raises(CursorHeld):
                async with session.subscribe(name="mine"):
                    pass
        async with session.subscribe(name="mine"):
            pass

    assert (held.value.name, held.value.session_id) == ("mine", "s")


async def test_only_what_was_delivered_under_a_name_can_be_acknowledged(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await session.execute({"count": 5})
        await other.execute({"count": 1})
        (foreign,) = await other.events(limit=1)
        everything = await session.events()
        async with session.subscribe() as events:
            event = await anext(events)
            with pytest.raises(InvalidArgument, match="name"):
                await events.ack(event)
        async with session.subscribe(name="mine") as events:
            with pytest.raises(InvalidArgument, match="not delivered"):
                await events.ack(everything[-1])
            await anext(events)
            with pytest.raises(InvalidArgument, match="not delivered"):
                await events.ack(foreign)


@pytest.mark.parametrize("after", [0, 1, 18])
async def test_a_cursor_does_not_hold_back_trimming_and_entering_tells(autojump_clock, after):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 50})
        async with session.subscribe(name="mine") as events:
            await events.ack(await anext(events))
        oldest = await session.trim(before=20)
        with pytest.raises(CursorExpired) as expired:
            async with session.subscribe(after=after, name="mine"):
                pass

    assert oldest == expired.value.oldest_seq == 20
    assert expired.value.after == 1


@pytest.mark.parametrize(("after", "first"), [(19, 20), (30, 31), ("head", 55)])
async def test_a_name_whose_cursor_was_trimmed_away_goes_on_where_it_is_told(
    autojump_clock, after, first
):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 50})
        async with session.subscribe(name="mine") as events:
            await events.ack(await anext(events))
        await session.trim(before=20)
        async with session.subscribe(after=after, name="mine") as events:
            await session.append("note", {})
            started_with = await anext(events)
            await events.ack(started_with)
        await session.append("note", {})
        async with session.subscribe(after=25, name="mine") as events:
            following = await anext(events)
        with pytest.raises(InvalidArgument, match="beyond the head"):
            async with session.subscribe(after=99, name="another"):
                pass

    assert (started_with.seq, following.seq) == (first, first + 1)


async def test_a_cursor_whose_followers_are_all_there_is_not_expired(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 5})
        async with session.subscribe(name="mine") as events:
            for _ in range(3):
                event = await anext(events)
            await events.ack(event)
        await session.trim(before=4)
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert (event.seq, following.seq) == (3, 4)


# ---- what cancelling, and acknowledging out of order, must not break ----


class SlowStore(MemoryStore):
    """Reading and storing cursors take as many seconds as they are told."""

    read_seconds = 0
    save_cursor_seconds = 0

    async def read(self, session_id, **options):
        page = await super().read(session_id, **options)
        await trio.sleep(self.read_seconds)
        return page

    async def save_cursor(self, session_id, name, seq):
        await trio.sleep(self.save_cursor_seconds)
        await super().save_cursor(session_id, name, seq)


async def next_events(events, by_batch):
    return await anext(events.batches()) if by_batch else [await anext(events)]


async def impatient(events, into, by_batch, rounds):
    """Read again and again, giving up in a different way each time."""
    for number in range(rounds):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                match number % 4:
                    case 0:
                        scope.deadline = trio.current_time()
                    case 1:
                        scope.cancel()
                    case 2:
                        nursery.start_soon(trio.lowlevel.checkpoint)
                        nursery.start_soon(scoped_cancel, scope)
                    case 3:
                        scope.deadline = trio.current_time() + 1.5
                into += await next_events(events, by_batch)


async def scoped_cancel(scope):
    scope.cancel()


@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("read_seconds", [0, 1, 2])
@pytest.mark.parametrize("tail_cache_bytes_max", [0, 1 << 20])
async def test_reading_that_is_cancelled_takes_no_event_away(
    autojump_clock, tail_cache_bytes_max, read_seconds, by_batch
):
    store = SlowStore()
    limits = SupervisorLimits(tail_cache_bytes_max=tail_cache_bytes_max)
    seen = []
    async with open_supervisor(store, numbers, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        async with session.subscribe() as events:
            store.read_seconds = read_seconds
            for _ in range(10):
                await impatient(events, seen, by_batch, rounds=8)
                for _ in range(3):
                    await session.append("note", {})
            store.read_seconds = 0
            await session.close()
            seen += [event async for event in events]
        head_seq = (await session.info()).head_seq

    assert_contiguous(seen)
    assert len(seen) == head_seq


@pytest.mark.parametrize("tail_cache_bytes_max", [0, 1 << 20])
async def test_who_is_cancelled_reads_no_further_however_much_there_is(
    autojump_clock, tail_cache_bytes_max
):
    limits = SupervisorLimits(tail_cache_bytes_max=tail_cache_bytes_max)
    seen = []
    async with open_supervisor(MemoryStore(), numbers, limits=limits) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(after="head") as events:
            await session.append("note", {})
            with trio.CancelScope() as scope:
                scope.cancel()
                seen.append(await anext(events))
            following = await anext(events)

    assert scope.cancelled_caught
    assert seen == []
    assert following.type == "note"


async def test_a_subscription_that_was_left_acknowledges_nothing(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        left = session.subscribe(name="mine")
        async with left:
            early = [await anext(left) for _ in range(5)]
        async with session.subscribe(name="mine") as events:
            for _ in range(9):
                event = await anext(events)
            await events.ack(event)
            with pytest.raises(InvalidArgument, match="before you leave"):
                await left.ack(early[2])
        with pytest.raises(InvalidArgument, match="before you leave"):
            await left.ack(early[4])
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert following.seq == 10


async def test_events_can_be_acknowledged_when_the_session_has_ended(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.close()
        async with session.subscribe(name="mine") as events:
            received = [event async for event in events]
            await events.ack(received[-1])
        async with session.subscribe(name="mine") as events:
            again = [event async for event in events]

    assert len(received) == 2
    assert again == []


async def test_a_smaller_ack_that_comes_while_a_larger_one_is_stored_stays_behind_it(
    autojump_clock,
):
    store = SlowStore()
    store.save_cursor_seconds = 1
    async with open_supervisor(store, numbers) as supervisor:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        async with session.subscribe(name="mine") as events, trio.open_nursery() as nursery:
            received = [await anext(events) for _ in range(5)]
            nursery.start_soon(events.ack, received[4])
            await trio.sleep(0.5)
            nursery.start_soon(events.ack, received[2])
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert following.seq == 6


async def test_a_name_is_free_when_its_last_ack_is_stored(autojump_clock):
    store = SlowStore()
    store.save_cursor_seconds = 10
    async with open_supervisor(store, numbers) as supervisor, trio.open_nursery() as nursery:
        session = await supervisor.session("s")
        await session.execute({"count": 10})
        async with session.subscribe(name="mine") as events:
            received = [await anext(events) for _ in range(5)]
            nursery.start_soon(events.ack, received[4])
            await trio.sleep(1)
        with pytest.raises(CursorHeld):
            async with session.subscribe(name="mine"):
                pass
        await trio.sleep(10)
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert following.seq == 6


async def test_events_are_seen_only_when_they_are_durable(autojump_clock, failing_store):
    """A write that fails leaves nothing that a subscriber had seen."""
    seen = []

    async def check(session):
        async with session.subscribe() as events:
            async for event in events:
                stored = await failing_store.info("s")
                assert event.seq <= stored.head_seq
                seen.append(event)

    async with open_supervisor(failing_store, numbers) as supervisor:
        session = await supervisor.session("s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check, session)
            run = await session.submit({"count": 50, "pause": 0.1})
            for _ in range(5):
                await trio.sleep(0.5)
                failing_store.fail(times=2)
            await run.wait()
            await session.close()
        stored = await session.events(limit=1000)

    assert failing_store.failed == 10
    assert seen == stored


async def test_a_subscriber_sees_what_a_rebuilt_worker_writes_and_nothing_else(
    autojump_clock, failing_store
):
    seen = []
    async with open_supervisor(failing_store, numbers) as supervisor:
        session = await supervisor.session("s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, session, seen)
            for _ in range(5):
                run = await session.submit({"count": 50, "pause": 0.1})
                await trio.sleep(0.3)
                failing_store.lose_answer(written=True)
                await run.wait()
            await session.close()
        stored = await session.events(limit=1000)

    assert_contiguous(seen)
    assert seen == stored


async def test_a_session_that_is_closed_and_reopened_can_be_followed_again(autojump_clock):
    first, second = [], []
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        await session.close()
        await collect(session, first)
        await session.reopen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, second, after=first[-1].seq))
            await session.execute({"count": 1})
            await session.close()

    assert [event.type for event in first] == ["session_opened", "session_closed"]
    assert_contiguous(second, after=2)
    assert second[-1].type == "session_closed"


async def test_many_subscribers_come_and_go_and_leave_nothing(autojump_clock):
    async with open_supervisor(MemoryStore(), numbers) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit({"count": 500, "pause": 0.01})

        async def visit(number):
            await trio.sleep(number % 10 * 0.1)
            with trio.move_on_after(0.3):
                async with session.subscribe(after="head") as events:
                    previous = None
                    async for event in events:
                        assert previous is None or event.seq == previous + 1
                        previous = event.seq

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(visit, number)
        await run.wait()
        await wait_until(lambda: supervisor.statistics().store.waiting == 0)
        tail = supervisor.statistics().tail
    gc.collect()

    assert (tail.sessions, tail.bytes) == (0, 0)


async def test_where_to_start_is_a_seq_or_the_head_and_the_error_says_both(sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")

        with pytest.raises(InvalidArgument, match=r"from 0 to [0-9]+, or 'head', not 'tail'"):
            session.subscribe(after="tail")
