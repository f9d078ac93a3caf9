"""The port of sinks: what takes the events of sessions besides subscribers.

A sink of one's own has two methods. ``opened`` is an async context manager around its use;
``write`` takes events of one session, in order, and returns when they are where they belong. What
it raises says that they are not: the same events come again later, and so may events that it took
shortly before a crash. ``delivery`` gives each sink a task and a cursor of its own, so a sink may
be as slow as it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from moorage.runtime.errors import MoorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime.events import Event


class Sink(Protocol):
    """Takes events."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Open what it writes to, once; leaving closes it. What it raises is not retried."""
        ...

    async def write(self, events: Sequence[Event]) -> None:
        """Take these events, all of one session, in the order of their seq; at least one."""
        ...


class SinkFailed(MoorageError):
    """A sink cannot take these events, now or ever: it is not offered them again."""

    code = "sink_failed"
