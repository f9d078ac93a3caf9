from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from typing import NamedTuple

import attrs
import pytest
from moorage.adapters.agents.tools.results import cut, plain, text_of
from moorage.runtime.errors import InvalidArgument


class Colour(enum.Enum):
    RED = "red"


class Word(str):
    pass


class Pair(NamedTuple):
    a: int
    b: int


@dataclasses.dataclass
class Point:
    x: int
    colour: Colour = Colour.RED


@attrs.define
class Box:
    corner: Point
    tags: frozenset[str] = frozenset({"a"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": [1, 2.5, True, b"x"]}, {"a": [1, 2.5, True, b"x"]}),
        ((1, 2), [1, 2]),
        (Pair(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (Word("a"), "a"),
        ({"gr\udcfc\udcdfe": "\ud800ö"}, {"gr??e": "?ö"}),
        (Box(Point(1)), {"corner": {"x": 1, "colour": "red"}, "tags": ["a"]}),
        ({1: "a", Colour.RED: "b"}, {"1": "a", "red": "b"}),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
    ],
)
def test_what_a_tool_returns_becomes_plain_data(value, expected):
    result = plain(value)

    assert (type(result), result) == (type(expected), expected)


ROUND: list[object] = []
ROUND.append(ROUND)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "result is a object, which is no plain data"),
        ({"a": [open]}, "result.a[0] is a builtin_function_or_method"),
        (Point, "result is a type"),
        (ROUND, "or in itself"),
        ({(1, 2): 3}, "has the key (1, 2)"),
        (2**70, "result"),
    ],
)
def test_what_cannot_be_plain_data_is_refused(value, message):
    with pytest.raises(InvalidArgument) as caught:
        plain(value)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("as it is\n", "as it is\n"),
        ({"ä": [1, None]}, '{"ä": [1, null]}'),
        ([b"abc"], '["<3 bytes>"]'),
        (7, "7"),
    ],
)
def test_a_model_reads_text_as_it_is_and_the_rest_as_json(output, text):
    assert text_of(output) == text


def test_a_result_within_the_limit_is_left_alone():
    assert cut("x" * 100, 100) == "x" * 100
    assert cut({"a": 1}, 100) == {"a": 1}


@pytest.mark.parametrize(
    ("output", "shown", "size"),
    [("x" * 101, "x" * 100, 101), ("ä" * 51, "ä" * 50, 102), (["y" * 200], '["' + "y" * 98, 204)],
)
def test_a_result_over_the_limit_is_cut_and_says_so(output, shown, size):
    expected = f"{shown}\n[cut: the result has {size} bytes, the first 100 are shown]"

    assert cut(output, 100) == expected


def test_raw_bytes_count_too():
    assert cut({"data": b"x" * 1000}, 100).startswith('{"data": "<1000 bytes>"}\n[cut: ')
