"""A sink that writes text: to a terminal, or to anything that has ``write`` and ``flush``."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moorage.runtime.events import Event

    from .rendering import Renderer


class TextStream(Protocol):
    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class TextSink:
    """Renders events to ``stream`` (None: standard output as it is then), which it does not close.

    Writing happens in a thread, for a pipe that nobody reads blocks; who is cancelled leaves it to
    that.
    """

    def __init__(self, rendering: Renderer, stream: TextStream | None = None) -> None:
        self._rendering = rendering
        self._stream = stream

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield
        await self._put(self._rendering.finish())

    async def write(self, events: Sequence[Event]) -> None:
        await self._put(self._rendering.render(events))

    async def _put(self, text: str) -> None:
        if not text:
            await trio.lowlevel.checkpoint()
            return
        stream = sys.stdout if self._stream is None else self._stream

        def put() -> None:
            stream.write(text)
            stream.flush()

        await trio.to_thread.run_sync(put, abandon_on_cancel=True)
