"""Values as text that is safe to show: short, on one line, without control characters."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moorage.runtime.reversible_json import to_json

if TYPE_CHECKING:
    from datetime import tzinfo

    from moorage.runtime.events import Data

# What moves the cursor, rings, or reorders a terminal's line: C0, DEL, C1, separators, bidi
_UNSAFE = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x2028,
        0x2029,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
} | {0x0A: "\\n", 0x0D: "\\r"}
_UNSAFE_BLOCK = {code: text for code, text in _UNSAFE.items() if code not in (0x09, 0x0A)}
_UNSAFE_FLOW = {code: text for code, text in _UNSAFE.items() if code != 0x09}


def one_line(text: str) -> str:
    """Without line breaks; everything that a terminal would act upon is spelled out."""
    return text if text.isprintable() else text.translate(_UNSAFE)


def flowing(text: str) -> str:
    """Like ``one_line``, but tabs stay."""
    return text if text.isprintable() else text.translate(_UNSAFE_FLOW)


def block(text: str) -> str:
    """Line breaks and tabs stay; everything else that a terminal would act upon is spelled out."""
    return text if text.isprintable() else text.translate(_UNSAFE_BLOCK)


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, with an ellipsis where something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def summary(value: Data, width: int = 200) -> str:
    """A value in one short line: text as it is, maps as ``name=value``, the rest as JSON."""
    if isinstance(value, str):
        return shorten(one_line(value[: width + 1]), width)
    if value is None:
        return ""
    if isinstance(value, dict):
        parts: list[str] = []
        left = width
        for name, item in value.items():
            if item is None:
                continue
            part = f"{one_line(name)}={_inner(item, max(left, 1))}"
            parts.append(part)
            left -= len(part) + 1
            if left < 0:
                break
        return shorten(" ".join(parts), width)
    return _inner(value, width)


def _inner(value: Data, width: int) -> str:
    if isinstance(value, str) and value and " " not in value and value.isprintable():
        return shorten(value, width)
    if isinstance(value, (str, bytes)) and len(value) > width:
        value = value[:width]  # a megabyte need not be encoded to show a line of it
    text = json.dumps(to_json(value), ensure_ascii=False, default=str)
    return shorten(one_line(text), width)


def clock(time_ns: int, zone: tzinfo | None = None) -> str:
    """Time of day to the millisecond, in ``zone`` (None: local time)."""
    moment = _moment(time_ns, zone)
    return str(time_ns) if moment is None else moment.strftime("%H:%M:%S.%f")[:-3]


def timestamp(time_ns: int, zone: tzinfo | None = None) -> str:
    """Date, time to the microsecond, and offset, in ``zone`` (None: local time)."""
    moment = _moment(time_ns, zone)
    return str(time_ns) if moment is None else moment.isoformat(sep=" ", timespec="microseconds")


def _moment(time_ns: int, zone: tzinfo | None) -> datetime | None:
    """None for times that no calendar has: a log may come from anywhere."""
    try:
        # whole microseconds: a float of seconds would round the last digits
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
        return moment.replace(microsecond=time_ns // 1_000 % 1_000_000).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return None


def ago(now_ns: int, then_ns: int) -> str:
    """How long ago, in one unit: ``3 s``, ``12 min``, ``5 h``, ``40 d``."""
    seconds = max(now_ns - then_ns, 0) / 1_000_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def pretty(value: Any) -> str:
    """JSON over several lines, safe to show."""
    return block(json.dumps(to_json(value), ensure_ascii=False, indent=2, default=str))
