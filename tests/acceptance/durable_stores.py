"""Stores that outlive their process, what a crash leaves of each, and how each is made to fail.

What a crash is, is as bad as can be brought about without ending the test itself:

- journal, encrypted, jsonl: the power fails, on a simulated disk that loses or tears what was not
  synced; ``choose`` says which of the possible outcomes it is
- sqlite: the process is killed; its files as they are at that moment
- snapshots: the process is killed; what was saved until then
- postgres, redis: the process ends without a word; what the server has committed, without leases

The crashed store is another one: what goes on writing to the first changes nothing in it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Protocol

from moorage.runtime import StoreFailed
from moorage.stores import JournalStore, JsonlStore, RedisStore, SnapshotOnlyStore, SqliteStore
from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault
from moorage.stores.faults import Fault
from moorage.stores.simulated_disk import SimulatedDisk

from tests import redis_server
from tests.stores.sqlite.conftest import Faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from moorage.runtime.ports import Store

    from tests.postgres_server import PostgresSchema
    from tests.stores.snapshot_only.failing_snapshots import FailingSnapshots

    Choose = Callable[[int], int]

DURABLE = ("journal", "encrypted", "sqlite", "jsonl", "snapshots", "postgres", "redis")
ONE_PROCESS = ("journal", "encrypted", "sqlite", "jsonl", "snapshots")
POISONED = ONE_PROCESS
"""Those that take no more after a failed sync. A Postgres server restarts itself then, and a Redis
server refuses for as long as it lasts: neither is for the store to remember."""


class DurableStore(Protocol):
    def open_store(self) -> Store:
        """Another object over the same content each time, as the next process would make it."""

    def after_crash(self, choose: Choose) -> DurableStore:
        """What is found after a crash at this moment."""

    def fail_next(self, fault: Fault) -> None:
        """Let the next append fail."""


class OnSimulatedDisk:
    def __init__(self, make: Callable[[SimulatedDisk], Store], disk: SimulatedDisk) -> None:
        self._make = make
        self._disk = disk

    def open_store(self) -> Store:
        return self._make(self._disk)

    def after_crash(self, choose: Choose) -> OnSimulatedDisk:
        return OnSimulatedDisk(self._make, self._disk.crashed(choose))

    def fail_next(self, fault: Fault) -> None:
        if fault is Fault.NOT_WRITTEN:
            self._disk.fail("write", 1, after_bytes=10)
        else:
            # a commit is made durable by a synced write or by a sync of its own
            self._disk.fail("sync", 1)
            self._disk.fail("write", 1, error_number=5)


class InSqlite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._faults = Faults()
        self._crashes = 0

    def open_store(self) -> SqliteStore:
        return SqliteStore(self._folder / "data.sqlite", connect=self._faults.connect)

    def after_crash(self, choose: Choose) -> InSqlite:
        self._crashes += 1
        found = self._folder / f"crash-{self._crashes}"
        found.mkdir()
        # the log last: what a checkpoint moved meanwhile is in it still
        for name in ("data.sqlite", "data.sqlite-wal"):
            shutil.copy(self._folder / name, found)
        return InSqlite(found)

    def fail_next(self, fault: Fault) -> None:
        self._faults.fail_next(fault)


class InSnapshots:
    def __init__(self, snapshots: FailingSnapshots) -> None:
        self._snapshots = snapshots

    def open_store(self) -> SnapshotOnlyStore:
        return SnapshotOnlyStore(self._snapshots)

    def after_crash(self, choose: Choose) -> InSnapshots:
        return InSnapshots(self._snapshots.copied())

    def fail_next(self, fault: Fault) -> None:
        self._snapshots.faults.append(fault)


class InPostgres:
    def __init__(self, schema: PostgresSchema, at_the_end: ExitStack) -> None:
        self._schema = schema
        self._at_the_end = at_the_end
        self._crashes = 0

    def open_store(self) -> Store:
        return self._schema.store()

    def after_crash(self, choose: Choose) -> InPostgres:
        self._crashes += 1
        found = self._schema.copied(f"{self._schema.name}_{self._crashes}")
        self._at_the_end.callback(found.drop)
        return InPostgres(found, self._at_the_end)

    def fail_next(self, fault: Fault) -> None:
        assert fault is Fault.NOT_WRITTEN
        self._schema.fail_next_append()


class RoomAgain(RedisStore):
    """Has the server take writes again once one was refused for lack of memory."""

    url: str

    async def append(self, *arguments: object, **options: object) -> None:
        try:
            await super().append(*arguments, **options)
        except StoreFailed:
            redis_server.limit_memory(self.url, 0)
            raise


class InRedis:
    def __init__(self, url: str, at_the_end: ExitStack, prefix: str) -> None:
        self._url = url
        self._at_the_end = at_the_end
        self._prefix = prefix

    def open_store(self) -> RedisStore:
        lease_seconds = redis_server.LEASE_SECONDS
        store = RoomAgain(self._url, key_prefix=self._prefix, lease_seconds=lease_seconds)
        store.url = self._url
        return store

    def after_crash(self, choose: Choose) -> InRedis:
        found = redis_server.new_prefix()
        redis_server.copy_keys(self._url, self._prefix, found)
        return InRedis(self._url, self._at_the_end, found)

    def fail_next(self, fault: Fault) -> None:
        assert fault is Fault.NOT_WRITTEN
        self._at_the_end.callback(redis_server.limit_memory, self._url, 0)
        redis_server.limit_memory(self._url, 1)


def on_simulated_disk(kind: str) -> OnSimulatedDisk:
    ring, vault = KeyRing.generate("k"), MemoryVault()
    make: dict[str, Callable[[SimulatedDisk], Store]] = {
        "journal": lambda disk: JournalStore("/data", disk=disk),
        "encrypted": lambda disk: EncryptedStore(JournalStore("/data", disk=disk), ring, vault),
        "jsonl": lambda disk: JsonlStore("/data", disk=disk),
    }
    return OnSimulatedDisk(make[kind], SimulatedDisk())
