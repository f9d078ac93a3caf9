"""Callbacks of the SDK, run as tasks of the run that they belong to.

The SDK calls back from tasks of its own that no nursery of ours holds. What they ask for happens in
the run's nursery instead: a cancelled run ends it, and an error in it fails the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Callbacks:
    """Runs functions in ``nursery`` for callers outside of it; ``fail`` gets their exceptions."""

    def __init__(self, nursery: trio.Nursery, fail: Callable[[Exception], None]) -> None:
        self._nursery = nursery
        self._fail = fail

    async def call(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What ``function(*args)`` returns. If that raises, the caller waits until it is cancelled;
        if the caller is cancelled first, so is the function."""
        done = trio.Event()
        scope = trio.CancelScope()
        results: list[Any] = []

        async def work() -> None:
            with scope:
                try:
                    results.append(await function(*args))
                except Exception as error:  # also what is raised into a cancelled run
                    self._fail(error)
                else:
                    done.set()

        self._nursery.start_soon(work)
        try:
            await done.wait()
        finally:
            scope.cancel()
        return results[0]
