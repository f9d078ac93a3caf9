"""Methods of the runtime's classes as methods of their asyncio faces: same name, same parameters,
same docstring, and the types that the caller sees."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from ..hosting.batches import ListingReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from ..hosting.facing import MakesFace
    from .loops import AsyncioPortal

Native = TypeVar("Native")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Wrapped = TypeVar("Wrapped", covariant=True)


class Face(Generic[Native]):
    """What stands in asyncio for an object that lives in trio."""

    def __init__(self, native: Native, portal: AsyncioPortal) -> None:
        self._native = native
        self._portal = portal

    def __repr__(self) -> str:
        return f"<asyncio face of {self._native!r}>"


def crossing(
    method: Callable[Concatenate[Any, Parameters], Awaitable[Result]],
) -> Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Result]]:
    """An async method that is called in trio."""
    name = method.__name__

    async def crossed(self: Face[Any], *args: Any, **named: Any) -> Any:
        function = functools.partial(getattr(self._native, name), *args, **named)
        return await self._portal.call(function)

    typed: Any = functools.wraps(method)(crossed)
    return typed  # type: ignore[no-any-return]


def crossing_to(
    face: Callable[[], MakesFace[Wrapped]],
    method: Callable[Concatenate[Any, Parameters], Awaitable[Any]],
) -> Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Wrapped]]:
    """An async method that is called in trio and whose result has a face; ``face()`` is its class,
    which may not be there yet."""
    name = method.__name__

    async def crossed(self: Face[Any], *args: Any, **named: Any) -> Any:
        function = functools.partial(getattr(self._native, name), *args, **named)
        return face()(await self._portal.call(function), self._portal)

    typed: Any = functools.wraps(method)(crossed)
    return typed  # type: ignore[no-any-return]


def crossing_sync(
    method: Callable[Concatenate[Any, Parameters], Result],
) -> Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Result]]:
    """A method that is synchronous in trio and has to be called there: here it is awaited."""
    name = method.__name__

    async def crossed(self: Face[Any], *args: Any, **named: Any) -> Any:
        async def function() -> Any:
            return getattr(self._native, name)(*args, **named)

        return await self._portal.call(function)

    typed: Any = functools.wraps(method)(crossed)
    return typed  # type: ignore[no-any-return]


def crossing_behind(
    method: Callable[Concatenate[Any, Parameters], Awaitable[Result]],
) -> Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Result]]:
    """An async method of a run's context, called in trio when all that its agent has emitted is
    there."""
    name = method.__name__

    async def crossed(self: Any, *args: Any, **named: Any) -> Any:
        function = functools.partial(getattr(self._native, name), *args, **named)
        return await self._portal.call(self._outbox.behind(function))

    typed: Any = functools.wraps(method)(crossed)
    return typed  # type: ignore[no-any-return]


def crossing_pages(
    method: Callable[Concatenate[Any, Parameters], AsyncIterator[Result]],
) -> Callable[Concatenate[Any, Parameters], AsyncIterator[Result]]:
    """A method that lists, whose entries cross in pages."""
    name = method.__name__

    def listed(self: Face[Any], *args: Any, **named: Any) -> Any:
        return _read(getattr(self._native, name)(*args, **named), self._portal)

    typed: Any = functools.wraps(method)(listed)
    return typed  # type: ignore[no-any-return]


async def _read(entries: AsyncIterator[Result], portal: AsyncioPortal) -> AsyncIterator[Result]:
    reader = ListingReader(entries)
    try:
        while page := await portal.call(reader.read):
            for entry in page:
                yield entry
    finally:
        portal.thread.start_soon(reader.close)
