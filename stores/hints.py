"""A hint between tasks: one that was given is not lost, and many are as good as one."""

from __future__ import annotations

import trio


class Hint:
    """Given by any task of the loop, waited for by one."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = trio.Event()

    def give(self) -> None:
        self._given.set()

    async def wait(self) -> None:
        """Return when it is given, or was since the last wait."""
        await self._given.wait()
        self._given = trio.Event()
