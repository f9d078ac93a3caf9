"""What a client sends, as the gateway reads it."""

from __future__ import annotations

import math
from typing import Any

from moorage.runtime.codec import check_plain
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.reversible_json import to_json


def plain(value: Any, what: str) -> Any:
    """Plain data as JSON. Raises InvalidArgument that names the place of what is not plain."""
    check_plain(value, what)
    return to_json(value)


def given(**fields: Any) -> dict[str, Any]:
    """Those that are not None: the gateway keeps what is omitted."""
    return {name: value for name, value in fields.items() if value is not None}


def limits_of_time(**seconds: Any) -> dict[str, Any]:
    """Those that limit anything: infinity has no JSON, and means none."""
    return {name: value for name, value in given(**seconds).items() if value != math.inf}


def expiry(seconds: float | str | None) -> float | str | None:
    """``expire_after_seconds`` as JSON has it, which has no infinity. Raises InvalidArgument."""
    if isinstance(seconds, float) and math.isnan(seconds):
        raise InvalidArgument("expire_after_seconds must be seconds, and nan is no number")
    return "never" if seconds == math.inf else seconds
