from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from moorage.adapters.sinks import Backoff, CallbackSink, SinkFailed, deliver
from moorage.runtime import (
    CursorHeld,
    Event,
    InvalidArgument,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.stores import MemoryStore
from structlog.testing import capture_logs


async def agent(request: Any, context: Any) -> Any:
    return request.input


class Collecting:
    """Takes events, and can be made to fail or to wait."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.problem: Exception | None = None
        self.free = trio.Event()
        self.free.set()
        self.open = False

    @asynccontextmanager
    async def opened(self):
        self.open = True
        yield
        self.open = False

    async def write(self, events) -> None:
        assert self.open
        await self.free.wait()
        if self.problem is not None:
            raise self.problem
        self.taken += [event.seq for event in events]


@pytest.fixture
async def supervisor():
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        yield supervisor


async def filled(supervisor, *, close: bool = True):
    session = await supervisor.session("a")
    await session.execute("x")
    if close:
        await session.close()
    return session


async def test_all_sinks_get_all_events_until_the_end(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    one, other = Collecting(), Collecting()

    progress = await deliver(session, {"one": one, "other": other})

    head_seq = (await session.info()).head_seq
    assert one.taken == other.taken == list(range(1, head_seq + 1))
    assert progress["one"].seq == progress["one"].delivered == head_seq
    assert progress["one"].ended == ""
    assert not one.open


async def test_one_that_stands_still_holds_up_nobody(autojump_clock, supervisor) -> None:
    session = await filled(supervisor, close=False)
    slow, quick = Collecting(), Collecting()
    slow.free = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver, session, {"slow": slow, "quick": quick})
        outcome = await session.execute("more")
        await trio.testing.wait_all_tasks_blocked()

        assert outcome.output == "more"
        assert quick.taken[-1] == (await session.info()).head_seq
        assert slow.taken == []
        slow.free.set()
        await trio.testing.wait_all_tasks_blocked()
        assert slow.taken == quick.taken
        nursery.cancel_scope.cancel()


async def test_what_is_refused_is_offered_again_later_and_later(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    times: list[float] = []
    taken: list[int] = []

    def refuse_thrice(events: list[Event]) -> None:
        times.append(trio.current_time())
        if len(times) <= 3:
            raise RuntimeError("not now")
        taken.extend(event.seq for event in events)

    with capture_logs() as logs:
        progress = await deliver(
            session,
            {"flaky": CallbackSink(refuse_thrice, batches=True), "fine": Collecting()},
            backoff=Backoff(first_seconds=1, seconds_max=3),
            chance=lambda: 0.0,
        )

    pauses = [later - before for before, later in itertools.pairwise(times)]
    assert pauses[:3] == pytest.approx([1, 2, 3])
    assert taken == list(range(1, progress["fine"].seq + 1))
    assert progress["flaky"].failures == 3
    assert progress["flaky"].ended == ""
    assert [log["reason"] for log in logs] == ["RuntimeError: not now"] * 3
    assert logs[0]["event"] == "sink_failed"
    assert logs[0]["sink"] == "flaky"


async def test_one_that_fails_too_often_is_left_out(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    broken, fine = Collecting(), Collecting()
    broken.problem = RuntimeError("never")

    progress = await deliver(
        session, {"broken": broken, "fine": fine}, backoff=Backoff(attempts_max=2)
    )

    assert progress["broken"].failures == 2
    assert progress["broken"].ended == "RuntimeError: never"
    assert progress["fine"].ended == ""
    assert fine.taken


async def test_one_that_says_it_cannot_is_not_asked_again(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    broken = Collecting()
    broken.problem = SinkFailed("wrong file")

    with capture_logs() as logs:
        progress = await deliver(session, {"broken": broken})

    assert progress["broken"].ended == "wrong file"
    assert [(log["event"], log["final"]) for log in logs] == [("sink_failed", True)]


async def test_stored_cursors_go_on_where_the_sink_was(autojump_clock, supervisor) -> None:
    session = await filled(supervisor, close=False)
    first, second = Collecting(), Collecting()

    async with trio.open_nursery() as nursery:

        async def cut_off() -> None:
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cut_off)
        await deliver(session, {"audit": first}, stored_cursors=True)
    await session.append("note", 1)
    await session.close()
    await deliver(session, {"audit": second}, stored_cursors=True)

    assert first.taken == list(range(1, len(first.taken) + 1))
    assert second.taken[0] == first.taken[-1] + 1
    assert second.taken[-1] == (await session.info()).head_seq


async def test_what_was_trimmed_away_is_skipped_and_told(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    await session.trim(before=3)
    sink = Collecting()

    with capture_logs() as logs:
        await deliver(session, {"late": sink})

    assert sink.taken[0] == 3
    assert logs[0]["event"] == "sink_missed_events"
    assert "from seq 3 on" in logs[0]["reason"]


async def test_a_reader_can_deliver_a_run(autojump_clock, supervisor) -> None:
    session = await filled(supervisor, close=False)
    run = await session.submit("y")
    await run.wait()
    sink = Collecting()

    async with open_reader(supervisor._store) as reader:
        await deliver(reader.session("a"), {"run": sink}, run_id=run.id, types={"run_started"})

    assert len(sink.taken) == 1


async def test_what_is_wrong_with_the_session_is_raised_bare(autojump_clock, supervisor) -> None:
    session = await filled(supervisor)
    two = {"one": Collecting(), "two": Collecting()}

    with pytest.raises(InvalidArgument, match="at least one sink"):
        await deliver(session, {})
    async with session.subscribe(name="one"):
        with pytest.raises(CursorHeld):
            await deliver(session, two, stored_cursors=True)
    await supervisor.delete_session("a")
    with pytest.raises(UnknownSession):
        await deliver(session, two)


@pytest.mark.parametrize(
    "wrong", [{"first_seconds": 0}, {"first_seconds": 2, "seconds_max": 1}, {"attempts_max": 0}]
)
def test_backoffs_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        Backoff(**wrong)


def test_pauses_grow_to_their_bound_and_are_spread() -> None:
    backoff = Backoff(first_seconds=1, seconds_max=10)

    assert [backoff.seconds(failures, 0.0) for failures in (1, 2, 3, 4, 5, 1_000)] == [
        1, 2, 4, 8, 10, 10,
    ]  # fmt: skip
    assert backoff.seconds(5, 1.0) == 5
