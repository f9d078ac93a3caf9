"""What executes a run, as the runtime sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .runs import RunRequest

if TYPE_CHECKING:
    from .events import Data


class RunContext(Protocol):
    """An agent's way to its session while it executes one run."""

    @property
    def session_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as ``metadata`` to ``submit``."""
        ...

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record an event, in order, durable soon after.

        Normally returns at once, checkpoints at least every 64 calls, and waits while the run is
        more than ``emit_ahead_bytes_max`` ahead of the log. Raises InvalidArgument for a reserved
        type or data that is not plain msgpack, RecordTooLarge, and RunEnded after the run's end.
        """
        ...

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Like ``emit``, for callbacks; raises BufferFull where ``emit`` would wait."""
        ...

    async def flush(self) -> None:
        """Return when everything emitted so far is durable."""
        ...

    async def park(self, name: str, data: Data = None) -> Data:
        """End this task and leave the run waiting for ``session.answer(run_id, name, value)``.

        The run holds no slot while it waits and survives a restart. When it is answered the agent
        is called again from its beginning, and there ``park`` with the same name returns the value
        (it is in ``request.answers`` too).
        """
        ...


Agent = Callable[[RunRequest, RunContext], Awaitable[object]]
Agents = Agent | Mapping[str, Agent]
