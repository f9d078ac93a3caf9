"""Files of JSON lines that other programs wrote: read line by line, damage told with its line.

Lines end with a line feed and nothing else, so that U+2028 and U+2029 may stand inside of strings.
A program that was killed leaves a torn last line, which is cut and reported. Damage in the middle
is refused, or skipped and reported if that was asked for.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import MoorageError
from moorage.runtime.limits import MEBIBYTE

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

LINE_BYTES_MAX = 64 * MEBIBYTE
DEPTH_MAX = 64
"""How deep what is read may be nested; a log takes 100, and messages are around it."""
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class SessionFileInvalid(MoorageError):
    """The file is not what it was taken for, or damaged; ``line`` counts from 1."""

    code = "session_file_invalid"

    def __init__(self, file: str, *, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


@attrs.frozen
class Line:
    """One JSON object, and the number of its line."""

    number: int
    value: dict[str, Any]


class JsonLines:
    """The objects of a file, one at a time. What was left out is known when all were read:
    ``torn_line`` is the number of a torn last line, ``damaged_lines`` those that were skipped.

    Iterating raises SessionFileInvalid and OSError.
    """

    def __init__(self, path: str | os.PathLike[str], *, skip_damaged: bool = False) -> None:
        self.path = str(path)
        self.torn_line: int | None = None
        self.damaged_lines: list[int] = []
        self._skip_damaged = skip_damaged

    def invalid(self, line: int, reason: str) -> SessionFileInvalid:
        return SessionFileInvalid(self.path, line=line, reason=reason)

    def __iter__(self) -> Iterator[Line]:
        number = 0
        with open(self.path, "rb") as file:
            while raw := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(raw) > LINE_BYTES_MAX:
                    raise self.invalid(number, f"it is longer than {LINE_BYTES_MAX} bytes")
                if not raw.strip():
                    continue
                value = self._parsed(number, raw)
                if value is not None:
                    yield Line(number, value)
        if number == 0:
            raise self.invalid(1, "the file is empty")

    def _parsed(self, number: int, raw: bytes) -> dict[str, Any] | None:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            if not raw.endswith(b"\n"):
                self.torn_line = number
            else:
                self._damaged(number, f"it is no JSON: {error}")
            return None
        if type(value) is not dict:
            self._damaged(number, f"it is no JSON object but {str(value)[:40]!r}")
            return None
        return {key: as_plain(item) for key, item in value.items()}

    def _damaged(self, number: int, reason: str) -> None:
        if not self._skip_damaged:
            raise self.invalid(number, f"{reason}; skip_damaged=True reads the rest")
        self.damaged_lines.append(number)


def as_plain(value: Any, depth: int = 0) -> Any:
    """A JSON value as plain data that a log can keep: whole numbers beyond 64 bits and what is
    nested too deep become text, halves of surrogate pairs a question mark."""
    if type(value) is str:
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if type(value) is int and not _INT_MIN <= value <= _INT_MAX:
        return str(value)
    if type(value) in (dict, list) and depth >= DEPTH_MAX:
        return json.dumps(value)
    if type(value) is dict:
        return {as_plain(key): as_plain(item, depth + 1) for key, item in value.items()}
    if type(value) is list:
        return [as_plain(item, depth + 1) for item in value]
    return value


def nanoseconds(time: object) -> int:
    """A time as these programs write it (ISO 8601, or milliseconds since 1970) in nanoseconds
    since 1970; 0 if it is none."""
    if type(time) in (int, float):
        return int(time * 1_000_000)  # type: ignore[operator]
    if type(time) is not str:
        return 0
    try:
        moment = datetime.datetime.fromisoformat(time)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    microseconds = (moment - _EPOCH) // datetime.timedelta(microseconds=1)
    return max(0, microseconds * 1_000)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
