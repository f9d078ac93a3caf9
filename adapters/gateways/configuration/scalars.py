"""Plain words of YAML 1.2's core schema: what is a number, a truth value or null, and what a text.

That of YAML 1.1, which PyYAML has, makes false of ``no``, 750 of ``12:30`` and a date of
``2026-01-31``.
"""

from __future__ import annotations

import math
import re
from typing import Any

_WHOLE = re.compile(r"[-+]?[0-9]{1,4000}")
_OTHER_BASES = {"0x": (re.compile(r"0x[0-9a-fA-F]{1,4000}"), 16), "0o": (re.compile("0o[0-7]+"), 8)}
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


def core_value(text: str) -> Any:
    """What ``text`` stands for where nothing quotes it."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    pattern, base = _OTHER_BASES.get(text[:2], (_WHOLE, 10))
    if pattern.fullmatch(text):
        return int(text[2:], base)
    if (infinite := _INFINITE.fullmatch(text)) is not None:
        return -math.inf if infinite[1] == "-" else math.inf
    return float(text) if _NUMBER.fullmatch(text) else text
