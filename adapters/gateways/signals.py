"""SIGINT and SIGTERM that end a command in order."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from .frame import Terminated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


async def until_signalled(
    command: Callable[[], Awaitable[int | None]],
    *,
    interrupt: Callable[[], bool] | None = None,
) -> int | None:
    """Run a command; SIGINT and SIGTERM cancel it and raise, when it has tidied up.

    A SIGINT is offered to ``interrupt`` first, and is done with if that returns True.

    A KeyboardInterrupt of Python's own could hit any line that runs in the event loop, also one
    that has to finish: a task that a nursery counts and nobody ever starts is waited for for ever.
    A second Ctrl-C is one all the same, for who does not want to wait. Whatever blocks the loop
    cannot be interrupted like this. Raises KeyboardInterrupt or Terminated, in a group.
    """
    with ExitStack() as receiving:
        # before there is a nursery, or the signal could hit that
        signals = receiving.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end, signals, receiving, interrupt)
            code = await command()
            nursery.cancel_scope.cancel()
    return code


async def _end(
    signals: AsyncIterator[int], receiving: ExitStack, interrupt: Callable[[], bool] | None
) -> None:
    async for number in signals:
        if number == signal.SIGINT and interrupt is not None and interrupt():
            continue
        receiving.close()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated
