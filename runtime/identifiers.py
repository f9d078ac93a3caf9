"""Ids: checking those that callers choose, making those that nobody chose.

Pure: time and randomness come in as values.
"""

from __future__ import annotations

import unicodedata

from .errors import InvalidArgument

SESSION_ID_BYTES_MAX = 256
NAME_BYTES_MAX = 256
"""Longest event type, cursor name, agent name and idempotency key, in UTF-8 bytes."""


def check_name(what: str, value: object, *, bytes_max: int = NAME_BYTES_MAX) -> str:
    """Return ``value`` if it can name something, or raise InvalidArgument that says why not."""
    if type(value) is not str:
        raise InvalidArgument(f"{what} must be a str, not {type(value).__name__}: {value!r}")
    if not value or value.isspace():
        raise InvalidArgument(f"{what} must not be empty or blank: {value!r}")
    if not value.isascii() or not value.isprintable():
        for character in value:
            # Cc: control, Cs: surrogate (cannot be encoded), Zl and Zp break log lines
            if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
                raise InvalidArgument(
                    f"{what} must not contain the control character {character!r}: {value!r}"
                )
    size = len(value.encode())
    if size > bytes_max:
        raise InvalidArgument(
            f"{what} is {size} bytes of UTF-8 and the limit is {bytes_max}: {value[:40]!r}..."
        )
    return value


def check_session_id(value: object) -> str:
    """Return ``value`` if it is a usable session id, or raise InvalidArgument."""
    return check_name("session id", value, bytes_max=SESSION_ID_BYTES_MAX)


def sortable_id(prefix: str, time_ns: int, random: bytes) -> str:
    """An id that sorts by creation time: 48 bits of milliseconds, then ``random`` (10 bytes).

    The layout is that of RFC 9562's UUID version 7 without its version and variant bits.
    """
    return f"{prefix}_{time_ns // 1_000_000:012x}{random.hex()}"
