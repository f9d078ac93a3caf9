"""One call from another thread into trio: its way there, its cancellation and its way back."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime import AdmissionClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class WaitTooSlow(trio.TooSlowError, TimeoutError):
    """A wait's time is over; the run, or whatever was waited for, goes on.

    It is trio's error and Python's own, so ``except TimeoutError`` catches it.
    """


def supervisor_closed() -> AdmissionClosed:
    """What calls are refused with once the trio thread has left."""
    return AdmissionClosed("the supervisor", reason="closed")


class Call:
    """An async function to be called in trio, in the contextvars of whoever asks for it.

    ``finish(call)`` is called once, in trio's thread or, if that has ended, in any other. From then
    on ``result()`` returns or raises what the function did. A call whose cancellation was asked for
    tells what came out of it all the same: a function that shields itself may have succeeded.
    """

    __slots__ = (
        "_cancelled",
        "_context",
        "_error",
        "_finish",
        "_function",
        "_scope",
        "_value",
        "ended",
        "future",
    )

    def __init__(
        self, function: Callable[[], Awaitable[Any]], finish: Callable[[Call], None]
    ) -> None:
        self._function = function
        self._finish = finish
        self._context = contextvars.copy_context()
        self._scope: trio.CancelScope | None = None
        self._cancelled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = False
        self.future: Any = None
        """The asker's own: what wakes it."""

    def result(self) -> Any:
        """What the function returned or raised, with the traceback that it has in trio."""
        error = self._error
        if error is None:
            return self._value
        try:
            if type(error) is trio.TooSlowError:
                raise WaitTooSlow(*error.args) from error
            raise error
        finally:
            del error  # a traceback that knows its own exception is garbage that lasts

    # ---- trio's side ----

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, in a task of its own."""
        try:
            self._context.run(nursery.start_soon, self._perform)
        except RuntimeError:  # it is closed: whatever was open has just been left
            self.refuse()

    def cancel(self) -> None:
        """Cancel it, begun or not; harmless when it has ended."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    async def _perform(self) -> None:
        with trio.CancelScope() as self._scope:
            if self._cancelled:
                self._scope.cancel()
            try:
                self._value = await self._function()
            except trio.Cancelled:
                self._error = supervisor_closed()  # or the asker cancelled it, and knows
                raise
            except BaseException as error:
                # also a KeyboardInterrupt belongs to the asker: in trio it would end everybody
                self._error = error
            finally:
                self._scope = None
                self._finish(self)

    def refuse(self) -> None:
        """Answer without having called: there is no trio any more."""
        self._error = supervisor_closed()
        self._finish(self)
