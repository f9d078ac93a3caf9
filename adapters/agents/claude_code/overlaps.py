"""Which runs of a session went on at the same time.

Claude Code's session is one thread of conversation. Of runs that overlap none knows what the others
say, and two that continued the same session would write into each other's transcript.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define(eq=False)
class Overlap:
    """Of one run: whether another one of its session has gone on beside it."""

    happened: bool = False


class Overlaps:
    """Keeps watch over the runs of one agent."""

    def __init__(self) -> None:
        self._running: dict[str, list[Overlap]] = {}

    @contextmanager
    def watching(self, session_id: str) -> Iterator[Overlap]:
        """For the length of a run of that session."""
        mine = Overlap()
        running = self._running.setdefault(session_id, [])
        running.append(mine)
        if len(running) > 1:
            for overlap in running:
                overlap.happened = True
        try:
            yield mine
        finally:
            running.remove(mine)
            if not running:
                del self._running[session_id]
