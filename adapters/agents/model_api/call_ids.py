"""Ids and names of calls as model APIs take them: pure.

Calls come from everywhere into a conversation: from other agents, from session files, from
endpoints that number them anew in every answer. The APIs refuse a whole request for one id or name
with a character or a length that they do not know, and for an id that stands there twice.
"""

from __future__ import annotations

import hashlib
import re

NAME_CHARS_MAX = 64

_KNOWN = re.compile(r"[a-zA-Z0-9_-]+")
_UNKNOWN = re.compile(r"[^a-zA-Z0-9_-]")


def wire_name(name: str) -> str:
    """The name of a tool with "_" for each character that the APIs do not take."""
    return _UNKNOWN.sub("_", name)[:NAME_CHARS_MAX] or "tool"


class CallIds:
    """The ids of one request, given in the order of its messages.

    What an API said itself goes back to it as it came, ids included (``kept``); ids of other calls
    are made to fit. The same conversation gives the same ids, or no prompt cache would know it.
    """

    def __init__(self, *, chars_max: int) -> None:
        self._chars_max = chars_max
        self._used: set[str] = set()
        self._now: dict[str, str] = {}

    def kept(self, id: str) -> None:
        """A call that is sent as it came."""
        self._used.add(id)
        self._now[id] = id

    def call(self, id: str) -> str:
        """The id to send for a call."""
        sent = id
        if len(id) > self._chars_max or not _KNOWN.fullmatch(id) or id in self._used:
            told = f"{id} {len(self._used)}" if id in self._now else id
            digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
            sent = f"call_{digest[:32]}"
        self._used.add(sent)
        self._now[id] = sent
        return sent

    def result(self, id: str) -> str:
        """The id to send for a call's result, which comes behind it. One whose call is not in the
        request, because the provider keeps it, has its own."""
        return self._now.get(id, id)
