"""Offsets: where in a stream one is, as a token that sorts as text.

A position is a number that only grows along a stream: the seq of an event, and in a fork, behind
what it inherits, the position that it was forked at plus the seq.
"""

from __future__ import annotations

import re

from ..problems import MalformedRequest, shown

BEGINNING = "-1"
"""What clients send for the beginning of whatever is there."""
NOW = "now"
"""What clients send for the end as it is now."""
_HALF = 16
_TOKEN = re.compile(rf"0{{{_HALF}}}_([0-9]{{{_HALF}}})")


def write_offset(position: int) -> str:
    """The first half is for what may have to be told one day; it is zero."""
    return f"{0:0{_HALF}}_{position:0{_HALF}}"


def read_offset(text: str) -> int:
    """The position. Raises MalformedRequest for what is no offset of ours."""
    if text == BEGINNING:
        return 0
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise MalformedRequest(
            f"offset is {shown(text)}: send -1, now, or a Stream-Next-Offset as it came"
        )
    return int(found[1])
