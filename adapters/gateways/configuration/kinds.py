"""What a setting may be: how it is told, checked, read from text, and described to editors.

Values of a file have their types; those of the environment, and what ``${NAME}`` stands for, are
text that is read as the setting's kind wants it. Nothing is turned into another type silently.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.retention_settings import bytes_from, seconds_from

from ..frame import CommandFailed
from ..store_spec import parse_spec
from .scalars import core_value


class Unfit(Exception):
    """A value that is not what a setting takes. ``why`` says more than what was expected would."""

    def __init__(self, why: str | None = None) -> None:
        super().__init__(why)
        self.why = why


@attrs.frozen
class Kind:
    """``take`` is given a value, whether it is text that stands for one, and the directory from
    which relative paths count; it returns the setting's value or raises Unfit."""

    expected: str
    take: Callable[[Any, bool, Path], Any]
    schema: Mapping[str, Any]
    is_map: bool = False


def _text(value: Any, is_text: bool, directory: Path) -> str:
    if type(value) is not str or not value.strip() or "\0" in value:
        raise Unfit
    return value


def _flag(value: Any, is_text: bool, directory: Path) -> bool:
    if is_text:
        value = {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
    if type(value) is not bool:
        raise Unfit
    return value


def place_in(directory: Path, path: str | Path) -> Path:
    """The path as it counts from a directory. Raises Unfit for the home of nobody."""
    try:
        return directory / Path(path).expanduser()
    except RuntimeError:
        raise Unfit(f"{str(path)!r} begins in the home of a user that there is not") from None


def _path(value: Any, is_text: bool, directory: Path) -> Path:
    return place_in(directory, _text(value, is_text, directory))


def _texts(value: Any, is_text: bool, directory: Path) -> tuple[str, ...]:
    if is_text and type(value) is str:
        value = [part.strip() for part in value.split(",")] if value.strip() else []
    if not isinstance(value, (list, tuple)):
        raise Unfit
    return tuple(_text(part, is_text, directory) for part in value)


def _text_map(value: Any, is_text: bool, directory: Path) -> dict[str, str]:
    for name, text in _map(value, is_text, directory).items():
        if type(text) is not str:
            raise Unfit(f"{name} is {text!r}: its value must be a text, in quotes if need be")
    return dict(value)


def _map(value: Any, is_text: bool, directory: Path) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unfit
    return dict(value)


def _plain(value: Any, is_text: bool, directory: Path) -> Any:
    if not is_text or type(value) is not str:
        return value
    if value[:1] in "[{" and value:
        try:
            return json.loads(value)
        except ValueError as error:
            raise Unfit(f"it begins like JSON, which it is not: {error}") from None
    return core_value(value)


def _store(value: Any, is_text: bool, directory: Path) -> str:
    """With the place of a file or directory told from ``directory``."""
    text = _text(value, is_text, directory)
    try:
        spec = parse_spec(text)
    except CommandFailed as error:
        raise Unfit(str(error)) from None
    if spec.path is None:
        return text
    return attrs.evolve(spec, place=str(place_in(directory, spec.path))).absolute_text


TEXT = Kind("a text", _text, {"type": "string", "minLength": 1})
FLAG = Kind("true or false", _flag, {"type": "boolean"})
PATH = Kind("a path", _path, {"type": "string", "minLength": 1})
TEXTS = Kind("a list of texts", _texts, {"type": "array", "items": {"type": "string"}})
TEXT_MAP = Kind(
    "a map of names to texts",
    _text_map,
    {"type": "object", "additionalProperties": {"type": "string"}},
    is_map=True,
)
MAP = Kind("a map", _map, {"type": "object"}, is_map=True)
PLAIN = Kind("a value", _plain, {})
PLAINS = Kind(
    "a list", lambda value, *_: _is_list(_plain(value, *_)), {"type": "array", "items": {}}
)
STORE = Kind("a store, like journal:DIR or postgres:DSN", _store, {"type": "string"})


def _is_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit
    return value


def choice(*words: str) -> Kind:
    """One of some words."""

    def take(value: Any, is_text: bool, directory: Path) -> str:
        if value not in words:
            raise Unfit
        return str(value)

    return Kind(f"one of {', '.join(words)}", take, {"enum": list(words)})


def whole(minimum: int) -> Kind:
    """A whole number."""

    def take(value: Any, is_text: bool, directory: Path) -> int:
        value = core_value(value) if is_text and type(value) is str else value
        if type(value) is not int or not minimum <= value < 2**63:
            raise Unfit
        return value

    schema = {"type": "integer", "minimum": minimum}
    return Kind(f"a whole number of at least {minimum}", take, schema)


def number(minimum: float) -> Kind:
    """A number; ``.inf`` in YAML and ``inf`` in TOML are no limit."""

    def take(value: Any, is_text: bool, directory: Path) -> float:
        value = _number_in(value) if is_text else value
        if type(value) not in (int, float) or not value >= minimum:
            raise Unfit
        return float(value)

    return Kind(f"a number of at least {minimum:g}", take, {"type": "number", "minimum": minimum})


def seconds(minimum: float) -> Kind:
    """A time span: seconds, or a text such as ``90m``."""

    def take(value: Any, is_text: bool, directory: Path) -> float:
        value = _number_in(value) if is_text else value
        if type(value) is str:
            try:
                value = seconds_from(value)
            except InvalidArgument:
                raise Unfit from None
        if type(value) not in (int, float) or not value >= minimum:
            raise Unfit
        return float(value)

    return Kind(
        f"seconds, at least {minimum:g}, or a text such as 90s, 5m, 12h",
        take,
        {"anyOf": [{"type": "number", "minimum": minimum}, {"type": "string"}]},
    )


def size(minimum: int) -> Kind:
    """A number of bytes, or a text such as ``16MiB``."""

    def take(value: Any, is_text: bool, directory: Path) -> int:
        value = core_value(value) if is_text and type(value) is str else value
        if type(value) is str:
            try:
                value = bytes_from(value)
            except InvalidArgument:
                raise Unfit from None
        if type(value) is not int or not minimum <= value < 2**63:
            raise Unfit
        return value

    return Kind(
        f"bytes, at least {minimum}, or a text such as 500kB, 16MiB",
        take,
        {"anyOf": [{"type": "integer", "minimum": minimum}, {"type": "string"}]},
    )


def _number_in(value: Any) -> Any:
    if type(value) is not str:
        return value
    return math.inf if value.lower() in ("inf", "infinity") else core_value(value)
