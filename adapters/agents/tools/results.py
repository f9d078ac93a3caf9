"""What a tool returns, as plain data of bounded size, and as text for a model."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import os
import uuid
from typing import Any

import attrs
from moorage.runtime.codec import check_plain
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.limits import KIBIBYTE

RESULT_BYTES_MAX = 256 * KIBIBYTE
"""Of one result, as text in UTF-8: what is larger fills a model's context with one call."""
NESTED_MAX = 64

_AS_TEXT = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
)


def plain(value: Any) -> Any:
    """``value`` as plain data. Objects of attrs classes and dataclasses become maps, enums their
    values, tuples and sets lists, dates, decimals, UUIDs and paths text.

    Raises InvalidArgument for anything else, and for what nests too deeply or in itself.
    """
    result = _plain(value, "result", 0)
    check_plain(result, "result")
    return result


def _plain(value: Any, path: str, depth: int) -> Any:
    if depth > NESTED_MAX:
        raise InvalidArgument(f"{path[:200]} is nested more than {NESTED_MAX} deep, or in itself")
    if type(value) is str:
        return encodable(value)
    if value is None or type(value) in (bool, int, float, bytes):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value, path, depth + 1)
    if isinstance(value, dict):
        return {
            _key(name, path): _plain(v, f"{path}.{name}", depth + 1) for name, v in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if not isinstance(value, type):
        if attrs.has(type(value)):
            names = [one.name for one in attrs.fields(type(value))]
            return {n: _plain(getattr(value, n), f"{path}.{n}", depth + 1) for n in names}
        if dataclasses.is_dataclass(value):
            names = [one.name for one in dataclasses.fields(value)]
            return {n: _plain(getattr(value, n), f"{path}.{n}", depth + 1) for n in names}
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value), path, depth + 1)
    if isinstance(value, _AS_TEXT):
        return str(value)
    kinds: tuple[Any, ...] = (str, int, float, bytes)
    for kind in kinds:
        if isinstance(value, kind):  # a subclass of a plain type
            return _plain(kind(value), path, depth + 1)
    raise InvalidArgument(
        f"{path[:200]} is a {type(value).__name__}, which is no plain data: return text, numbers, "
        "lists, maps, or an object of an attrs class or a dataclass"
    )


def _key(name: Any, path: str) -> str:
    if isinstance(name, enum.Enum):
        name = name.value
    if type(name) is str:
        return encodable(name)
    if type(name) in (int, bool, float):
        return str(name)
    raise InvalidArgument(f"{path[:200]} has the key {name!r:.100}: use text")


def encodable(text: str) -> str:
    """``text`` with "?" for what UTF-8 has no bytes for: names of files can have that."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def text_of(output: Any) -> str:
    """Plain data as a model reads it: text as it is, everything else as JSON."""
    if type(output) is str:
        return output
    return json.dumps(output, ensure_ascii=False, default=_bytes)


def _bytes(value: Any) -> str:
    return f"<{len(value)} bytes>"


def cut(output: Any, bytes_max: int) -> Any:
    """``output`` unless it is larger than ``bytes_max``; then the beginning of its text, with a
    last line that says so."""
    size = _size(output)
    if size <= bytes_max:
        return output
    shown = text_of(output).encode()[:bytes_max].decode("utf-8", "ignore")
    return f"{shown}\n[cut: the result has {size} bytes, the first {bytes_max} are shown]"


def _size(output: Any) -> int:
    """Bytes of its text in UTF-8, and of the bytes in it, which its text only counts."""
    return len(text_of(output).encode()) + _raw_bytes(output)


def _raw_bytes(output: Any) -> int:
    if type(output) is bytes:
        return len(output)
    if type(output) is dict:
        return sum(map(_raw_bytes, output.values()))
    return sum(map(_raw_bytes, output)) if type(output) is list else 0
