from __future__ import annotations

import math

import attrs
import pytest
from moorage.adapters.gateways.http import HttpLimits
from moorage.runtime import InvalidArgument


def test_every_limit_has_a_default_that_is_allowed():
    limits = HttpLimits()

    assert all(value > 0 for value in attrs.asdict(limits).values())


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(HttpLimits)])
@pytest.mark.parametrize("value", [0, -1, math.nan, "5", None, True])
def test_what_is_no_limit_is_refused_by_name(name, value):
    with pytest.raises(InvalidArgument, match=name):
        HttpLimits(**{name: value})


def test_a_count_is_whole_and_finite_and_a_number_need_not_be():
    with pytest.raises(InvalidArgument, match="whole number"):
        HttpLimits(streams_max=1.5)
    with pytest.raises(InvalidArgument, match="whole number"):
        HttpLimits(streams_max=math.inf)

    assert HttpLimits(requests_per_second_max=math.inf).requests_per_second_max == math.inf
