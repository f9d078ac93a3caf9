"""A configuration file, YAML or TOML by the end of its name, as a tree of what it gives."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from .given import Branch, Given, Problem, Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_BYTES_MAX = 1024 * 1024
SECRET_BYTES_MAX = 64 * 1024
FORMATS = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}
_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_TOML_LINE = re.compile(r" ?\(at line (\d+), column \d+\)| ?\(at end of document\)")


class FileRefused(Exception):
    """The file as a whole cannot be used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_document(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Branch:
    """What the file gives, with ``${NAME}`` replaced by variables; those that are not set are
    added to ``problems``. Raises FileRefused.
    """
    shown = str(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise FileRefused(Problem(shown, "", f"its name must end in {', '.join(FORMATS)}"))
    data, lines = _parsed(kind, _text(path), shown)
    directory = path.absolute().parent
    if data is None:
        data = {}
    if not isinstance(data, dict):
        told = f"expected sections like store and gateway, not {_short(data)}"
        raise FileRefused(Problem(shown, "", told))
    return _Converting(shown, directory, lines, environ, problems).branch(data, ())


def read_small_file(path: Path, bytes_max: int) -> str:
    """The text of a file. Raises OSError, and ValueError that says what it is instead."""
    with open(path, "rb", opener=_without_waiting) as file:
        content = file.read(bytes_max + 1) or b""
    if len(content) > bytes_max:
        raise ValueError(f"it has over {bytes_max} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it is not UTF-8: byte {content[error.start]:#04x} at offset {error.start}"
        ) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to


def _text(path: Path) -> str:
    try:
        return read_small_file(path, FILE_BYTES_MAX)
    except OSError as error:
        told = f"it cannot be read: {error.strerror or error}"
        raise FileRefused(Problem(str(path), "", told, is_usage=False)) from None
    except ValueError as error:
        raise FileRefused(Problem(str(path), "", str(error))) from None


def _parsed(kind: str, text: str, shown: str) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    if kind == "toml":
        try:
            return tomllib.loads(text), {}
        except (ValueError, RecursionError) as error:  # ValueError: numbers of 5,000 digits
            told = str(error) or "values are nested too deep"
            line = _TOML_LINE.search(told)
            place = f"{shown}:{line[1]}" if line is not None and line[1] else shown
            raise FileRefused(Problem(place, "", _TOML_LINE.sub("", told))) from None
    try:
        from .yaml_file import YamlRefused, read_yaml
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        told = "YAML needs pip install 'moorage[config]'; TOML needs nothing"
        raise FileRefused(Problem(shown, "", told, is_usage=False)) from None
    try:
        return read_yaml(text)
    except YamlRefused as refused:
        place = shown if refused.line is None else f"{shown}:{refused.line}"
        raise FileRefused(Problem(place, "", refused.why)) from None


class _Converting:
    """From plain data to a tree."""

    def __init__(
        self,
        shown: str,
        directory: Path,
        lines: Mapping[tuple[str | int, ...], int],
        environ: Mapping[str, str],
        problems: list[Problem],
    ) -> None:
        self._shown = shown
        self._directory = directory
        self._lines = lines
        self._environ = environ
        self._problems = problems

    def branch(self, data: dict[str, Any], path: tuple[str, ...]) -> Branch:
        entries: dict[str, Branch | Given] = {}
        for name, value in data.items():
            inner = (*path, name)
            if isinstance(value, dict):
                entries[name] = self.branch(value, inner)
            else:
                entries[name] = self._leaf(value, inner)
        return Branch(self._source(path), entries)

    def _source(self, path: tuple[str | int, ...]) -> Source:
        line = self._lines.get(path)
        name = self._shown if line is None else f"{self._shown}:{line}"
        return Source("file", name, self._directory)

    def _leaf(self, value: Any, path: tuple[str, ...]) -> Given:
        source = self._source(path)
        found = self._interpolated(value, source.name, ".".join(path))
        stands_for_all = isinstance(value, str) and found != value and value.startswith("${")
        each = range(len(value)) if isinstance(value, list) else ()
        parts = tuple(self._source((*path, number)) for number in each)
        return Given(found, source, shown=value, is_text=stands_for_all, parts=parts)

    def _interpolated(self, value: Any, place: str, path: str) -> Any:
        if isinstance(value, dict):
            return {name: self._interpolated(one, place, path) for name, one in value.items()}
        if isinstance(value, list):
            return [self._interpolated(one, place, path) for one in value]
        if not isinstance(value, str) or "${" not in value:
            return value

        def replacement(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            if match[1] is None:
                told = "after ${ comes a variable's name and }, like ${NAME}; $${ is a plain ${"
                self._problems.append(Problem(place, path, told))
                return ""
            if (found := self._environ.get(match[1])) is not None:
                return found
            if match[2] is None:
                told = f"the variable {match[1]} is not set"
                self._problems.append(Problem(place, path, told))
            return match[2] or ""

        return _VARIABLE.sub(replacement, value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
