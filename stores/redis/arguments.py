"""What goes along with a script, as text and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.codec import encode_info

from ..bounds import check_info
from ..mail import check_answered, encode_answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Answered, Record
    from moorage.runtime.sessions import SessionInfo


def info_argument(info: SessionInfo | None) -> bytes:
    """Empty for None. Raises InvalidArgument."""
    if info is None:
        return b""
    try:
        return encode_info(info)
    except (ValueError, TypeError, OverflowError):
        check_info(info)
        raise


def record_arguments(records: Sequence[Record]) -> list[Any]:
    """Four for each: type, run id, key, body."""
    found: list[Any] = []
    for _, type_, run_id, body, key in records:
        found += [type_, _given(run_id), _given(key), body]
    return found


def letter_arguments(key_prefix: str, answered: Sequence[Answered]) -> list[Any]:
    """The prefix of all keys, and two for each letter: its name, and the answer. Raises
    StoreFailed."""
    check_answered(answered)
    found: list[Any] = [key_prefix]
    for item in answered:
        found += [item.letter, encode_answered(item)]
    return found


def _given(word: str | None) -> str:
    return "" if word is None else f"={word}"
