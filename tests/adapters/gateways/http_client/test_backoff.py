from __future__ import annotations

import math

from moorage.adapters.gateways.http_client import ClientLimits
from moorage.adapters.gateways.http_client.backoff import Backoff

LIMITS = ClientLimits(
    backoff_seconds_min=1,
    backoff_seconds_max=8,
    unreachable_seconds_max=100,
    retry_after_seconds_max=50,
)


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def test_waits_double_up_to_the_limit_and_are_spread():
    middle = Backoff(LIMITS, Clock(), lambda: 0.5)
    early = Backoff(LIMITS, Clock(), lambda: 0.0)

    assert [middle.next_seconds() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert [early.next_seconds() for _ in range(3)] == [0.5, 1, 2]


def test_it_gives_up_after_the_limit_from_the_first_failure_on():
    clock = Clock()
    backoff = Backoff(LIMITS, clock, lambda: 0.5)

    backoff.next_seconds()
    clock.now += 99.5

    assert backoff.next_seconds() == 0.5  # the last try is at the limit
    clock.now += 0.5
    assert backoff.next_seconds() is None


def test_its_patience_is_asked_for_at_the_first_failure():
    clock, patience = Clock(), [5.0]
    backoff = Backoff(LIMITS, clock, lambda: 0.5, lambda: patience[0])

    backoff.next_seconds()
    patience[0] = 100.0
    clock.now += 5

    assert backoff.next_seconds() is None


def test_success_begins_anew():
    clock = Clock()
    backoff = Backoff(LIMITS, clock, lambda: 0.5)
    for _ in range(5):
        backoff.next_seconds()
    clock.now += 100

    backoff.succeeded()

    assert backoff.next_seconds() == 1


def test_a_server_that_is_reached_gets_all_the_time_again_and_waits_go_on_growing():
    clock = Clock()
    backoff = Backoff(LIMITS, clock, lambda: 0.5)
    backoff.next_seconds()
    clock.now += 100

    backoff.reached()

    assert backoff.next_seconds() == 2


def test_a_server_that_only_says_to_come_later_gets_no_more_time():
    clock = Clock()
    backoff = Backoff(LIMITS, clock, lambda: 0.5)
    backoff.next_seconds()
    clock.now += LIMITS.unreachable_seconds_max

    backoff.reached()
    backoff.turned_away()

    assert backoff.next_seconds() is None


def test_what_the_server_asks_for_is_kept_to_as_far_as_it_is_believed():
    backoff = Backoff(LIMITS, Clock(), lambda: 0.5)

    assert backoff.next_seconds(20) == 20
    assert backoff.next_seconds(1) == 2
    assert backoff.next_seconds(10_000) == 50


def test_it_tries_for_ever_and_its_waits_stay_bounded():
    limits = ClientLimits(unreachable_seconds_max=math.inf, backoff_seconds_max=3)
    backoff = Backoff(limits, Clock(), lambda: 1.0)

    assert max(backoff.next_seconds() for _ in range(2_000)) == 4.5


def test_no_patience_is_no_second_try():
    assert (
        Backoff(ClientLimits(unreachable_seconds_max=0), Clock(), lambda: 0).next_seconds() is None
    )
