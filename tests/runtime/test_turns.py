"""What a worker keeps between deciding and being durable, and its timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.codec import decode_event
from moorage.runtime.events import Event
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.permits import RunPermits
from moorage.runtime.steps import StartRun, Step, StopRun
from moorage.runtime.tail import TailCache
from moorage.runtime.turns import Batch, Environment, Expiry, Granted, Leave, Timers

if TYPE_CHECKING:
    from trio.testing import MockClock


def event(seq: int, type: str, data: object, metadata: dict[str, object] | None = None) -> Event:
    return Event("s", seq, 1_000 + seq, type, "A", data, metadata)


def test_a_batch_takes_steps_in_order_and_encodes_what_they_record() -> None:
    batch = Batch(7)
    first, second = event(7, "run_started", {"attempt": 1}), event(8, "run_completed", {"x": 2})

    batch.absorb(Step([first], [StartRun("A")]))
    batch.absorb(Step([second], [StopRun("A")], "an answer"))

    assert batch.events == [first, second]
    assert batch.effects == [StartRun("A"), StopRun("A")]
    decoded = [decode_event("s", seq, r.body) for seq, r in enumerate(batch.records, 7)]
    assert decoded == [first, second]


def test_a_record_repeats_what_stores_index() -> None:
    batch = Batch(1)
    submitted = event(1, "run_submitted", {"input": 1, "key": "k"}, {"trace": "t"})
    other = event(2, "message_received", {"key": "not a key"})

    batch.absorb(Step([submitted, other], []))

    records = [(r.time_ns, r.type, r.run_id, r.key) for r in batch.records]
    assert records == [
        (1_001, "run_submitted", "A", "k"),
        (1_002, "message_received", "A", None),
    ]
    assert decode_event("s", 1, batch.records[0].body).metadata == {"trace": "t"}


def test_a_batch_starts_without_anything() -> None:
    batch = Batch(3)

    assert (batch.first_seq, batch.starts) == (3, 0)
    assert [batch.records, batch.events, batch.effects, batch.answers, batch.inputs] == [[]] * 5


def test_leaving_is_not_for_good_unless_told_so() -> None:
    assert (Leave().final, Leave(final=True).final) == (False, True)
    assert Granted() == ()


def test_a_session_begins_as_the_process_drains_unless_it_has_a_condition_of_its_own() -> None:
    nothing: Any = None
    environment = Environment(
        store=nothing,
        limits=SupervisorLimits(),
        agents=nothing,
        permits=RunPermits(1),
        tail=TailCache(0),
        recent=nothing,
        time_ns=lambda: 0,
        session_of=nothing,
        draining="finish",
    )
    environment.draining_by_id.update(resumed=None, drained="keep")

    assert environment.draining_of("other") == "finish"
    assert environment.draining_of("resumed") is None
    assert environment.draining_of("drained") == "keep"


async def test_timers_fall_due_in_order_of_time_then_of_arming(mock_clock: MockClock) -> None:
    timers = Timers()
    for seconds, item in ((5.0, "late"), (1.0, "first"), (1.0, "second"), (0.0, "now")):
        timers.arm(seconds, item)

    assert (len(timers), timers.next_at()) == (4, trio.current_time())
    assert timers.due() == ["now"]
    assert timers.due() == []

    mock_clock.jump(1.0)
    assert timers.due() == ["first", "second"]
    assert timers.next_at() == trio.current_time() + 4.0

    mock_clock.jump(10.0)
    assert timers.due() == ["late"]
    assert (len(timers), timers.next_at()) == (0, float("inf"))


async def test_items_that_cannot_be_compared_fall_due_at_the_same_time(
    mock_clock: MockClock,
) -> None:
    timers = Timers()
    items = [Expiry("A", "grace", 1), object(), {"a": 1}]
    for item in items:
        timers.arm(2.0, item)

    mock_clock.jump(2.0)

    assert timers.due() == items


async def test_timers_that_are_not_wanted_are_forgotten(mock_clock: MockClock) -> None:
    timers = Timers()
    for number in range(20):
        timers.arm(float(20 - number), number)

    timers.keep(lambda item: item % 3 == 0)

    mock_clock.jump(100.0)
    assert timers.due() == [18, 15, 12, 9, 6, 3, 0]
