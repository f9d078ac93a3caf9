"""A sink that calls a function."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from moorage.runtime.events import Event


class CallbackSink:
    """Calls ``function``, which may be async, with each event, or, with ``batches``, with lists.

    What it raises says that it did not take the event, and that one comes again; those before it in
    the same list come again, too.
    """

    def __init__(
        self, function: Callable[..., Awaitable[object] | object], *, batches: bool = False
    ) -> None:
        self._function = function
        self._batches = batches

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    async def write(self, events: Sequence[Event]) -> None:
        await trio.lowlevel.checkpoint()
        for argument in [list(events)] if self._batches else events:
            result = self._function(argument)
            if inspect.isawaitable(result):
                await result
