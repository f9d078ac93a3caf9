"""Retention policies from plain data, as a TOML or JSON file or a command line has it.

::

    exempt_tags = ["legal-hold", "tier=gold"]
    purge_after = "7d"

    [[rules]]
    action = "soft_delete"
    states = ["closed"]
    closed_for = "30d"

The names are those of RetentionPolicy and RetentionRule. Where one ends in ``_seconds`` it may be
written without, and the value may be a text such as ``90m``, ``12h``, ``30d`` or ``2w``; bytes may
be ``500MB`` or ``2GiB``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .errors import InvalidArgument
from .retention import RetentionPolicy, RetentionRule

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]+)")


def seconds_from(value: Any, what: str = "a time span") -> float:
    """Seconds of a number, or of a text such as ``30d``. Raises InvalidArgument."""
    return _from(value, what, _SECONDS, "a number of seconds, or a text such as 90m, 12h, 30d, 2w")


def bytes_from(value: Any, what: str = "a size") -> int:
    """Bytes of a whole number, or of a text such as ``2GiB``. Raises InvalidArgument."""
    size = _from(value, what, _BYTES, "a number of bytes, or a text such as 500MB or 2GiB")
    return int(size)


def _from(value: Any, what: str, units: Mapping[str, int], expected: str) -> float:
    if type(value) in (int, float) and value >= 0:
        return value  # type: ignore[no-any-return]
    if isinstance(value, str):
        if value.isdecimal() and len(value) <= 15:
            return int(value)
        match = _NUMBER.fullmatch(value)
        if match is not None and match[2] in units:
            return float(match[1]) * units[match[2]]
    raise InvalidArgument(f"{what} must be {expected}, not {value!r}")


def policy_from(data: Any) -> RetentionPolicy:
    """The policy that plain data describes. Raises InvalidArgument that names what is wrong."""
    fields = _fields(data, RetentionPolicy, "the policy")
    rules = fields.pop("rules", [])
    if not isinstance(rules, (list, tuple)):
        raise InvalidArgument(f"rules must be a list, not {rules!r}")
    made = []
    for number, rule in enumerate(rules, 1):
        where = f"rule {number}"
        known = _fields(rule, RetentionRule, where)
        tags = known.get("tags", {})
        if not isinstance(tags, dict) or not all(isinstance(tag, str) for tag in tags.values()):
            raise InvalidArgument(f"{where}: tags must be a map of texts, not {tags!r}")
        try:
            made.append(RetentionRule(**known))
        except InvalidArgument as error:
            raise InvalidArgument(f"{where}: {error}") from error
    return RetentionPolicy(rules=tuple(made), **fields)


_TEXTS = frozenset({"action", "name", "prefix", "group_by_tag", "group_by_prefix_until"})


def _fields(data: Any, kind: type[Any], where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidArgument(f"{where} must be a map of names, not {data!r}")
    names = [field.name for field in attrs.fields(kind)]
    found: dict[str, Any] = {}
    for given, value in data.items():
        name = f"{given}_seconds" if f"{given}_seconds" in names else given
        if name not in names:
            raise InvalidArgument(f"{where} has no {given!r}: its names are {', '.join(names)}")
        if name in found:
            raise InvalidArgument(f"{where} has {name} twice")
        what = f"{where}: {given}"
        if name.endswith("_seconds"):
            value = seconds_from(value, what)
        elif name == "bytes_max":
            value = bytes_from(value, what)
        elif name in ("states", "exempt_tags"):
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise InvalidArgument(f"{what} must be a list of texts, not {value!r}")
        elif name in _TEXTS and not isinstance(value, str):
            raise InvalidArgument(f"{what} must be a text, not {value!r}")
        found[name] = value
    return found
