"""What an agent emits in a thread that is not trio's, on its way to its run.

Emitting puts into a queue here and wakes trio up for the first event of a burst only. Everything is
checked and copied while it is emitted, so that what is refused is refused there and then, and an
agent may go on changing what it gave. Where the run's log is behind, the queue holds at most
``emit_ahead_bytes_max`` more than the run itself does.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from moorage.runtime import BufferFull, RunEnded
from moorage.runtime.codec import decode_event, encode_emitted
from moorage.runtime.own_process import OwnProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime import RunContext
    from moorage.runtime.events import Data


class _Emitted(NamedTuple):
    type: str
    data: Data
    time_ns: int | None
    metadata: dict[str, Any] | None
    size: int


class Outbox:
    """Between one agent, in whatever thread, and its ``context``, in trio."""

    def __init__(self, context: RunContext) -> None:
        """To be made in trio, by the agent's task."""
        limits = context.limits
        self.context = context
        self.process = OwnProcess()
        self.token = trio.lowlevel.current_trio_token()
        self.cancelled = False
        """Whether the run is being cancelled, or has ended."""
        self.failure: Exception | None = None
        """Why an event that was accepted here could not be emitted there."""
        self._record_bytes_max = limits.record_bytes_max
        self._ahead_bytes_max = limits.emit_ahead_bytes_max
        self._items: deque[_Emitted] = deque()
        self._putting = threading.Lock()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._awake = False
        self.ended = False
        """Whether nothing is taken any more."""
        self._news = trio.Event()
        self._pumping = trio.Lock()
        self._on_cancel: set[Callable[[], object]] = set()

    # ---- the agent's side, any thread ----

    @property
    def is_full(self) -> bool:
        """Whether who can wait should wait now, by having ``pump`` called in trio."""
        return self._put_bytes - self._taken_bytes > self._ahead_bytes_max

    def put(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        """Take an event. Raises what ``RunContext.emit`` raises, and WrongProcess."""
        self.process.check()
        if self.ended:
            raise RunEnded(self.context.run_id)
        context = self.context
        stamp = 0 if time_ns is None else time_ns
        record = encode_emitted(
            stamp, type, context.run_id, data, metadata, bytes_max=self._record_bytes_max
        )
        own = decode_event(context.session_id, 1, record.body)
        size = len(record.body)
        with self._putting:
            if self.ended:  # meanwhile: nobody takes it any more
                raise RunEnded(context.run_id)
            self._items.append(_Emitted(type, own.data, time_ns, own.metadata, size))
            self._put_bytes += size
        if not self._awake:
            self._awake = True
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self._tell)

    def put_nowait(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        """Take an event if there is room. Raises what ``RunContext.emit_nowait`` raises."""
        if self.is_full:
            raise BufferFull(
                "emit_ahead_bytes_max",
                used=self._put_bytes - self._taken_bytes,
                limit=self._ahead_bytes_max,
                remedy="use emit() or flush(), which wait for the log",
            )
        self.put(type, data, time_ns, metadata)

    # ---- trio's side ----

    def _tell(self) -> None:
        self._news.set()

    async def pump(self) -> None:
        """Emit everything that has been put, in order; waits where ``emit`` does."""
        async with self._pumping:
            while self._items:
                event = self._items.popleft()
                try:
                    await self.context.emit(
                        event.type, event.data, time_ns=event.time_ns, metadata=event.metadata
                    )
                finally:
                    self._taken_bytes += event.size

    def behind(self, function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """``function``, to be called in trio when all that was put before has been emitted."""

        async def called() -> Any:
            await self.pump()
            return await function()

        return called

    def call_on_cancel(self, function: Callable[[], object]) -> Callable[[], object]:
        """Have ``function`` called when the run is cancelled or has ended, at once if it has been.
        Returns what takes it back."""
        if self.cancelled:
            function()
        self._on_cancel.add(function)
        return lambda: self._on_cancel.discard(function)

    def _cancel(self) -> None:
        self.cancelled = True
        for function in list(self._on_cancel):
            function()

    async def _keep_pumping(self, cancel_agent: Callable[[], object]) -> None:
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                self._awake = False
                await self.pump()
        except trio.Cancelled:
            self._cancel()
            raise
        except Exception as error:
            self.failure = error
            self._cancel()
            cancel_agent()

    async def execute(self, agent: Callable[[], Awaitable[object]]) -> object:
        """What ``agent()``, which emits here, returns or raises; when this ends everything that it
        emitted has been handed to the run."""
        output: object = None
        raised: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_pumping, nursery.cancel_scope.cancel)
            try:
                output = await agent()
            except BaseException as error:
                raised = error
            with self._putting:
                self.ended = True
            with trio.CancelScope(shield=True), suppress(RunEnded):
                await self.pump()
            self._cancel()
            if isinstance(raised, trio.Cancelled):
                raise raised
            nursery.cancel_scope.cancel()
        if self.failure is not None:
            raise self.failure
        if raised is not None:
            raise raised
        return output
