from __future__ import annotations

import pytest
from moorage.adapters.agents.provider.provider_times import time_ns_of


@pytest.mark.parametrize(
    ("timestamp", "time_ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:00.000001+01:00", 1_000),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
    ],
)
def test_a_time_with_a_zone_is_nanoseconds_since_1970(timestamp: str, time_ns: int) -> None:
    assert time_ns_of(timestamp) == time_ns


@pytest.mark.parametrize("timestamp", [None, 5, "yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_cannot_be_read_is_none(timestamp: object) -> None:
    assert time_ns_of(timestamp) is None
