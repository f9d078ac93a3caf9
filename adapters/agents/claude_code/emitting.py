"""Emitter: mapped events into the run's log, deltas joined, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..provider.run_report import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.agents import RunContext

    from ..provider.deltas import DeltaStream
    from .mapping import Mapped


class Emitter:
    """Emits what a MessageReader returns. Any task of the run may use it."""

    def __init__(self, context: RunContext, stream: DeltaStream) -> None:
        self._context = context
        self._stream = stream

    async def emit(self, events: Iterable[Mapped]) -> None:
        for type, data, metadata in events:
            if type == "message_streamed":
                await self._add(data, metadata)
            else:
                await self._stream.flush()
                await self._context.emit(type, plain(data), metadata=metadata)

    async def flush(self) -> None:
        await self._stream.flush()

    async def _add(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        if self._stream.metadata != metadata:
            await self._stream.flush()
            self._stream.metadata = metadata
        if "thinking" in data:
            await self._stream.add_thinking(data["thinking"])
        else:
            await self._stream.add(data["delta"])

    def emit_nowait(self, events: Iterable[Mapped]) -> None:
        """For a run that is being cancelled. Raises as ``emit_nowait`` of the context does."""
        for type, data, metadata in events:
            self._context.emit_nowait(type, plain(data), metadata=metadata)
