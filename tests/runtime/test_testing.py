from __future__ import annotations

import pytest
import trio
import trio.testing
from moorage.runtime import Event
from moorage.runtime.testing import (
    WALL_START_NS,
    VirtualClock,
    assert_contiguous,
    assert_fifo,
    assert_history,
    assert_one_outcome_per_run,
    assert_slots,
    wait_until,
)


def history(*steps, first_seq=1):
    """Events from strings such as "run_started a"; one without a run has no second word."""
    events = []
    for seq, step in enumerate(steps, first_seq):
        type, _, run_id = step.partition(" ")
        events.append(Event("s", seq, seq, type, run_id or None, {}))
    return events


GOOD = history(
    "session_opened",
    "run_submitted a",
    "run_started a",
    "run_submitted b",
    "run_waiting a",
    "run_started b",
    "message_streamed b",
    "run_resumed a",
    "run_submitted c",
    "run_completed b",
    "run_started a",
    "run_requeued a",
    "run_started a",
    "run_failed a",
    "run_cancelled c",
    "session_closed",
)


def test_a_good_history_passes_everything():
    assert_history(GOOD)
    assert_history(iter(GOOD))
    assert_slots(GOOD, 1)
    assert_contiguous([])
    assert_contiguous(GOOD[4:], after=4)
    assert_one_outcome_per_run(GOOD[:-2], unfinished=["c"])


@pytest.mark.parametrize(
    "events",
    [
        [GOOD[0], GOOD[2]],
        [GOOD[0], GOOD[0]],
        [GOOD[1]],
        [GOOD[1], GOOD[0]],
    ],
    ids=["gap", "repeat", "late start", "wrong order"],
)
def test_a_gap_and_a_repeat_are_found(events):
    with pytest.raises(AssertionError, match="gaps or repeats"):
        assert_contiguous(events)


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (["run_submitted a"], "without an outcome"),
        (["run_submitted a", "run_submitted a"], "submitted twice"),
        (["run_submitted a", "run_failed a", "run_completed a"], "behind"),
        (["run_submitted a", "run_failed a", "message_streamed a"], "behind"),
        (["run_started a"], "never submitted"),
    ],
)
def test_a_run_with_no_outcome_or_with_two_is_found(steps, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert_one_outcome_per_run(history(*steps))


def test_a_run_that_should_be_unfinished_and_is_not_is_found():
    with pytest.raises(AssertionError, match="without an outcome"):
        assert_one_outcome_per_run(history("run_submitted a", "run_failed a"), unfinished=["a"])


@pytest.mark.parametrize(
    "steps",
    [
        ["run_submitted a", "run_submitted b", "run_started b"],
        ["run_submitted a", "run_started a", "run_submitted b", "run_requeued a", "run_started b"],
        ["run_submitted a", "run_started a", "run_started a"],
    ],
    ids=["overtaken", "requeued behind", "started twice"],
)
def test_a_run_that_overtakes_another_is_found(steps):
    with pytest.raises(AssertionError, match="started"):
        assert_fifo(history(*steps))


def test_more_runs_than_slots_are_found():
    events = history("run_submitted a", "run_submitted b", "run_started a", "run_started b")

    assert_slots(events, 2)
    with pytest.raises(AssertionError, match="2 of 1 slots"):
        assert_slots(events, 1)


async def test_both_clocks_tell_of_the_same_time(autojump_clock):
    clock = VirtualClock(autojump_clock)
    begun_ns, begun = clock.time_ns(), trio.current_time()

    await trio.sleep(90)
    slept_ns = clock.time_ns() - begun_ns
    clock.jump(10)

    assert slept_ns == 90 * 10**9
    assert clock.time_ns() - begun_ns == 100 * 10**9
    assert trio.current_time() - begun == 100


async def test_the_wall_clock_can_be_set_back_without_touching_timers(autojump_clock):
    clock = VirtualClock(autojump_clock, start_ns=5 * 10**9)
    clock.set_wall_back(3)

    with trio.move_on_after(10) as scope:
        await trio.sleep(9)

    assert clock.time_ns() == 11 * 10**9
    assert not scope.cancelled_caught


def test_a_clock_of_its_own_drives_a_program():
    clock = VirtualClock()

    async def main():
        await trio.sleep(3600)
        return clock.time_ns()

    assert trio.run(main, clock=clock.trio_clock) == WALL_START_NS + 3600 * 10**9


async def test_wait_until_returns_when_the_condition_is_true_or_time_is_over(autojump_clock):
    deadline = trio.current_time() + 5
    await wait_until(lambda: trio.current_time() >= deadline)
    reached = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await wait_until(lambda: False, timeout_seconds=3)

    assert reached == pytest.approx(5, abs=0.02)
    assert trio.current_time() == pytest.approx(8, abs=0.02)
