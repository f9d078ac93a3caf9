"""Nodes in Redis: what they say of themselves, and who takes what nobody has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.commands import GetStatus
from moorage.runtime.errors import StoreFailed
from moorage.runtime.placement import NodeState, UnheldSession, words_of
from moorage.stores.conformance.scenario import Author, facts, note, opened, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime.commands import Answer, Command
    from moorage.stores import RedisStore

    from tests.redis_server import RunningRedis

EU = words_of({"region": "eu"}, ())
QUEUED = {"queued": 1}


async def test_the_least_loaded_of_those_that_can_serve_it_gets_a_command(
    new_store: Callable[..., RedisStore],
) -> None:
    got: list[str] = []

    def door(name: str) -> Callable[[str, Command], object]:
        async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
            got.append(name)
            return name

        return deliver

    asking, busy, free = (new_store() for _ in range(3))
    async with (
        asking.opened(owner="asking", deliver=door("asking")),  # type: ignore[arg-type]
        busy.opened(owner="busy", deliver=door("busy")),  # type: ignore[arg-type]
        free.opened(owner="free", deliver=door("free")),  # type: ignore[arg-type]
    ):
        author = await Author.of(asking, "s")
        await author.write(note(1), info=facts("s", node_tags={"region": "eu"}))
        await asking.release(author.claim)
        await asking.announce(NodeState(frozenset(), 10, 10))
        await busy.announce(NodeState(EU, 10, 10, sessions_busy=9))
        await free.announce(NodeState(EU, 100, 100, sessions_busy=20))

        assert await asking.hand_over("s", GetStatus()) == "free"
    assert got == ["free"]


async def test_a_node_that_died_goes_a_day_later(new_store: Callable[..., RedisStore]) -> None:
    async with opened(new_store) as store, new_store().reading() as reader:
        prefix = store._server.key_prefix
        now = round(trio.current_time()) + 10**9
        for name, until in (("old", 1_000), ("recent", now * 10**6)):
            record = b"%d:" % until + b"\x93\xa3who\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xc0"
            await store._server.client.hset(f"{prefix}nodes", {name: record})
        before = [node.id for node in await reader.nodes()]  # type: ignore[attr-defined]
        await store.announce(NodeState(EU, 10, 10))
        after = [node.id for node in await store.nodes()]

    assert sorted([*after, "old"]) == sorted(before)
    assert "recent" in after


async def test_demands_of_what_waits_are_told_with_it_as_many_as_are_wanted(
    new_store: Callable[..., RedisStore],
) -> None:
    async with opened(new_store) as store:
        for number in range(3):
            author = await Author.of(store, f"s{number}")
            info = facts(f"s{number}", runs=QUEUED, node_tags={"region": "eu"})
            await author.write(note(number), info=info)
            await store.release(author.claim)

        assert await store.unheld(2, offer=EU) == [
            UnheldSession("s0", EU),
            UnheldSession("s1", EU),
        ]
        assert await store.unserved(1) == [UnheldSession("s0", EU)]


async def test_who_had_a_session_is_told_when_its_lease_is_over(
    new_store: Callable[..., RedisStore],
) -> None:
    async with opened(new_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        await store._server.client.hset(store._server.keys("a")[1], {"lease": "1"})
        holder = await store.holder("a")
        nobody = await store.holder("no text \udc80")

    assert holder is not None
    assert (holder.node_id, holder.owner) == (store._node, store._holder)
    assert holder.epoch == author.claim.epoch
    assert not holder.live
    assert nobody is None


async def test_a_server_that_is_gone_takes_no_message(
    new_store: Callable[..., RedisStore], own_server: RunningRedis
) -> None:
    store = new_store(own_server.url)
    async with store.opened(owner="me", deliver=refuse):
        own_server.kill()
        store._server._patience_seconds = 0.3

        with pytest.raises(StoreFailed, match="took no message"):
            await store.tell_unheld()
