"""Names that a database can hold as text: UTF-8, and no NUL, which Postgres does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument

from ..bounds import check_append, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Record
    from moorage.runtime.sessions import SessionInfo

TEXT_BYTES_MAX = 2_000
"""Longest session id, run id, key and cursor name, in UTF-8 bytes: an index of Postgres holds no
more. Those of the runtime have at most 256."""
LAST_CODE = 0x10FFFF
BEFORE_SURROGATES, AFTER_SURROGATES = 0xD7FF, 0xE000
"""The code points in between cannot be encoded."""


def check_text(what: str, name: object) -> None:
    """Raise InvalidArgument for what no database can keep as a name."""
    check_name(what, name)
    assert isinstance(name, str)
    if "\0" in name:
        raise InvalidArgument(f"{what} must not contain NUL: {name[:40]!r}")
    if len(name) * 4 > TEXT_BYTES_MAX and len(name.encode()) > TEXT_BYTES_MAX:
        raise InvalidArgument(
            f"{what} is over {TEXT_BYTES_MAX} bytes of UTF-8 long: {name[:40]!r}..."
        )


def check_held(session_id: str, records: Sequence[Record], info: SessionInfo | None) -> None:
    """Everything that one append brings. Raises InvalidArgument."""
    check_append(session_id, records, info)
    check_text("session id", session_id)
    checked = None  # all of one run name it by the same object
    for _, _, run_id, _, key in records:
        if run_id is not None and run_id is not checked:
            check_text("run id", run_id)
            checked = run_id
        if key is not None:
            check_text("key", key)


def is_text(name: object) -> bool:
    """Whether a database can be asked for it at all; what it cannot hold is not there."""
    if type(name) is not str or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def after_prefix(prefix: str) -> str | None:
    """The least text above everything that begins with ``prefix``, by code points; None if there
    is none."""
    while prefix:
        code = ord(prefix[-1])
        if code < LAST_CODE:
            return prefix[:-1] + chr(AFTER_SURROGATES if code == BEFORE_SURROGATES else code + 1)
        prefix = prefix[:-1]
    return None
