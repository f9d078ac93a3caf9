from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import attrs
import pytest
from moorage.adapters.agents.tools.schema import ArgumentsInvalid, shape_of
from moorage.runtime.errors import InvalidArgument


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    y: Annotated[int, "up is positive"] = 0
    names: list[str] = dataclasses.field(default_factory=list)
    seen: bool = dataclasses.field(default=False, init=False)


@attrs.define
class Box:
    corner: Point
    colour: Colour = Colour.RED
    _size: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    tags: list[str] = attrs.field(factory=list)


class Patch(TypedDict):
    path: str
    mode: NotRequired[Literal["add", "remove"]]


@dataclasses.dataclass
class Tree:
    children: list[Tree]


def schema(annotation):
    return shape_of(annotation, "it").schema


def read(annotation, value):
    return shape_of(annotation, "it").read(value, "arguments")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list, {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict, {"type": "object", "additionalProperties": {}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Colour, {"enum": ["red", "blue"], "type": "string"}),
        (Level, {"enum": [1, 2], "type": "integer"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045
        (Annotated[str, "a path", 7], {"type": "string", "description": "a path"}),
        (Annotated[str, 7], {"type": "string"}),
        (
            Point,
            {
                "type": "object",
                "properties": {
                    "x": {"type": "integer"},
                    "y": {"type": "integer", "description": "up is positive", "default": 0},
                    "names": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["x"],
                "additionalProperties": False,
            },
        ),
        (
            Patch,
            {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "mode": {"enum": ["add", "remove"], "type": "string"},
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_an_annotation_has_a_schema(annotation, expected):
    assert schema(annotation) == expected


def test_classes_nest_and_their_defaults_are_told():
    told = schema(Box)

    assert told["required"] == ["corner"]
    assert told["properties"]["corner"] == schema(Point)
    assert told["properties"]["colour"]["default"] == "red"
    assert told["properties"]["size"] == {"type": "integer", "default": 1}
    assert "default" not in told["properties"]["tags"]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, Colour], {"a": "red"}, {"a": Colour.RED}),
        (Literal["a", 1], 1, 1),
        (Level, 2, Level.HIGH),
        (int | str, "3", "3"),
        (Point | None, None, None),
        (Point, {"x": 1}, Point(1)),
        (Box, {"corner": {"x": 1, "y": 2}, "size": 3}, Box(Point(1, 2), size=3)),
        (Patch, {"path": "a"}, {"path": "a"}),
        (list[Patch], [{"path": "a", "mode": "add"}], [{"path": "a", "mode": "add"}]),
    ],
)
def test_a_value_that_fits_is_made(annotation, value, expected):
    result = read(annotation, value)

    assert (type(result), result) == (type(expected), expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (str, 1, "arguments must be of type string, not 1"),
        (int, True, "arguments must be of type integer, not True"),
        (int, 1.5, "arguments must be of type integer, not 1.5"),
        (int, float("inf"), "arguments must be of type integer, not inf"),
        (float, 10**400, "arguments must be of type number, not 1000"),
        (float, "1", "arguments must be of type number, not '1'"),
        (bool, 1, "arguments must be of type boolean, not 1"),
        (Literal[1], True, "arguments must be one of 1, not True"),
        (Colour, "green", "arguments must be one of 'red', 'blue', not 'green'"),
        (list[int], {}, "arguments must be an array, not {}"),
        (list[int], [1, "2"], "arguments[1] must be of type integer, not '2'"),
        (dict[str, int], [], "arguments must be an object, not []"),
        (dict[str, int], {"a": None}, "arguments.a must be of type integer, not None"),
        (int | None, "1", "of type integer, not '1'; or: arguments must be of type null"),
        (Point, "x", "arguments must be an object, not 'x'"),
        (Point, {"y": 1}, "arguments lacks 'x'"),
        (Point, {"x": 1, "z": 1}, "arguments has no 'z': known are x, y, names"),
        (Point, {"x": 1, "seen": True}, "arguments has no 'seen'"),
        (Box, {"corner": {"x": "a"}}, "arguments.corner.x must be of type integer, not 'a'"),
        (Box, {"corner": {"x": 1}, "size": 0}, "arguments is refused: '_size' must be >= 1"),
        (Patch, {"path": "a", "mode": "x"}, "arguments.mode must be one of 'add', 'remove'"),
        (str, ["x" * 1000], "..."),
    ],
)
def test_a_value_that_does_not_fit_is_told_where_and_why(annotation, value, message):
    with pytest.raises(ArgumentsInvalid) as caught:
        read(annotation, value)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (set, "which has no JSON schema"),
        (tuple[int, int], "which has no JSON schema"),
        (object, "which has no JSON schema"),
        (dict[int, str], "JSON has only str"),
        (Literal[b"a"], "has the choice b'a'"),
        (Annotated[list[complex], "numbers"], "which has no JSON schema"),
        (Tree, "or in itself"),
        (Annotated, "which has no JSON schema"),
    ],
)
def test_an_annotation_without_a_schema_is_refused(annotation, message):
    with pytest.raises(InvalidArgument) as caught:
        shape_of(annotation, "the argument 'a'")

    assert message in str(caught.value)
    assert "the argument 'a'" in str(caught.value)


def test_a_type_that_cannot_be_resolved_is_refused():
    @dataclasses.dataclass
    class Lost:
        there: Nowhere  # noqa: F821

    with pytest.raises(InvalidArgument) as caught:
        shape_of(Lost, "the argument 'a'")

    assert "cannot be resolved" in str(caught.value)
