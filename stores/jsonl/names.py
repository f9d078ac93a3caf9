"""Which file holds a session: readable, safe on every file system, one file for each id.

An id of lower-case letters, digits, ``-``, ``_`` and ``.`` is its own name. Any other becomes what
can be shown of it, ``~`` and a hash of all of it: names of different ids differ even where upper
and lower case are the same, and nothing leads out of the directory. The id itself is in the first
line of the file.
"""

from __future__ import annotations

import hashlib
import re

SUFFIX = ".jsonl"
PLAIN_CHARACTERS_MAX = 120
_SHOWN_CHARACTERS_MAX = 60
_PLAIN = re.compile(rf"[a-z0-9_-][a-z0-9_.-]{{0,{PLAIN_CHARACTERS_MAX - 1}}}")
_NOT_SHOWN = re.compile(r"[^a-z0-9_-]+")


def stem_of(session_id: str) -> str:
    """The name of a session's files, without what comes behind the dot."""
    if _PLAIN.fullmatch(session_id):
        return session_id
    shown = _NOT_SHOWN.sub("_", session_id.lower())[:_SHOWN_CHARACTERS_MAX].strip("_")
    digest = hashlib.sha256(session_id.encode()).hexdigest()[:32]
    return f"{shown}~{digest}"
