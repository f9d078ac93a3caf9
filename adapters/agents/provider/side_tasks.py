"""Tasks beside a block of code, which leave the block's own exceptions as they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def open_side_tasks() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled when its block is left, however that is.

    An exception of the block comes out bare, where a plain nursery would put it into a group, and
    agents and their callers match exceptions by type. So the tasks have to keep their errors for
    themselves and to end promptly when cancelled: leaving waits for them.
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        yield nursery
    finally:
        nursery.cancel_scope.shield = True  # the wait below is short and must not raise
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)
