from __future__ import annotations

from datetime import UTC

import pytest
from moorage.adapters.sinks.text import (
    ago,
    block,
    clock,
    flowing,
    one_line,
    pretty,
    shorten,
    summary,
    timestamp,
)

SECOND = 1_000_000_000


@pytest.mark.parametrize("make", [one_line, flowing, block, pretty, summary])
@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\r", "\x07", "\u202e", "\x00"])
def test_nothing_that_a_terminal_acts_upon_comes_through(make, text):
    assert text not in make(f"a{text}b")


def test_line_breaks_are_spelled_out_or_kept_as_asked():
    assert one_line("a\nb\tc") == "a\\nb\\x09c"
    assert flowing("a\nb\tc") == "a\\nb\tc"
    assert block("a\nb\tc") == "a\nb\tc"


def test_words_of_other_scripts_stay_as_they_are():
    assert one_line("Grüße 你好") == "Grüße 你好"


def test_shortening_never_exceeds_the_width():
    assert [shorten("abc" + rest, 3) for rest in ("", "d")] + [
        shorten("abc", width) for width in (1, 0)
    ] == ["abc", "ab…", "…", "…"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hello\nworld", "hello\\nworld"),
        (None, ""),
        ({"a": 1, "b": "x y", "none": None, "c": "word"}, 'a=1 b="x y" c=word'),
        ([1, "two"], '[1, "two"]'),
        (b"hi", '{"$bytes": "aGk="}'),
        ({}, ""),
    ],
)
def test_a_summary_shows_text_as_text_and_maps_as_names_and_values(value, text):
    assert text == summary(value)


@pytest.mark.parametrize(
    "value", ["x" * 10_000_000, {"a": "x " * 5_000_000, "b": 1}, [["x"] * 1000], b"x" * 10_000_000]
)
def test_a_summary_is_never_longer_than_asked(value):
    assert len(summary(value, 50)) == 50


def test_times_are_shown_to_the_digit():
    time_ns = 1_700_000_000 * SECOND + 123_456_789

    assert clock(time_ns, UTC) == "22:13:20.123"
    assert timestamp(time_ns, UTC) == "2023-11-14 22:13:20.123456+00:00"


@pytest.mark.parametrize("time_ns", [2**90, -(2**90)])
def test_a_time_that_no_calendar_has_is_shown_as_a_number(time_ns):
    assert [str(time_ns)] * 2 == [clock(time_ns, UTC), timestamp(time_ns, UTC)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (3, "3 s"), (119, "119 s"), (600, "10 min"), (36_000, "10 h"), (864_000, "10 d")],
)
def test_how_long_ago_is_told_in_one_unit(seconds, text):
    assert text == ago(10**18, 10**18 - seconds * SECOND)
