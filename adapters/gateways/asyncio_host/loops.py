"""The way from trio's thread into asyncio's: answers to calls, and the tasks of agents.

What is to be done in a loop is collected, and one wake-up has all of it done: in trio that is asked
for by the last task of a turn, so that the answers of one commit cross together.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from ..hosting.calls import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..hosting.trio_thread import TrioThread


class LoopMailbox:
    """What one loop has to do for others."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: TrioThread[Any]) -> None:
        self._thread = thread
        # weakly: it is what a loop is found by, and must not keep it
        self._loop = weakref.ref(loop)
        self._items: deque[Call | Callable[[], object]] = deque()
        self._awake = False

    @property
    def closed(self) -> bool:
        """Whether nothing will be done any more."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def put(self, item: Call | Callable[[], object]) -> None:
        """From any thread: wake the asker of a call, or call a function that raises nothing. In a
        loop that is closed nothing is done."""
        self._items.append(item)
        if not self._awake:
            self._awake = True
            self._thread.at_turns_end(self._wake)

    def _wake(self) -> None:
        loop = self._loop()
        try:
            if loop is None:
                raise RuntimeError("the loop is gone")
            loop.call_soon_threadsafe(self._take)
        except RuntimeError:
            self._items.clear()
            self._awake = False

    def _take(self) -> None:
        self._awake = False
        items = self._items
        for _ in range(len(items)):
            item = items.popleft()
            if isinstance(item, Call):
                item.ended = True
                if not item.future.done():
                    item.future.set_result(None)
            else:
                try:
                    item()
                except Exception as error:  # those behind it have to be done all the same
                    loop = asyncio.get_running_loop()
                    loop.call_exception_handler({"message": "moorage", "exception": error})
        if items and not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._take)


class AsyncioPortal:
    """Calls from any asyncio loop of the process into one trio thread."""

    def __init__(self, thread: TrioThread[Any]) -> None:
        self.thread = thread
        self._mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopMailbox] = (
            weakref.WeakKeyDictionary()
        )

    def mailbox(self, loop: asyncio.AbstractEventLoop) -> LoopMailbox:
        """That of a loop; always the same."""
        found = self._mailboxes.get(loop)
        if found is None:
            found = self._mailboxes.setdefault(loop, LoopMailbox(loop, self.thread))
        return found

    async def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """What ``function()`` returns or raises in trio.

        Who is cancelled here cancels it there, and is told so when it has ended there: what comes
        too late to be cancelled has happened. Raises WrongProcess, and AdmissionClosed once the
        supervisor has left.
        """
        self.thread.check_process()
        loop = asyncio.get_running_loop()
        call = Call(function, self.mailbox(loop).put)
        call.future = loop.create_future()
        self.thread.submit(call)
        try:
            await call.future
        except asyncio.CancelledError:
            await self._cancel(call, loop)
            raise
        return call.result()

    async def _cancel(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.thread.run_soon(call.cancel)
        while not call.ended:
            call.future = loop.create_future()
            try:
                await call.future
            except asyncio.CancelledError:
                continue  # it is being cancelled: there is nothing more to ask for
