"""A store on a simulated disk, opened and written to in a line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.stores import JsonlStore
from moorage.stores.conformance.scenario import refuse
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path("/store")


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.fixture
def new_store(disk: SimulatedDisk) -> Callable[..., JsonlStore]:
    def new(on: SimulatedDisk = disk, **options: Any) -> JsonlStore:
        return JsonlStore(ROOT, disk=on, **options)

    return new


@pytest.fixture
def opened(new_store: Callable[..., JsonlStore]) -> Any:
    """An async context manager: the store, open for writing."""

    @contextlib.asynccontextmanager
    async def open_one(*on: SimulatedDisk, **options: Any) -> AsyncIterator[JsonlStore]:
        store = new_store(*on, **options)
        async with store.opened(owner="a test", deliver=refuse):
            yield store

    return open_one


@pytest.fixture
def log_of(disk: SimulatedDisk) -> Callable[[str], Path]:
    return lambda stem: ROOT / "sessions" / f"{stem}.jsonl"
