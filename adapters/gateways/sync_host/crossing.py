"""Calls that block until trio has answered, and methods made of the runtime's async ones."""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import trio
from moorage.runtime import InvalidArgument

from ..hosting.batches import ListingReader
from ..hosting.calls import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from ..hosting.facing import MakesFace
    from ..hosting.trio_thread import TrioThread

Native = TypeVar("Native")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Wrapped = TypeVar("Wrapped", covariant=True)


class Portal(Protocol):
    """A way into trio."""

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """What ``function()`` returns or raises in trio; blocks until then."""
        ...


def check_may_block() -> None:
    """Raise InvalidArgument in a running event loop, where everybody would wait with the caller:
    its other tasks, and maybe the very one that is waited for."""
    asyncio = sys.modules.get("asyncio")  # where nobody has it, nobody runs it
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise InvalidArgument(
            "this call would block the asyncio loop that runs in this thread: await the methods of "
            "asyncio_host here, or have the function called by asyncio.to_thread"
        )
    if trio.lowlevel.in_trio_run():
        raise InvalidArgument(
            "this call would block the trio that runs in this thread: await the methods of "
            "moorage.runtime here, or have the function called by trio.to_thread.run_sync"
        )


class ThreadPortal:
    """Calls from any thread of the process into one trio thread."""

    def __init__(self, thread: TrioThread[Any]) -> None:
        self.thread = thread

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """See ``Portal.call``. A KeyboardInterrupt while this blocks cancels the call, and is
        raised when that has ended; a second one is raised at once.

        Raises InvalidArgument in trio's own thread and in a running event loop, WrongProcess, and
        AdmissionClosed once the supervisor has left.
        """
        if self.thread.is_current:
            raise InvalidArgument(
                "this is the supervisor's own thread, which would wait for itself: await the "
                "methods of moorage.runtime here"
            )
        check_may_block()
        call = Call(function, _wake)
        woken = call.future = threading.Lock()
        woken.acquire()
        self.thread.submit(call)
        try:
            woken.acquire()
        except BaseException:
            self.thread.run_soon(call.cancel)
            if not call.ended:
                woken.acquire()
            raise
        return call.result()


def _wake(call: Call) -> None:
    call.ended = True
    call.future.release()


class Face(Generic[Native]):
    """What stands in other threads for an object that lives in trio."""

    def __init__(self, native: Native, portal: Portal) -> None:
        self._native = native
        self._portal = portal

    def __repr__(self) -> str:
        return f"<sync face of {self._native!r}>"


def blocking(
    method: Callable[Concatenate[Any, Parameters], Awaitable[Result]],
) -> Callable[Concatenate[Any, Parameters], Result]:
    """An async method that is called in trio and waited for."""
    name = method.__name__

    def blocked(self: Face[Any], *args: Any, **named: Any) -> Any:
        return self._portal.call(functools.partial(getattr(self._native, name), *args, **named))

    typed: Any = functools.wraps(method)(blocked)
    return typed  # type: ignore[no-any-return]


def blocking_to(
    face: Callable[[], MakesFace[Wrapped]],
    method: Callable[Concatenate[Any, Parameters], Awaitable[Any]],
) -> Callable[Concatenate[Any, Parameters], Wrapped]:
    """The same for one whose result has a face; ``face()`` is its class, which may not be there
    yet."""
    name = method.__name__

    def blocked(self: Face[Any], *args: Any, **named: Any) -> Any:
        function = functools.partial(getattr(self._native, name), *args, **named)
        return face()(self._portal.call(function), self._portal)

    typed: Any = functools.wraps(method)(blocked)
    return typed  # type: ignore[no-any-return]


def blocking_sync(
    method: Callable[Concatenate[Any, Parameters], Result],
) -> Callable[Concatenate[Any, Parameters], Result]:
    """A method that is synchronous in trio and has to be called there."""
    name = method.__name__

    def blocked(self: Face[Any], *args: Any, **named: Any) -> Any:
        async def function() -> Any:
            return getattr(self._native, name)(*args, **named)

        return self._portal.call(function)

    typed: Any = functools.wraps(method)(blocked)
    return typed  # type: ignore[no-any-return]


def blocking_behind(
    method: Callable[Concatenate[Any, Parameters], Awaitable[Result]],
) -> Callable[Concatenate[Any, Parameters], Result]:
    """An async method of a run's context, called in trio when all that its agent has emitted is
    there, and waited for."""
    name = method.__name__

    def blocked(self: Any, *args: Any, **named: Any) -> Any:
        function = functools.partial(getattr(self._native, name), *args, **named)
        return self._portal.call(self._outbox.behind(function))

    typed: Any = functools.wraps(method)(blocked)
    return typed  # type: ignore[no-any-return]


def blocking_pages(
    method: Callable[Concatenate[Any, Parameters], AsyncIterator[Result]],
) -> Callable[Concatenate[Any, Parameters], Iterator[Result]]:
    """A method that lists, whose entries cross in pages."""
    name = method.__name__

    def listed(self: Any, *args: Any, **named: Any) -> Any:
        return _read(getattr(self._native, name)(*args, **named), self._portal)

    typed: Any = functools.wraps(method)(listed)
    return typed  # type: ignore[no-any-return]


def _read(entries: AsyncIterator[Result], portal: ThreadPortal) -> Iterator[Result]:
    reader = ListingReader(entries)
    try:
        while page := portal.call(reader.read):
            yield from page
    finally:
        portal.thread.start_soon(reader.close)
