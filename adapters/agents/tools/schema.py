"""From a Python annotation to a JSON schema, and from JSON back to a value of that annotation."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import attrs
from moorage.runtime.codec import check_plain
from moorage.runtime.errors import InvalidArgument

NESTED_MAX = 32
"""Types within types; one that contains itself goes deeper."""

NO_DEFAULT = object()


class ArgumentsInvalid(Exception):
    """What the model gave does not fit; the message says where and why, for the model to read."""


@attrs.frozen
class Shape:
    """``schema`` is JSON Schema; ``read(value, where)`` makes the Python value of a JSON one, or
    raises ArgumentsInvalid that names ``where``."""

    schema: dict[str, Any]
    read: Callable[[Any, str], Any]


@attrs.frozen
class Property:
    """One argument or field. ``default`` is NO_DEFAULT for one that has to be given."""

    name: str
    shape: Shape
    default: Any = NO_DEFAULT
    required: bool = True


def shape_of(annotation: Any, what: str, depth: int = 0) -> Shape:
    """The shape of an annotation. Raises InvalidArgument, naming ``what``, for one that has no
    JSON schema."""
    if depth > NESTED_MAX:
        raise InvalidArgument(f"{what} is nested more than {NESTED_MAX} deep, or in itself")
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _described(shape_of(arguments[0], what, depth), arguments[1:])
    if origin in (Required, NotRequired):
        return shape_of(arguments[0], what, depth)
    if origin in (Union, types.UnionType):
        return _union([shape_of(one, what, depth + 1) for one in arguments])
    if origin is Literal:
        return _choice(arguments, arguments, what)
    if annotation is list or origin is list:
        (item,) = arguments or (Any,)
        return _list(shape_of(item, what, depth + 1))
    if annotation is dict or origin is dict:
        key, item = arguments or (str, Any)
        if key is not str:
            raise InvalidArgument(f"{what} is a dict with keys of {key!r}: JSON has only str")
        return _map(shape_of(item, what, depth + 1))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice([one.value for one in annotation], list(annotation), what)
    if isinstance(annotation, type) and (properties := _fields(annotation, what, depth)):
        return object_shape(properties[0], properties[1])
    raise InvalidArgument(
        f"{what} has the type {annotation!r}, which has no JSON schema: use str, int, float, bool, "
        "None, list, dict, Literal, unions, enums, dataclasses, attrs classes or TypedDict"
    )


def object_shape(properties: list[Property], make: Callable[..., Any]) -> Shape:
    """The shape of an object whose values are passed to ``make`` by name."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {one.name: _with_default(one) for one in properties},
        "required": [one.name for one in properties if one.required],
        "additionalProperties": False,
    }
    by_name = {one.name: one for one in properties}

    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise ArgumentsInvalid(f"{where} must be an object, not {_shown(value)}")
        if unknown := [name for name in value if name not in by_name]:
            known = ", ".join(by_name) or "none"
            raise ArgumentsInvalid(f"{where} has no {unknown[0]!r}: known are {known}")
        if missing := [name for name in schema["required"] if name not in value]:
            raise ArgumentsInvalid(f"{where} lacks {', '.join(map(repr, missing))}")
        values = {
            name: by_name[name].shape.read(item, f"{where}.{name}") for name, item in value.items()
        }
        try:
            return make(**values)
        except Exception as error:  # a class may refuse its values
            raise ArgumentsInvalid(f"{where} is refused: {error}") from error

    return Shape(schema, read)


def _with_default(one: Property) -> dict[str, Any]:
    if one.default is NO_DEFAULT:
        return one.shape.schema
    default = one.default.value if isinstance(one.default, enum.Enum) else one.default
    try:
        check_plain(default)
    except InvalidArgument:
        return one.shape.schema
    return {**one.shape.schema, "default": default}


def _fields(kind: type, what: str, depth: int) -> tuple[list[Property], Callable[..., Any]] | None:
    """The fields of a class and how to make one, or None if it is no class with fields."""
    if not (typing.is_typeddict(kind) or dataclasses.is_dataclass(kind) or attrs.has(kind)):
        return None
    hints = type_hints(kind, what)

    def shape(name: str) -> Shape:
        return shape_of(hints[name], f"{what}, field {name!r} of {kind.__name__}", depth + 1)

    if typing.is_typeddict(kind):
        # postponed annotations hide NotRequired from the class, but not from us
        marks = {name: get_origin(hint) for name, hint in hints.items()}
        usual = kind.__required_keys__  # type: ignore[attr-defined]
        needed = {n for n in usual if marks[n] is not NotRequired}
        needed |= {n for n in hints if marks[n] is Required}
        return [Property(n, shape(n), required=n in needed) for n in hints], dict
    found: list[Property] = []
    if attrs.has(kind):
        for one in attrs.fields(kind):
            if one.init:
                given = one.default is attrs.NOTHING
                plain = one.default if not given and not _is_factory(one.default) else NO_DEFAULT
                found.append(Property(one.alias, shape(one.name), plain, given))
    else:
        for field in dataclasses.fields(kind):
            if field.init:
                plain = NO_DEFAULT if field.default is dataclasses.MISSING else field.default
                given = plain is NO_DEFAULT and field.default_factory is dataclasses.MISSING
                found.append(Property(field.name, shape(field.name), plain, given))
    return found, kind


def _is_factory(default: Any) -> bool:
    return isinstance(default, attrs.Factory)  # type: ignore[arg-type]


def type_hints(owner: Any, what: str, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The annotations of ``owner`` as types. Raises InvalidArgument for one that names nothing."""
    try:
        return typing.get_type_hints(owner, localns=dict(names or {}), include_extras=True)
    except Exception as error:
        raise InvalidArgument(
            f"{what} has an annotation that cannot be resolved ({error}): import the type outside "
            "of TYPE_CHECKING, and define it at the top of its module"
        ) from error


def _described(shape: Shape, extras: tuple[Any, ...]) -> Shape:
    texts = [extra for extra in extras if type(extra) is str]
    if not texts:
        return shape
    return Shape({**shape.schema, "description": " ".join(texts)}, shape.read)


def _union(shapes: list[Shape]) -> Shape:
    def read(value: Any, where: str) -> Any:
        reasons = []
        for shape in shapes:
            try:
                return shape.read(value, where)
            except ArgumentsInvalid as error:
                reasons.append(str(error))
        raise ArgumentsInvalid("; or: ".join(reasons))

    return Shape({"anyOf": [shape.schema for shape in shapes]}, read)


def _choice(written: typing.Sequence[Any], values: typing.Sequence[Any], what: str) -> Shape:
    for one in written:
        if type(one) not in (str, int, bool, type(None)):
            raise InvalidArgument(f"{what} has the choice {one!r}: use str, int, bool or None")

    def read(value: Any, where: str) -> Any:
        for one, result in zip(written, values, strict=True):
            if type(one) is type(value) and one == value:  # True is not 1
                return result
        choices = ", ".join(repr(one) for one in written)
        raise ArgumentsInvalid(f"{where} must be one of {choices}, not {_shown(value)}")

    schema: dict[str, Any] = {"enum": list(written)}
    if len(kinds := {type(one) for one in written}) == 1:
        schema["type"] = _NAMES[kinds.pop()]
    return Shape(schema, read)


def _list(item: Shape) -> Shape:
    def read(value: Any, where: str) -> Any:
        if type(value) is not list:
            raise ArgumentsInvalid(f"{where} must be an array, not {_shown(value)}")
        return [item.read(one, f"{where}[{index}]") for index, one in enumerate(value)]

    return Shape({"type": "array", "items": item.schema}, read)


def _map(item: Shape) -> Shape:
    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise ArgumentsInvalid(f"{where} must be an object, not {_shown(value)}")
        return {name: item.read(one, f"{where}.{name}") for name, one in value.items()}

    return Shape({"type": "object", "additionalProperties": item.schema}, read)


def _exactly(kind: type) -> Shape:
    name = _NAMES[kind]

    def read(value: Any, where: str) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int and abs(value) < 2**1023:
            return float(value)
        if kind is int and type(value) is float and math.isfinite(value) and value.is_integer():
            return int(value)  # JSON has one kind of number
        raise ArgumentsInvalid(f"{where} must be of type {name}, not {_shown(value)}")

    return Shape({"type": name}, read)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."


_NAMES: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


class _Simple(dict[Any, Shape]):
    """Shapes of types without parts; annotations that cannot be hashed are in no dict."""

    def __contains__(self, annotation: object) -> bool:
        try:
            return super().__contains__(annotation)
        except TypeError:
            return False


_SIMPLE = _Simple({kind: _exactly(kind) for kind in _NAMES})
_SIMPLE[None] = _SIMPLE[type(None)]
_SIMPLE[Any] = Shape({}, lambda value, where: value)
