"""An agent, stores that outlive their supervisor, and power cuts, for whatever tests the whole."""

from __future__ import annotations

import random

import pytest
import trio
from moorage.stores import JournalStore, MemoryStore


class Works:
    """An agent that does what its input says; "hang" lasts until it is cancelled."""

    def __init__(self) -> None:
        self.requests = []
        self.running = 0

    async def __call__(self, request, context):
        self.requests.append(request)
        self.running += 1
        try:
            await context.emit("message_streamed", {"delta": request.input})
            await context.flush()
            if request.input == "hang":
                await trio.sleep_forever()
            if request.input == "bad":
                raise RuntimeError("boom")
            if request.input == "park":
                return await context.park("question")
            if request.input == "stubborn":
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()
            return request.input
        finally:
            self.running -= 1

    def attempts_of(self, run):
        return [request.attempt for request in self.requests if request.run_id == run.id]


@pytest.fixture
def works():
    return Works()


@pytest.fixture(params=["memory", "journal"])
def open_store(request, tmp_path):
    """Gives the same store again each time, as a new process would open it."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    return lambda: JournalStore(tmp_path / "data")


@pytest.fixture
def after_power_cut():
    """Opens a disk as it may be found: what was not synced is kept, dropped, torn or zeroed."""

    def open_crashed(disk, seed):
        return JournalStore("/data", disk=disk.crashed(random.Random(seed).randrange))

    return open_crashed
