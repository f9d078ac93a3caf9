"""Agents that are asyncio functions: they run in the host's loop, as tasks of their runs."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime import InvalidArgument
from moorage.runtime.agents import to_await
from moorage.runtime.current import run_in_context

from ..hosting.outbox import Outbox
from .loops import AsyncioPortal, LoopMailbox
from .run_context import AsyncioRunContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime import RunContext, RunRequest

    AsyncioFunction = Callable[[RunRequest, AsyncioRunContext], Awaitable[object]]

STRAY_CANCEL_SECONDS = 0.5
"""How long a run waits for its own cancellation when somebody else cancelled its agent's task:
``asyncio.run`` cancels all tasks at once, agents' and the one that is about to leave."""


class AgentTaskCancelled(Exception):
    """Somebody who is not the run cancelled its agent's asyncio task."""

    code = "agent_task_cancelled"
    retryable = True


@attrs.frozen
class AsyncioHost:
    """The loop that a supervisor was opened in."""

    portal: AsyncioPortal
    mailbox: LoopMailbox
    loop: asyncio.AbstractEventLoop


host_of_this_run: trio.lowlevel.RunVar[AsyncioHost] = trio.lowlevel.RunVar("moorage_asyncio_host")
"""Set in a trio thread that an asyncio loop has opened."""


class AsyncioAgent:
    """An agent of the asyncio face; made by ``asyncio_agent``."""

    def __init__(self, function: AsyncioFunction) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"<asyncio agent {self.function!r}>"

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        """In trio: have it executed in the host's loop. Raises InvalidArgument without one."""
        try:
            host = host_of_this_run.get()
        except LookupError:
            raise InvalidArgument(
                f"{self!r} needs asyncio's loop: open its supervisor by asyncio_host"
            ) from None
        outbox = Outbox(context)
        task = _LoopTask(host, self.function, request, outbox)
        return await outbox.execute(task.perform)


def asyncio_agent(function: AsyncioFunction) -> AsyncioAgent:
    """``function``, an async function of asyncio's, as an agent; also as a decorator.

    It runs in the loop in which the supervisor was opened. Its context has what a RunContext has;
    ``take_steers`` is awaited there. Its task is cancelled when its run is, and holds the slot
    until it has really ended. Raises InvalidArgument.
    """
    if not callable(function):
        raise InvalidArgument(f"an agent must be callable, not {function!r}")
    return AsyncioAgent(function)


class _LoopTask:
    """One call of an agent's function."""

    def __init__(
        self,
        host: AsyncioHost,
        function: AsyncioFunction,
        request: RunRequest,
        outbox: Outbox,
    ) -> None:
        self._host = host
        self._function = function
        self._request = request
        self._outbox = outbox
        self._context = AsyncioRunContext(outbox, host.portal)
        self._contextvars = contextvars.copy_context()
        in_context: Any = self._context  # awaited where that of trio is called
        self._contextvars.run(run_in_context.set, in_context)
        self._task: asyncio.Task[None] | None = None
        self._cancel_asked = False
        self._ended = trio.Event()
        self._output: object = None
        self._error: BaseException | None = None

    async def perform(self) -> object:
        """In trio. Cancelled is raised when the task has ended, unless it ended otherwise."""
        self._host.mailbox.put(self._begin)
        try:
            await self._ended.wait()
        except trio.Cancelled:
            if not await self._end_cancelled():
                raise
        if isinstance(self._error, asyncio.CancelledError):
            # if this is the beginning of the host's end, our own cancellation is on its way
            await trio.sleep(STRAY_CANCEL_SECONDS)
            raise AgentTaskCancelled(
                "the agent's asyncio task was cancelled, and not by its run"
            ) from self._error
        if self._error is not None:
            raise self._error
        return self._output

    async def _end_cancelled(self) -> bool:
        """Cancel the task and wait for its end. True if it returned or raised something else."""
        with trio.CancelScope(shield=True):
            self._host.mailbox.put(self._cancel)
            while not self._ended.is_set() and not self._host.mailbox.closed:
                with trio.move_on_after(1):  # a loop that is closed tells nobody
                    await self._ended.wait()
        return self._ended.is_set() and not isinstance(self._error, asyncio.CancelledError)

    # ---- in the loop ----

    def _begin(self) -> None:
        self._task = self._host.loop.create_task(self._body(), context=self._contextvars)
        self._task.add_done_callback(self._done)

    async def _body(self) -> None:
        process = self._outbox.process
        try:
            self._output = await to_await(self._function(self._request, self._context))
            process.end_fork()
        except asyncio.CancelledError:
            raise
        except KeyboardInterrupt as error:
            process.end_fork(error)
            self._error = error
            raise
        except BaseException as error:
            process.end_fork(error)
            self._error = error  # SystemExit, too, is a failed run and not the loop's end

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._error = asyncio.CancelledError()
        else:
            task.exception()  # it is told in trio: nobody has to warn of it here
        self._host.portal.thread.run_soon(self._ended.set)
