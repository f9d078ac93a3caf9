from __future__ import annotations

import math

import pytest
from moorage.adapters.gateways.http_client import ClientLimits
from moorage.adapters.gateways.http_client.limits import limit_of_time
from moorage.runtime import InvalidArgument


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connections_max", 0),
        ("connections_max", 1.5),
        ("poll_seconds", 0),
        ("silence_seconds_max", math.nan),
        ("unreachable_seconds_max", -1),
        ("event_bytes_max", "1"),
    ],
)
def test_a_value_out_of_range_names_its_limit(name, value):
    with pytest.raises(InvalidArgument, match=name):
        ClientLimits(**{name: value})


def test_one_may_wait_for_a_server_for_ever_or_not_at_all():
    assert ClientLimits(unreachable_seconds_max=math.inf).unreachable_seconds_max == math.inf
    assert ClientLimits(unreachable_seconds_max=0).unreachable_seconds_max == 0


@pytest.mark.parametrize("value", [-1, math.nan, "1", True])
def test_the_limit_of_a_server_that_was_never_there_may_be_left_out(value):
    assert ClientLimits(first_seconds_max=None) == ClientLimits()
    with pytest.raises(InvalidArgument, match="first_seconds_max must be None or a number"):
        ClientLimits(first_seconds_max=value)


def test_no_limit_of_time_is_infinity():
    assert limit_of_time("x", None) == math.inf
    assert limit_of_time("x", 2) == 2.0
    for wrong in (-1, math.nan, "1", True):
        with pytest.raises(InvalidArgument, match="x must be"):
            limit_of_time("x", wrong)
