from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores.redis.server import NOT_DONE, RedisServer, new_id

if TYPE_CHECKING:
    from tests.redis_server import RunningRedis


def server_at(url: str, **options: Any) -> RedisServer:
    values: dict[str, Any] = {
        "password": None,
        "database": 0,
        "connections_max": 4,
        "key_prefix": "p:",
        "answer_seconds": 60.0,
        "patience_seconds": 60.0,
        "eviction_allowed": False,
    }
    return RedisServer(url, **{**values, **options})


def test_keys_of_a_session_begin_with_the_prefix() -> None:
    assert server_at("redis://h").keys("a:b") == (
        ["p:meta", "p:s:a:b", "p:l:a:b", "p:r:a:b", "p:k:a:b", "p:c:a:b", "p:sessions"]
    )


def test_a_password_is_not_told() -> None:
    assert server_at("redis://user:secret@host:1/2").place == "Redis at host:1/2"


@pytest.mark.parametrize(
    ("answer", "not_done"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", True),
        ("Error running script (call to f_1): @user_script:1: -OOM command not allowed", True),
        ("READONLY You can't write against a read only replica.", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
        ("something about ROOM for all", False),
    ],
)
def test_some_answers_say_that_nothing_was_done(answer: str, not_done: bool) -> None:
    assert bool(NOT_DONE.search(answer)) is not_done


async def test_the_store_is_the_one_that_was_there_first(redis_url: str) -> None:
    ids = []
    prefix = f"test:{new_id()}:"
    for _ in range(2):
        server = server_at(redis_url, key_prefix=prefix)
        async with server.connected(store_id=new_id()):
            ids.append(server.store_id)

    assert ids[0] == ids[1]


async def test_a_database_is_a_store_of_its_own(own_server: RunningRedis) -> None:
    async with server_at(own_server.url).connected(store_id=new_id()):
        pass

    with pytest.raises(StoreFailed, match="there is no store"):
        async with server_at(own_server.url, database=3).connected(store_id=""):
            pass


async def test_a_newer_format_is_refused(own_server: RunningRedis) -> None:
    own_server.say("HSET", "p:meta", "id", "x", "format", "99")

    with pytest.raises(StoreFailed, match="use a newer moorage"):
        async with server_at(own_server.url).connected(store_id=new_id()):
            pass


async def test_a_server_of_another_kind_of_keys_is_a_failed_store(own_server: RunningRedis) -> None:
    server = server_at(own_server.url)
    async with server.connected(store_id=new_id()):
        own_server.say("SET", "p:s:a", "text")

        with pytest.raises(StoreFailed, match="failed in look"):
            await server.ask("look", "a", "a", "0", "")


async def test_a_replica_refuses_and_nothing_was_done(own_server: RunningRedis) -> None:
    server = server_at(own_server.url)
    async with server.connected(store_id=new_id()):
        own_server.say("REPLICAOF", "127.0.0.1", "1")

        with pytest.raises(StoreFailed, match="READONLY") as caught:
            await server.ask("claim", "a", "a", "node", "holder", "1000", "0")

    assert caught.value.written is False


async def test_what_is_asked_outside_the_block_is_refused() -> None:
    with pytest.raises(StoreFailed, match="not connected"):
        await server_at("redis://h").listed()
