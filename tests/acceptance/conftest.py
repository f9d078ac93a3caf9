"""An agent, and stores that outlive their supervisor or a crash, for whatever tests the whole."""

from __future__ import annotations

import contextlib

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
from tests.acceptance.durable_stores import (
    DURABLE,
    InPostgres,
    InRedis,
    InSnapshots,
    InSqlite,
    on_simulated_disk,
)
from tests.stores.snapshot_only.failing_snapshots import FailingSnapshots


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


@pytest.fixture(params=DURABLE)
def durable(request, tmp_path):
    """A store that outlives its process, and crashes and fails on demand: a DurableStore."""
    with contextlib.ExitStack() as at_the_end:
        if request.param == "sqlite":
            yield InSqlite(tmp_path)
        elif request.param == "snapshots":
            yield InSnapshots(FailingSnapshots())
        elif request.param == "postgres":
            yield InPostgres(request.getfixturevalue("postgres"), at_the_end)
        elif request.param == "redis":
            url = request.getfixturevalue("redis_url")
            yield InRedis(url, at_the_end, redis_server.new_prefix())
        else:
            yield on_simulated_disk(request.param)
