"""What our stores can hold: the same for all of them, whatever the format of one could take.

The journal finds out by packing, which costs nothing while all is well, and asks here only for the
words; a store in memory has to look. Each check raises InvalidArgument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.codec import encode_info
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import TIME_NS_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Record
    from moorage.runtime.sessions import SessionInfo

SEQ_MAX = 2**48 - 1
"""Twenty thousand years at half a million events per second."""
NAME_BYTES_MAX = 2**16 - 2
"""Longest session id, run id, key and cursor name, in UTF-8 bytes."""
_TIME_NS_MIN = -(2**63)


def check_name(what: str, name: object) -> None:
    """A name that a store can keep; what may name something is for the runtime to say."""
    if type(name) is not str:
        raise InvalidArgument(f"{what} must be a str, not {name!r}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{what} must be text that UTF-8 can encode, without surrogates: {name[:40]!r}"
        ) from error
    if size > NAME_BYTES_MAX:
        raise InvalidArgument(
            f"{what} is {size} bytes of UTF-8 and the limit is {NAME_BYTES_MAX}: {name[:40]!r}..."
        )


def check_seq(what: str, seq: object) -> None:
    if type(seq) is not int or not 0 <= seq <= SEQ_MAX:
        raise InvalidArgument(f"{what} must be a whole number from 0 to {SEQ_MAX}, not {seq!r}")


def check_limit(limit: object) -> None:
    """Of a page."""
    if type(limit) is not int or limit < 1:
        raise InvalidArgument(f"limit must be a whole number of at least 1, not {limit!r}")


def check_append(session_id: str, records: Sequence[Record], info: SessionInfo | None) -> None:
    """Everything that one append brings."""
    check_name("session id", session_id)
    checked = None  # all of one run name it by the same object
    for time_ns, type_, run_id, body, key in records:
        if time_ns.__class__ is not int or not _TIME_NS_MIN <= time_ns <= TIME_NS_MAX:
            raise InvalidArgument(
                f"time_ns of {type_!r} must be a whole number from {_TIME_NS_MIN} to "
                f"{TIME_NS_MAX}, not {time_ns!r}"
            )
        if body.__class__ is not bytes:
            raise InvalidArgument(f"the body of {type_!r} must be bytes, not {body!r}")
        if run_id is not None and run_id is not checked:
            check_name("run id", run_id)
            checked = run_id
        if key is not None:
            check_name("key", key)
    if info is not None:
        check_info(info)


def check_info(info: SessionInfo) -> bytes:
    """Returns what ``encode_info`` makes of it."""
    if not _TIME_NS_MIN <= info.modified_at_ns <= TIME_NS_MAX:
        raise InvalidArgument(
            f"modified_at_ns of session {info.id!r} must be from {_TIME_NS_MIN} to {TIME_NS_MAX}, "
            f"not {info.modified_at_ns!r}"
        )
    try:
        return encode_info(info)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"the info of session {info.id!r} cannot be kept: {error}") from error
