"""YAML that is data and nothing else, with the line of each value.

Anchors, aliases, tags and second documents are refused: none of them is of use in a page of
settings, and some have turned files into programs, or a page into gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from .scalars import core_value

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH_MAX = 24
Lines = dict[tuple[str | int, ...], int]
"""Path -> the line of its name, from 1."""


class YamlRefused(Exception):
    """``line`` is where, from 1, or None."""

    def __init__(self, line: int | None, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


def read_yaml(text: str) -> tuple[Any, Lines]:
    """The document's value (None of an empty one), and where its parts stand.

    Raises YamlRefused with all that a parser says of it, and for names that come twice.
    """
    try:
        return _Reading(yaml.parse(text, Loader=yaml.BaseLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = " ".join(filter(None, [error.context, error.problem])) or "it is no YAML"
        raise YamlRefused(None if mark is None else mark.line + 1, told) from None
    except yaml.YAMLError as error:  # characters that YAML has not
        raise YamlRefused(None, " ".join(str(error).split())) from None


class _Reading:
    """One pass over the parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._lines: Lines = {}

    def document(self) -> tuple[Any, Lines]:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None, self._lines
        value = self._value(next(self._events), ())
        next(self._events)  # the document's end
        following = next(self._events)
        if isinstance(following, yaml.DocumentStartEvent):
            raise YamlRefused(_line(following), "a second document begins: one file has one")
        return value, self._lines

    def _value(self, event: Any, path: tuple[str | int, ...]) -> Any:
        _refuse_references(event)
        if len(path) > DEPTH_MAX:
            raise YamlRefused(_line(event), f"values are nested more than {DEPTH_MAX} deep")
        if isinstance(event, yaml.ScalarEvent):
            return core_value(event.value) if event.style is None else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: tuple[str | int, ...]) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            inner = (*path, len(values))
            self._lines[inner] = _line(event)
            values.append(self._value(event, inner))
        return values

    def _mapping(self, path: tuple[str | int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            _refuse_references(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlRefused(_line(event), "a name must be a text")
            name = event.value
            inner = (*path, name)
            if name in values:
                told = f"{name!r} is here twice, first in line {self._lines[inner]}"
                raise YamlRefused(_line(event), told)
            self._lines[inner] = _line(event)
            values[name] = self._value(next(self._events), inner)
        return values


def _refuse_references(event: Any) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise YamlRefused(_line(event), f"the alias *{event.anchor} is refused: write it out")
    if event.anchor is not None:
        raise YamlRefused(_line(event), f"the anchor &{event.anchor} is refused: write it out")
    if event.tag is not None:
        raise YamlRefused(_line(event), f"the tag {event.tag} is refused: settings are plain data")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
