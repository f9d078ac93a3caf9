"""How often a worker may crash, and how long it then waits."""

from __future__ import annotations

import pytest
from moorage.runtime.restarts import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    RestartIntensity,
)


@pytest.mark.promise(14)
def test_one_crash_more_than_allowed_within_the_period_is_too_many() -> None:
    intensity = RestartIntensity(restarts_max=3, period_seconds=60.0)

    pauses = [intensity.record(now) for now in (0.0, 1.0, 2.0, 3.0)]

    assert pauses == [0.05, 0.1, 0.2, None]


def test_crashes_before_the_period_are_forgotten() -> None:
    intensity = RestartIntensity(restarts_max=1, period_seconds=10.0)

    assert intensity.record(0.0) == BACKOFF_FIRST_SECONDS
    assert intensity.record(10.5) == BACKOFF_FIRST_SECONDS
    assert intensity.record(20.5) is None  # a crash at the very edge still counts


def test_a_session_that_may_not_crash_at_all_is_given_up_at_once() -> None:
    assert RestartIntensity(restarts_max=0, period_seconds=60.0).record(5.0) is None


def test_forgiving_starts_the_count_anew() -> None:
    intensity = RestartIntensity(restarts_max=1, period_seconds=60.0)
    intensity.record(0.0)

    intensity.forgive()

    assert intensity.record(1.0) == BACKOFF_FIRST_SECONDS


def test_pauses_grow_to_a_longest_one_however_many_crashes_are_allowed() -> None:
    intensity = RestartIntensity(restarts_max=5_000, period_seconds=1e9)

    pauses = [intensity.record(float(now)) or 0.0 for now in range(2_000)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == BACKOFF_MAX_SECONDS
