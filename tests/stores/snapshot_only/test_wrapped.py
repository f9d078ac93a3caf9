from __future__ import annotations

from typing import Any

import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores.snapshot_only import MemorySnapshots
from moorage.stores.snapshot_only.wrapped import Wrapped


class AsyncSnapshots:
    def __init__(self) -> None:
        self.inner = MemorySnapshots()

    async def load(self, session_id: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.inner.load(session_id)

    async def save(self, session_id: str, snapshot: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.inner.save(session_id, snapshot)

    async def clear(self, session_id: str) -> None:
        self.inner.clear(session_id)


class Returning(MemorySnapshots):
    """Sync methods that return awaitables, as wrappers do."""

    def load(self, session_id: str) -> Any:
        async def load() -> bytes | None:
            return MemorySnapshots.load(self, session_id)

        return load()


class Failing(MemorySnapshots):
    """A save fails, after or before it was done, or so that nobody can look."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def load(self, session_id: str) -> bytes | None:
        if self.how == "blind":
            raise OSError("no route")
        return super().load(session_id)

    def save(self, session_id: str, snapshot: bytes) -> None:
        if self.how == "after":
            super().save(session_id, snapshot)
        if self.how == "half":
            super().save(session_id, snapshot[:1])
        raise OSError("no route")


@pytest.mark.parametrize("kind", [MemorySnapshots, AsyncSnapshots, Returning])
async def test_methods_may_be_sync_or_async(kind: Any) -> None:
    wrapped = Wrapped(kind())

    await wrapped.save("a", b"one", None)
    assert await wrapped.load("a") == b"one"
    await wrapped.save("a", None, b"one")
    assert await wrapped.load("a") is None


async def test_a_save_that_failed_and_is_there_counts() -> None:
    await Wrapped(Failing("after")).save("a", b"new", None)


@pytest.mark.parametrize(
    ("how", "written", "poisoned"),
    [("before", False, False), ("half", None, True), ("blind", None, True)],
)
async def test_a_save_that_failed_is_looked_into(
    how: str, written: bool | None, poisoned: bool
) -> None:
    with pytest.raises(StoreFailed) as caught:
        await Wrapped(Failing(how)).save("a", b"new", None)

    assert (caught.value.written, caught.value.poisoned) == (written, poisoned)


async def test_a_load_that_fails_or_gives_no_bytes_is_a_failed_store() -> None:
    with pytest.raises(StoreFailed, match="no route"):
        await Wrapped(Failing("blind")).load("a")
    odd = MemorySnapshots()
    odd.save("a", "text")  # type: ignore[arg-type]
    with pytest.raises(StoreFailed, match="returned str, not bytes"):
        await Wrapped(odd).load("a")


async def test_a_save_is_not_cancelled_in_the_middle() -> None:
    snapshots = AsyncSnapshots()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Wrapped(snapshots).save("a", b"new", None)

    assert snapshots.inner.load("a") == b"new"
