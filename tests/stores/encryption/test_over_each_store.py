"""The suite for stores, over every store that keeps things, with all of it sealed.

Over the two servers it is a part of it, which keeps this short: what is kept and forgotten, and
what is found or filtered by something that is sealed. Leases and news are the inner store's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.stores import Durability, JsonlStore, SqliteStore
from moorage.stores.conformance import CHECKS
from moorage.stores.conformance.keeping import KEEPING
from moorage.stores.encryption import EncryptedStore, FileVault, KeyRing

from tests.redis_server import new_prefix

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check, OpenStore

    from tests.postgres_server import PostgresSchema

ON_SERVERS = (
    *KEEPING,
    *(
        check
        for check in CHECKS
        if check.__name__
        in (
            "claim_tells_what_is_there",
            "stale_epoch_is_refused",
            "command_reaches_the_owner",
            "batch_is_all_or_nothing_to_readers",
            "info_is_replaced_and_kept_up_by_the_store",
            "keys_are_found",
            "runs_are_found",
            "backward_page_is_the_end_of_the_range",
            "sessions_are_listed_by_prefix_tags_and_need",
            "sessions_are_listed_newest_change_first",
            "sessions_do_not_mix",
        )
    ),
)
assert len(ON_SERVERS) == len(KEEPING) + 11, "a name is that of no check"
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
some_checks = pytest.mark.parametrize("check", ON_SERVERS, ids=lambda check: check.__name__)
RING = KeyRing.generate("k")


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


@some_checks
async def test_over_postgres(check: Check, tmp_path: Path, postgres: PostgresSchema) -> None:
    await check(encrypted(postgres.store, tmp_path))


@some_checks
async def test_over_redis(check: Check, tmp_path: Path, redis_url: str) -> None:
    from moorage.stores import RedisStore  # an extra

    await check(encrypted(partial(RedisStore, redis_url, key_prefix=new_prefix()), tmp_path))
