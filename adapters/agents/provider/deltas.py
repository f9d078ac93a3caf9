"""DeltaStream: a model's many small deltas as few events.

A record per token would make the log the slowest part of a fast model, so deltas are joined until
``seconds`` have passed since the first of them. A task of its own emits what is left when the model
pauses, so that nobody waits for text that is there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.errors import InvalidArgument, MoorageError

from .side_tasks import open_side_tasks

if TYPE_CHECKING:
    from types import TracebackType

    from moorage.runtime.agents import RunContext

COALESCE_SECONDS = 0.02
"""What agents use unless they are told otherwise: too short to see, and 50 records a second."""
PENDING_CHARS_MAX = 65_536
"""Emit earlier than that, so that no record grows large."""
DELTAS_PER_CHECKPOINT = 64


class DeltaStream:
    """Joins deltas into ``message_streamed`` events, at most one per ``seconds`` and kind.

    ::

        async with DeltaStream(context, 0.02, metadata={"provider": "openai"}) as stream:
            async for delta in ...:
                await stream.add(delta)
            await stream.flush()  # before any other event, so that events stay in order
            await context.emit("message_received", ...)

    Leaving the block emits what is left; if the block is left by an exception or cancelled, as far
    as that goes without waiting. ``metadata`` is that of the next event and may be replaced after
    a ``flush``. Raises InvalidArgument if ``seconds`` is no number of at least 0; an error of
    ``emit`` is raised by the next ``add`` or ``flush``, or on leaving.
    """

    def __init__(
        self,
        context: RunContext,
        seconds: float = COALESCE_SECONDS,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.metadata = metadata
        self._context = context
        self._seconds = check_coalesce_seconds(seconds)
        self._pending: list[str] = []
        self._chars = 0
        self._thinking = False
        self._due = 0.0
        self._count = 0
        self._failure: Exception | None = None
        self._filled = trio.lowlevel.ParkingLot()
        self._tasks = contextlib.AsyncExitStack()

    async def __aenter__(self) -> DeltaStream:
        nursery = await self._tasks.enter_async_context(open_side_tasks())
        nursery.start_soon(self._emit_when_due)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._tasks.aclose()
        if error is None:
            await self.flush()
            return
        with contextlib.suppress(MoorageError):  # the block's own exception says more
            if data := self._take():
                self._context.emit_nowait("message_streamed", data, metadata=self.metadata)

    async def add(self, text: str) -> None:
        """Add what the model said next. Usually returns at once."""
        await self._add(text, thinking=False)

    async def add_thinking(self, text: str) -> None:
        """Add what the model thought next; told as ``{"delta": "", "thinking": text}``."""
        await self._add(text, thinking=True)

    async def flush(self) -> None:
        """Emit what is pending. Call it before emitting anything else."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if data := self._take():
            await self._context.emit("message_streamed", data, metadata=self.metadata)

    async def _add(self, text: str, *, thinking: bool) -> None:
        if not text:
            return
        if thinking is not self._thinking:
            await self.flush()
            self._thinking = thinking
        now = trio.current_time()
        if not self._pending:
            self._due = now + self._seconds
            self._filled.unpark()
        self._pending.append(text)
        self._chars += len(text)
        if now >= self._due or self._chars >= PENDING_CHARS_MAX or self._failure is not None:
            await self.flush()
        self._count += 1
        if self._count % DELTAS_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()

    def _take(self) -> dict[str, str] | None:
        if not self._pending:
            return None
        text = "".join(self._pending)
        self._pending.clear()
        self._chars = 0
        return {"delta": "", "thinking": text} if self._thinking else {"delta": text}

    async def _emit_when_due(self) -> None:
        while True:
            while not self._pending:
                await self._filled.park()
            await trio.sleep_until(self._due)
            if self._pending and trio.current_time() >= self._due:
                try:
                    await self.flush()
                except Exception as error:  # raised where the agent can see it
                    self._failure = error
                    return


def check_coalesce_seconds(value: float) -> float:
    """``value``, or InvalidArgument if it is no number of seconds from 0 to 60."""
    if type(value) not in (int, float) or not 0 <= value <= 60:
        raise InvalidArgument(
            f"coalesce_seconds must be a number of seconds from 0 to 60, not {value!r}"
        )
    return float(value)
