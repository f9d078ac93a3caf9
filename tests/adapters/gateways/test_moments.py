from __future__ import annotations

from datetime import datetime

import pytest
from moorage.adapters.gateways.moments import SECOND_NS, parse_moment
from moorage.runtime import InvalidArgument

NOW_NS = 1_800_000_000 * SECOND_NS


@pytest.mark.parametrize(
    ("text", "seconds_ago"), [("30s", 30), ("5m", 300), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_moment_is_some_time_ago(text, seconds_ago):
    assert parse_moment(text, NOW_NS) == NOW_NS - seconds_ago * SECOND_NS


def test_what_was_before_all_times_is_the_first_of_them():
    assert parse_moment("999999999w", NOW_NS) == 0


def test_a_moment_is_a_time_with_its_zone():
    assert parse_moment("2026-01-31T12:00:00.5+01:00", NOW_NS) == 1_769_857_200_500_000_000


def test_a_date_is_its_first_moment_here():
    here = datetime(2026, 1, 31).astimezone()

    assert parse_moment("2026-01-31", NOW_NS) == int(here.timestamp()) * SECOND_NS


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7 d", "2026-13-01", "-5m"])
def test_what_is_no_moment_is_told_with_the_forms(text):
    with pytest.raises(InvalidArgument, match="24h"):
        parse_moment(text, NOW_NS)


def test_a_moment_before_1970_is_refused():
    with pytest.raises(InvalidArgument, match="before 1970"):
        parse_moment("1969-01-01", NOW_NS)
