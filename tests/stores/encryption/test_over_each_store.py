"""The suite for stores, over every store that keeps things, with all of it sealed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.stores import Durability, JsonlStore, SnapshotOnlyStore, SqliteStore
from moorage.stores.conformance import CHECKS, Content
from moorage.stores.conformance.ownership import leased_session_is_held_until_the_lease_ends
from moorage.stores.conformance.placing import node_that_says_nothing_for_a_lease_is_gone
from moorage.stores.encryption import EncryptedStore, FileVault, KeyRing

from tests.redis_server import LEASE_SECONDS, new_prefix
from tests.stores.snapshot_only.failing_snapshots import FailingSnapshots

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check, OpenStore

    from tests.postgres_server import PostgresSchema

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
RING = KeyRing.generate("k")
ENDING_LEASE_SECONDS = 1.5


def encrypted(open_store: OpenStore, folder: Path) -> OpenStore:
    return lambda: EncryptedStore(open_store(), RING, FileVault(folder / "vault"))


@every_check
async def test_over_sqlite(check: Check, tmp_path: Path) -> None:
    inner = partial(SqliteStore, tmp_path / "a.db", durability=Durability.BUFFERED)
    await check(encrypted(inner, tmp_path))


@every_check
async def test_over_jsonl(check: Check, tmp_path: Path) -> None:
    inner = partial(JsonlStore, tmp_path / "store", durability=Durability.BUFFERED)
    await check(encrypted(inner, tmp_path))


@every_check
async def test_over_snapshots(check: Check, tmp_path: Path) -> None:
    snapshots = FailingSnapshots()

    def crashed() -> OpenStore:
        return encrypted(partial(SnapshotOnlyStore, snapshots.copied()), tmp_path)

    inner = partial(SnapshotOnlyStore, snapshots)
    await check(Content(encrypted(inner, tmp_path), crashed, snapshots.faults.append))


@every_check
async def test_over_postgres(check: Check, tmp_path: Path, postgres: PostgresSchema) -> None:
    await check(encrypted(partial(postgres.store, **lease_for(check)), tmp_path))


@every_check
async def test_over_redis(check: Check, tmp_path: Path, redis_url: str) -> None:
    from moorage.stores import RedisStore  # an extra

    inner = partial(RedisStore, redis_url, key_prefix=new_prefix(), **lease_for(check))
    await check(encrypted(inner, tmp_path))


def lease_for(check: Check) -> dict[str, float]:
    """Short only where it has to run out: else a slow machine is no failure."""
    runs_out = check in (
        leased_session_is_held_until_the_lease_ends,
        node_that_says_nothing_for_a_lease_is_gone,
    )
    return {"lease_seconds": ENDING_LEASE_SECONDS if runs_out else LEASE_SECONDS}
