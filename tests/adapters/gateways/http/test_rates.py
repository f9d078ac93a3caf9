from __future__ import annotations

import pytest
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http.problems import TooManyRequests
from moorage.adapters.gateways.http.rates import RequestRates


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rates(**limits):
    clock = Clock()
    return RequestRates(HttpLimits(**limits), clock), clock


def test_a_burst_is_taken_and_then_so_many_a_second():
    taking, clock = rates(requests_per_second_max=10, requests_burst_max=3)
    for _ in range(3):
        taking.take("a")
    with pytest.raises(TooManyRequests) as refused:
        taking.take("a")
    assert refused.value.retry_after_seconds == pytest.approx(0.1)

    clock.now += refused.value.retry_after_seconds
    taking.take("a")
    with pytest.raises(TooManyRequests):
        taking.take("a")


def test_being_refused_costs_nothing():
    taking, clock = rates(requests_per_second_max=1, requests_burst_max=1)
    taking.take("a")
    for _ in range(5):
        clock.now += 0.15
        with pytest.raises(TooManyRequests):
            taking.take("a")
    clock.now += 0.26

    taking.take("a")


def test_clients_do_not_count_for_one_another():
    taking, _ = rates(requests_per_second_max=1, requests_burst_max=1)
    taking.take("a")

    taking.take("b")


def test_no_more_clients_are_remembered_than_the_limit_says():
    taking, _ = rates(clients_max=10)
    for number in range(1_000):
        taking.take(str(number))

    assert len(taking) == 10


def test_a_long_quiet_time_saves_up_no_more_than_a_burst():
    taking, clock = rates(requests_per_second_max=100, requests_burst_max=2)
    taking.take("a")
    clock.now += 1_000
    taking.take("a")
    taking.take("a")
    with pytest.raises(TooManyRequests):
        taking.take("a")
