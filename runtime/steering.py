"""Messages on their way to one run's agent: offered, taken, told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .agents import Steer
    from .events import Data


class Steering:
    """What a run was steered with. A message that the agent took counts as brought in when a
    ``message_sent`` with its id is emitted: until then it could get lost with the process."""

    __slots__ = ("_came", "_offered", "_told", "_untold", "accepts")

    def __init__(self) -> None:
        self.accepts = False
        self._offered: list[Steer] = []
        self._untold: dict[str, None] = {}
        self._told: list[str] = []
        self._came: trio.Event | None = None

    def offer(self, steer: Steer) -> None:
        self._offered.append(steer)
        came, self._came = self._came, None  # several may wait, each for an event that is set once
        if came is not None:
            came.set()

    def take(self) -> list[Steer]:
        """What was offered since the last call."""
        taken, self._offered = self._offered, []
        self._untold.update(dict.fromkeys(steer.id for steer in taken))
        return taken

    async def wait(self) -> None:
        """Return when there is something to take."""
        while not self._offered:
            if self._came is None:
                self._came = trio.Event()
            await self._came.wait()
        await trio.lowlevel.checkpoint()

    def note_sent(self, data: Data) -> None:
        """The agent has emitted a ``message_sent``."""
        steer_id = data.get("steer_id") if self._untold and isinstance(data, dict) else None
        if isinstance(steer_id, str) and steer_id in self._untold:
            del self._untold[steer_id]
            self._told.append(steer_id)

    @property
    def untold(self) -> tuple[str, ...]:
        """Ids of what was taken and not told."""
        return tuple(self._untold)

    def newly_told(self) -> tuple[str, ...]:
        """Ids of what was told since the last call."""
        told, self._told = tuple(self._told), []
        return told
