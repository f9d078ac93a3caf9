from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from moorage.adapters.gateways.http.durable_streams.known_streams import KnownStreams
from moorage.adapters.gateways.http.durable_streams.registry import DurableStreams
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.http.service import StepAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime import Supervisor

START_NS = 1_800_000_000_000_000_000


class Clock:
    """What the time is, for the supervisor and for all gateways."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def pass_seconds(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Gateways:
    """Gateways over one supervisor, which know nothing of each other, and one clock."""

    def __init__(self, supervisor: Supervisor, clock: Clock) -> None:
        self.supervisor = supervisor
        self.clock = clock

    def new(self) -> DurableStreams:
        """One that has read nothing yet, as after a restart, or as of another node."""
        return DurableStreams(self.supervisor, KnownStreams(), self.clock)


@pytest.fixture
def gateways() -> Callable[[], AbstractAsyncContextManager[Gateways]]:
    """``async with gateways() as those``."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateways]:
        clock = Clock()
        async with open_supervisor(MemoryStore(), StepAgent(), time_ns=clock) as supervisor:
            yield Gateways(supervisor, clock)

    return opened
