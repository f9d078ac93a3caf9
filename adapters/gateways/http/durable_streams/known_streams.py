"""What one gateway remembers of streams between requests: a bounded number of them.

Nothing of it is needed: it is what their logs said when they were read last, when they were used
last, and a lock that keeps appends of this process from getting into each other's way.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs
import trio

from .states import StreamState

STREAMS_KEPT_MAX = 10_000


@attrs.define
class Known:
    """What is remembered of a session; ``used_at_ns`` is 0 if nobody used it here."""

    lock: trio.Lock = attrs.field(factory=trio.Lock)
    state: StreamState = attrs.field(factory=StreamState)
    created_at_ns: int = 0
    used_at_ns: int = 0


class KnownStreams:
    """By session id; those that were used last are kept."""

    def __init__(self, *, streams_max: int = STREAMS_KEPT_MAX) -> None:
        self._streams_max = streams_max
        self._known: OrderedDict[str, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, id: str) -> Known:
        """What is known, which may be nothing yet."""
        known = self._known.get(id)
        if known is None:
            if len(self._known) >= self._streams_max:
                self._forget_one()
            known = self._known[id] = Known()
        self._known.move_to_end(id)
        return known

    def forget(self, id: str) -> None:
        self._known.pop(id, None)

    def _forget_one(self) -> None:
        for id, known in self._known.items():
            if not known.lock.locked():
                del self._known[id]
                return
