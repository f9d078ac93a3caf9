from __future__ import annotations

import math

import pytest
from moorage.runtime import InvalidArgument, RecordTooLarge, SupervisorLimits
from moorage.runtime.arguments import (
    METADATA_BYTES_MAX,
    REASON_BYTES_MAX,
    SUMMARY_BYTES_MAX,
    TAG_BYTES_MAX,
    TAGS_MAX,
    check_choice,
    check_count,
    check_drain,
    check_metadata,
    check_reason,
    check_run_id,
    check_seconds,
    check_slots,
    check_summary,
    check_tags,
    check_types,
)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (math.inf, None), (0, 0.0), (3, 3.0), (0.25, 0.25)]
)
def test_seconds_are_a_number_or_no_limit(value, expected):
    assert check_seconds("timeout_seconds", value) == expected


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, -math.inf, "1", True, 1j, [1]])
def test_what_is_no_number_of_seconds_is_refused_by_name_and_value(value):
    with pytest.raises(InvalidArgument) as refused:
        check_seconds("timeout_seconds", value)

    assert "timeout_seconds" in str(refused.value)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize("digits", [400, 10_000])
def test_numbers_that_nothing_can_hold_are_refused_and_named_by_their_size(digits):
    with pytest.raises(InvalidArgument, match=r"timeout_seconds .* number of \d+ bits"):
        check_seconds("timeout_seconds", 10**digits)
    with pytest.raises(InvalidArgument, match=r"limit .* number of \d+ bits"):
        check_count("limit", 10**digits, minimum=1, maximum=10)

    assert check_seconds("timeout_seconds", 10**300) == 1e300


def test_seconds_may_have_a_minimum_of_their_own():
    assert check_seconds("x", 5, minimum=5) == 5
    with pytest.raises(InvalidArgument, match="at least 5"):
        check_seconds("x", 4.9, minimum=5)


@pytest.mark.parametrize("value", [1, 5, 10])
def test_a_count_within_its_bounds_is_returned(value):
    assert check_count("limit", value, minimum=1, maximum=10) == value


@pytest.mark.parametrize("value", [0, 11, 1.0, True, "1", None])
def test_a_count_outside_its_bounds_is_refused_with_both(value):
    with pytest.raises(InvalidArgument, match="limit must be a whole number from 1 to 10"):
        check_count("limit", value, minimum=1, maximum=10)


def test_a_run_id_is_a_name():
    assert check_run_id("run_1") == "run_1"
    for wrong in (None, 5, [], "", "run\n"):
        with pytest.raises(InvalidArgument, match="run id"):
            check_run_id(wrong)


def test_a_choice_is_one_of_those_there_are():
    assert check_choice("mode", "create", ("create", "resume")) == "create"
    for wrong in ("Create", None, ["create"], 5):
        with pytest.raises(InvalidArgument, match="one of create, resume"):
            check_choice("mode", wrong, ("create", "resume"))


def test_slots_are_a_count_from_one_or_left_out():
    assert (check_slots(None), check_slots(1), check_slots(10_000)) == (None, 1, 10_000)
    for wrong in (0, -1, 10_001, 1.5, True):
        with pytest.raises(InvalidArgument, match="slots"):
            check_slots(wrong)


def test_tags_are_a_small_map_of_text_that_is_copied():
    tags = {"a": "1", "ü": ""}
    checked = check_tags(tags)
    tags["b"] = "2"

    assert checked == {"a": "1", "ü": ""}
    assert check_tags(None) is None
    assert check_tags({str(number): "" for number in range(TAGS_MAX)}) is not None


@pytest.mark.parametrize(
    "tags",
    [
        [],
        "a",
        {1: "a"},
        {"a": 1},
        {"a": None},
        {"": "a"},
        {"a\n": "a"},
        {"a": "x" * (TAG_BYTES_MAX + 1)},
        {"x" * (TAG_BYTES_MAX + 1): "a"},
        {"a": "\ud800"},
        {str(number): "" for number in range(TAGS_MAX + 1)},
    ],
    ids=lambda tags: str(tags)[:20].encode("ascii", "replace").decode(),
)
def test_tags_that_are_none_are_refused(tags):
    with pytest.raises(InvalidArgument):
        check_tags(tags)


def test_the_largest_tags_there_may_be_fit():
    tags = {f"{number:03}" + "k" * 253: "v" * TAG_BYTES_MAX for number in range(TAGS_MAX)}

    assert check_tags(tags) == tags


def test_metadata_is_a_bounded_map_that_is_copied():
    metadata = {"a": [1]}
    checked = check_metadata(metadata)
    metadata["a"].append(2)

    assert checked == {"a": [1]}
    assert check_metadata(None) is None
    for wrong in ([], "a", {1: 2}, {"a": {1}}):
        with pytest.raises(InvalidArgument):
            check_metadata(wrong)
    with pytest.raises(RecordTooLarge) as refused:
        check_metadata({"a": "x" * METADATA_BYTES_MAX})
    assert refused.value.limit == METADATA_BYTES_MAX


@pytest.mark.parametrize("kind", [set, frozenset, list, tuple])
def test_a_filter_of_types_is_any_collection_of_names(kind):
    assert check_types(kind(["a", "b"])) == frozenset({"a", "b"})
    assert check_types(None) is None


@pytest.mark.parametrize("types", ["a", b"a", set(), [], {"a": 1}, {1}, {""}, {"a\n"}, 5], ids=repr)
def test_a_filter_that_is_none_is_refused(types):
    with pytest.raises(InvalidArgument):
        check_types(types)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("a\nb\x00", "a\nb\x00"),
        (" ", " "),
        ("\ud800 cut", "? cut"),
        ("é" * (REASON_BYTES_MAX // 2), "é" * (REASON_BYTES_MAX // 2)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_reason_is_any_text(value, expected):
    assert check_reason(value) == expected


@pytest.mark.parametrize("value", ["é" * (REASON_BYTES_MAX // 2) + "x", 5, b"stop", 0, []])
def test_what_is_no_text_or_too_long_is_no_reason(value):
    with pytest.raises(InvalidArgument, match="reason"):
        check_reason(value)


@pytest.mark.parametrize(
    ("timeout_seconds", "expected"), [(None, 7.0), (0, 0.0), (3, 3.0), (math.inf, math.inf)]
)
def test_a_drain_without_a_time_takes_that_of_the_limits(timeout_seconds, expected):
    limits = SupervisorLimits(drain_seconds=7)

    command = check_drain(limits, timeout_seconds, "finish")

    assert (command.timeout_seconds, command.queued) == (expected, "finish")
    assert check_drain(SupervisorLimits(drain_seconds=math.inf), None, "keep").timeout_seconds > 1e9


@pytest.mark.parametrize("value", [None, "First words", "x" * SUMMARY_BYTES_MAX])
def test_a_summary_is_one_line_of_text_or_none(value):
    assert check_summary(value) == value


@pytest.mark.parametrize("value", ["", "a\nb", "x" * (SUMMARY_BYTES_MAX + 1), 5])
def test_what_is_no_line_is_no_summary(value):
    with pytest.raises(InvalidArgument, match="summary"):
        check_summary(value)
