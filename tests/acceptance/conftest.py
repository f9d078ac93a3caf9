"""An agent, stores that outlive their supervisor, and power cuts, for whatever tests the whole."""

from __future__ import annotations

import random

import pytest
import trio
from moorage.stores import (
    JournalStore,
    JsonlStore,
    MemoryStore,
    RedisStore,
    SnapshotOnlyStore,
    SqliteStore,
)
from moorage.stores.encryption import EncryptedStore, FileVault, KeyRing
from moorage.stores.snapshot_only import MemorySnapshots

from tests import redis_server


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


@pytest.fixture(
    params=["memory", "journal", "encrypted", "sqlite", "jsonl", "snapshots", "postgres", "redis"]
)
def open_store(request, tmp_path):
    """Gives the same store again each time, as a new process would open it."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    if request.param == "snapshots":
        snapshots = MemorySnapshots()
        return lambda: SnapshotOnlyStore(snapshots)
    if request.param == "redis":
        url, prefix = request.getfixturevalue("redis_url"), redis_server.new_prefix()
        return lambda: RedisStore(url, key_prefix=prefix)
    if request.param == "jsonl":
        return lambda: JsonlStore(tmp_path / "data")
    if request.param == "postgres":
        return request.getfixturevalue("postgres").store
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "data.sqlite")
    if request.param == "encrypted":
        ring, vault = KeyRing.generate("k"), FileVault(tmp_path / "keys")
        return lambda: EncryptedStore(JournalStore(tmp_path / "data"), ring, vault)
    return lambda: JournalStore(tmp_path / "data")


@pytest.fixture
def after_power_cut():
    """Opens a disk as it may be found: what was not synced is kept, dropped, torn or zeroed."""

    def open_crashed(disk, seed):
        return JournalStore("/data", disk=disk.crashed(random.Random(seed).randrange))

    return open_crashed
