from __future__ import annotations

import attrs
import pytest
from moorage.runtime.events import (
    AGENT_TYPES,
    RUN_TERMINAL_TYPES,
    RUN_TYPES,
    SCHEMA_VERSIONS,
    SESSION_TYPES,
    STATE_TYPES,
    UPCASTERS,
    Event,
    lift,
    same_data,
    schema_version,
)
from moorage.runtime.runs import RUN_TERMINAL_STATES


def test_the_families_of_types_do_not_overlap() -> None:
    assert not SESSION_TYPES & RUN_TYPES
    assert not STATE_TYPES & AGENT_TYPES
    assert STATE_TYPES == SESSION_TYPES | RUN_TYPES


def test_every_terminal_state_has_its_terminal_event() -> None:
    assert {f"run_{state}" for state in RUN_TERMINAL_STATES} == RUN_TERMINAL_TYPES


def test_an_event_cannot_be_changed() -> None:
    event = Event("s", 1, 2, "message_sent", None, {})

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.seq = 2  # type: ignore[misc]


def test_upcasters_lift_one_version_at_a_time() -> None:
    upcasters = {
        ("note", 1): lambda data: {**data, "second": 2},
        ("note", 2): lambda data: {**data, "third": data["second"] + 1},
    }

    lifted = lift("note", 1, {"first": 1}, versions={"note": 3}, upcasters=upcasters)

    assert lifted == (3, {"first": 1, "second": 2, "third": 3})
    assert lift("note", 2, {"second": 5}, versions={"note": 3}, upcasters=upcasters) == (
        3,
        {"second": 5, "third": 6},
    )


def test_what_a_newer_version_wrote_passes_through() -> None:
    data = {"unknown": ["field"]}

    assert (9, data) == lift("run_started", 9, data)
    assert (4, data) == lift("a_type_of_tomorrow", 4, data)


def test_a_missing_upcaster_is_an_error() -> None:
    with pytest.raises(KeyError):
        lift("note", 1, {}, versions={"note": 2}, upcasters={})


def test_every_older_version_of_our_types_has_an_upcaster() -> None:
    missing = [
        (type, version)
        for type, current in SCHEMA_VERSIONS.items()
        for version in range(1, current)
        if (type, version) not in UPCASTERS
    ]

    assert not missing


def test_a_type_without_an_entry_is_at_version_one() -> None:
    assert schema_version("message_sent", {}) == 1
    assert schema_version("message_sent", {"message_sent": 4}) == 4


def test_data_is_the_same_data_when_it_is_equal_or_both_are_not_a_number() -> None:
    nan = float("nan")

    assert same_data({"a": [1, 2.0], "b": None}, {"b": None, "a": [1, 2.0]})
    assert same_data({"a": nan}, {"a": float("nan")})
    assert same_data([nan, {"a": nan}], [nan, {"a": nan}])
    assert not same_data({"a": nan}, {"a": 1.0})
    assert not same_data({"a": 1}, {"a": 2})
    assert not same_data({"a": 1}, {"b": 1})
    assert not same_data([1], [1, 1])
    assert not same_data([[], [1, [2, 3]]], [[], [1, [3, 2]]])


@pytest.mark.parametrize(
    ("one", "other"),
    [(True, 1), (1, 1.0), (0.0, False), ("a", b"a"), ({}, []), (None, False)],
    ids=repr,
)
def test_values_of_different_types_are_not_the_same_data_however_deep(one, other) -> None:
    assert not same_data(one, other)
    assert not same_data({"n": [one]}, {"n": [other]})


def test_data_may_be_nested_as_deep_as_it_can_be_encoded() -> None:
    one, other, different = 1, 1, 2
    for _ in range(2_000):
        one, other, different = {"a": [one]}, {"a": [other]}, {"a": [different]}

    assert same_data(one, other)
    assert not same_data(one, different)
