"""The shared limit on running runs: never exceeded, never lost, fair over sessions."""

from __future__ import annotations

import random

import pytest
from moorage.runtime.permits import PermitStatistics, RunPermits


class Holder:
    """A session that works through ``wanted`` runs, and notes each grant in ``story``."""

    def __init__(self, name: str, story: list[str], wanted: int = 0) -> None:
        self.name = name
        self.wanted = wanted
        self.held = 0
        self._story = story

    def granted(self) -> None:
        self.held += 1
        self._story.append(self.name)


def test_permits_are_given_up_to_the_limit() -> None:
    permits = RunPermits(2)

    assert [permits.try_acquire() for _ in range(3)] == [True, True, False]
    assert permits.statistics() == PermitStatistics(limit=2, in_use=2, waiting=0)


def test_a_permit_that_comes_free_goes_to_who_stands_in_line_longest() -> None:
    story: list[str] = []
    permits = RunPermits(1)
    permits.try_acquire()
    permits.stand_in_line(Holder("a", story))
    permits.stand_in_line(Holder("b", story))

    permits.release()
    assert (story, permits.statistics()) == (["a"], PermitStatistics(1, 1, 1))

    permits.release()
    assert (story, permits.statistics()) == (["a", "b"], PermitStatistics(1, 1, 0))


def test_nobody_is_served_past_the_line() -> None:
    permits = RunPermits(1)
    permits.try_acquire()
    permits.stand_in_line(Holder("a", []))

    assert not permits.try_acquire()


def test_standing_in_line_twice_is_standing_once() -> None:
    story: list[str] = []
    permits = RunPermits(1)
    permits.try_acquire()
    holder, other = Holder("a", story), Holder("b", story)
    for who in (holder, other, holder):
        permits.stand_in_line(who)

    for _ in range(3):
        permits.release()

    assert story == ["a", "b"]


def test_who_leaves_the_line_is_passed_over() -> None:
    story: list[str] = []
    permits = RunPermits(1)
    permits.try_acquire()
    holder, other = Holder("a", story), Holder("b", story)
    permits.stand_in_line(holder)
    permits.stand_in_line(other)

    permits.leave_line(holder)
    permits.leave_line(holder)
    permits.release()

    assert story == ["b"]


def test_a_permit_nobody_wants_can_be_had_at_once() -> None:
    permits = RunPermits(1)
    permits.try_acquire()

    permits.release()

    assert permits.statistics().in_use == 0
    assert permits.try_acquire()


def test_a_session_with_much_work_delays_anothers_first_run_by_one_run() -> None:
    story: list[str] = []
    permits = RunPermits(1)
    big, small = Holder("big", story, wanted=1_000), Holder("small", story, wanted=1)
    assert permits.try_acquire()  # the big one's first
    permits.stand_in_line(big)
    permits.stand_in_line(small)

    for _ in range(4):  # each run ends, and whoever got its permit stands in line for more
        permits.release()
        if story[-1] == "big":
            permits.stand_in_line(big)

    assert story == ["big", "small", "big", "big"]


@pytest.mark.parametrize("seed", range(5))
def test_permits_are_never_exceeded_and_never_lost(seed: int) -> None:
    choice = random.Random(seed)
    permits, story = RunPermits(3), []  # type: ignore[var-annotated]
    holders = [Holder(str(number), story) for number in range(6)]

    for _ in range(500):
        holder = choice.choice(holders)
        action = choice.choice(["take", "give", "leave"])
        if action == "take" and not permits.try_acquire():
            permits.stand_in_line(holder)
        elif action == "take":
            holder.held += 1
        elif action == "leave":
            permits.leave_line(holder)
        elif holder.held:
            holder.held -= 1
            permits.release()
        statistics = permits.statistics()
        assert sum(holder.held for holder in holders) == statistics.in_use <= 3
        assert not statistics.waiting or statistics.in_use == 3
