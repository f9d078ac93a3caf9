"""Keys that are gone are told, and so is a server that does not keep what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores.health import Severity

from tests.redis_server import running_redis
from tests.stores.inspected import damages, fill, inspected, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.stores import RedisStore


async def do(store: RedisStore, *words: str) -> None:
    """A command about keys of the store, whose names come behind ``:``."""
    prefix = store._server.key_prefix
    async with store._server.connected(store_id=""):
        client: Any = store._server.client
        await client.eval(
            "return redis.call(unpack(ARGV))",
            [],
            [prefix + word[1:] if word.startswith(":") else word for word in words],
        )


async def test_a_sound_store_is_counted(new_store: Callable[..., RedisStore]) -> None:
    await fill(new_store)

    report = await inspected(new_store())

    assert (report.sessions, report.events, report.findings) == (2, 6, ())
    assert report.facts["bytes"] > 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("XDEL", ":l:a", "2-0"), ("'a'",)),
        (("DEL", ":l:a"), ("'a'",)),
        (("DEL", ":s:a"), ("'a'", "listed and its key is gone")),
        (("DEL", ":s:a"), ("l:a", "events of a session that does not exist")),
        (("ZREM", ":sessions", "a"), ("'a'", "not among the sessions that are listed")),
        (("DEL", ":r:a"), ("'a', seq 1", "'r1', submitted here, is not found")),
        (("HDEL", ":r:a", "e:r1"), ("the end of run 'r1' is not found",)),
        (("DEL", ":k:a"), ("the key 'k1' does not find run 'r1'",)),
        (("HSET", ":s:a", "snapshot_seq", "9"), ("its snapshot is of seq 9, beyond the head, 4",)),
        (("HSET", ":c:a", "reader", "9"), ("its cursor 'reader' is at 9, beyond the head, 4",)),
        (("HSET", ":c:c", "x", "1"), ("c:c", "cursors of a session that does not exist")),
        (("HSET", ":s:a", "head", "9"), ("'a'",)),
    ],
)
async def test_what_is_gone_is_told(
    new_store: Callable[..., RedisStore], command: tuple[str, ...], words: tuple[str, ...]
) -> None:
    await fill(new_store)
    await do(new_store(), *command)

    report = await inspected(new_store())

    assert told(report, *words), report.findings
    assert not report.sound


async def test_settings_that_break_promises_are_risks(
    new_store: Callable[..., RedisStore],
) -> None:
    options = {"appendonly": "no", "maxmemory-policy": "allkeys-lru"}
    with running_redis(**options) as server:

        def new() -> RedisStore:
            return new_store(server.url, eviction_allowed=True)

        await fill(new)
        report = await inspected(new())
        server.say("CONFIG", "SET", "appendonly", "yes")
        server.say("CONFIG", "SET", "appendfsync", "everysec")
        later = await inspected(new())

    assert damages(report) == []
    assert all(one.severity is Severity.RISK for one in report.findings)
    assert told(report, "appendonly", "lost when the server ends")
    assert told(report, "maxmemory-policy", "allkeys-lru")
    assert told(later, "appendfsync", "everysec")


async def test_where_there_is_no_store_there_is_nothing_to_check(
    new_store: Callable[..., RedisStore],
) -> None:
    with pytest.raises(StoreFailed, match="there is no store"):
        await new_store().inspect()
