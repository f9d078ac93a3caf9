from __future__ import annotations

import math

import pytest
from moorage.adapters.gateways.http_client.encoding import given, limits_of_time, plain
from moorage.runtime import InvalidArgument


def test_plain_data_becomes_reversible_json():
    assert plain({"b": b"hi", "$k": math.inf}, "input") == {
        "b": {"$bytes": "aGk="},
        "$$k": {"$float": "inf"},
    }
    with pytest.raises(InvalidArgument, match=r"input\['x'\]"):
        plain({"x": {1, 2}}, "input")


def test_what_is_not_given_is_not_sent():
    assert given(a=None, b=0, c="") == {"b": 0, "c": ""}
    assert limits_of_time(a=None, b=math.inf, c=1.5) == {"c": 1.5}
