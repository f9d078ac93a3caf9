from __future__ import annotations

import math

import attrs
import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.limits import SupervisorLimits

UNITS = ("max", "seconds", "bytes", "slots")
FIELDS = {field.name: field for field in attrs.fields(SupervisorLimits)}
WHOLE = [name for name, field in FIELDS.items() if field.metadata.get("whole")]
TIMES = [name for name in FIELDS if name not in WHOLE]


@pytest.mark.promise(17)
@pytest.mark.parametrize("name", FIELDS)
def test_every_limit_has_a_unit_in_its_name_and_a_finite_default(name: str) -> None:
    assert any(unit in name.split("_") for unit in UNITS)
    assert math.isfinite(getattr(SupervisorLimits(), name))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [-1, None, "7", math.nan, True])
def test_a_limit_out_of_range_is_refused_by_name_and_value(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        SupervisorLimits(**{name: value})  # type: ignore[arg-type]

    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_count_is_a_whole_number(name: str) -> None:
    with pytest.raises(InvalidArgument, match="whole number"):
        SupervisorLimits(**{name: 5_000.5})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TIMES)
def test_a_time_may_be_fractional_whole_or_infinite(name: str) -> None:
    for value in (1, 0.75, math.inf):
        limits = SupervisorLimits(**{name: value})  # type: ignore[arg-type]

        assert value == getattr(limits, name)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("digits", [20, 400, 10_000])
def test_a_number_that_no_clock_or_counter_holds_is_refused(name: str, digits: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"{name} must be at most 2\*\*63 - 1"):
        SupervisorLimits(**{name: 10**digits})  # type: ignore[arg-type]

    largest = SupervisorLimits(**{name: 2**63 - 1})  # type: ignore[arg-type]
    assert getattr(largest, name) == 2**63 - 1


def test_at_least_one_run_must_be_able_to_run() -> None:
    with pytest.raises(InvalidArgument, match="runs_running_max must be a whole number of at leas"):
        SupervisorLimits(runs_running_max=0)
    assert SupervisorLimits(tail_cache_bytes_max=0).tail_cache_bytes_max == 0


def test_limits_are_given_by_name_and_never_change() -> None:
    with pytest.raises(TypeError):
        SupervisorLimits(5)  # type: ignore[call-arg]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        SupervisorLimits().idle_seconds = 1.0  # type: ignore[misc]
