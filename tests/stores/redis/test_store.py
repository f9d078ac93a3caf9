"""RedisStore keeps the promises of the port on a real server, also when that is taken away."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.errors import (
    CorruptLog,
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
)
from moorage.stores import RedisStore
from moorage.stores.conformance import CHECKS, Content, Nonconformance
from moorage.stores.conformance.ownership import leased_session_is_held_until_the_lease_ends
from moorage.stores.conformance.placing import node_that_says_nothing_for_a_lease_is_gone
from moorage.stores.conformance.scenario import Author, note, notes, numbers, refuse
from moorage.stores.redis import scripts, watch

from tests.cutting_proxy import Cut, CuttingProxy
from tests.redis_server import LEASE_SECONDS, RunningRedis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores.conformance import Check, OpenStore
    from moorage.stores.faults import Fault

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@every_check
async def test_it_passes_the_suite(check: Check, new_store: Callable[..., RedisStore]) -> None:
    runs_out = check in (
        leased_session_is_held_until_the_lease_ends,
        node_that_says_nothing_for_a_lease_is_gone,
    )
    await check((lambda: new_store(lease_seconds=1.0)) if runs_out else new_store)


class RoomAgain(RedisStore):
    """Has the server take writes again once one was refused for lack of memory."""

    own_server: RunningRedis

    async def append(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().append(*arguments, **options)
        except StoreFailed:
            self.own_server.say("CONFIG", "SET", "maxmemory", "0")
            raise


@pytest.mark.parametrize(
    "name", ["acknowledged_outlives_a_crash", "undone_append_may_be_tried_again"]
)
async def test_it_passes_on_a_server_that_is_killed_and_one_without_memory(
    name: str, own_server: RunningRedis, tmp_path: Path
) -> None:
    check = next(check for check in CHECKS if check.__name__ == name)
    restarted: list[RunningRedis] = []

    def open_store(at: RunningRedis = own_server) -> RedisStore:
        store = RoomAgain(at.url, lease_seconds=LEASE_SECONDS)
        store.own_server = at
        return store

    def crashed() -> OpenStore:
        copy = RunningRedis(tmp_path / str(len(restarted)))
        shutil.copytree(own_server.data, copy.data)
        copy.start()
        restarted.append(copy)
        # the process that held it is gone with the power: its lease is over when it ends
        copy.say("HSET", "moorage:s:a", "lease", "0")
        return lambda: open_store(copy)

    def fail_next(fault: Fault) -> None:
        own_server.say("CONFIG", "SET", "maxmemory", "1")

    try:
        await check(Content(open_store, crashed, fail_next))
    finally:
        for copy in restarted:
            copy.kill()


# ---- broken ones ----


def _patched(name: str, old: str, new: str, patch: pytest.MonkeyPatch) -> None:
    assert scripts.SCRIPTS[name].count(old) >= 1
    broken = scripts.SCRIPTS[name].replace(old, new)
    patch.setitem(scripts.SCRIPTS, name, broken)
    patch.setitem(scripts.SHAS, name, scripts.sha_of(broken))


BROKEN = {
    "stale_epoch_is_refused": ("append", "epoch ~= ARGV[2]", "false"),
    "append_continues_at_the_head_or_is_refused": ("append", "expected ~= head + 1", "false"),
    "leased_session_is_held_until_the_lease_ends": ("claim", "tonumber(held[3]) > now()", "false"),
    "renew_returns_what_was_lost": ("renew", "== ARGV[i + 1]", "~= ''"),
    "trimmed_events_are_gone": ("trim", "'oldest', text(before)", "'old', '1'"),
    "deleted_id_continues_above_its_last_seq": (
        "delete",
        "redis.call('DEL', log, runs, keys, cursors)",
        "redis.call('DEL', log)",
    ),
    "events_of_a_run_are_from_its_request_to_its_end": (
        "page",
        "low = math.max(low",
        "local x = (0",
    ),
    "sessions_are_listed_newest_change_first": ("append", "'change', 1)", "'change', -1)"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_script_is_found_out(
    name: str, new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _patched(*BROKEN[name], monkeypatch)
    check = next(check for check in CHECKS if check.__name__ == name)

    with pytest.raises(Nonconformance, match=name):
        await check(new_store)


# ---- faults ----


async def test_a_wrong_password_is_a_failed_store(own_server: RunningRedis) -> None:
    own_server.say("CONFIG", "SET", "requirepass", "secret")
    own_server.options["requirepass"] = "secret"

    for options in ({}, {"password": "wrong"}):
        with pytest.raises(StoreFailed, match="cannot be used") as caught:
            async with RedisStore(own_server.url, **options).opened(owner="t", deliver=refuse):
                pass
        assert caught.value.written is False
    async with RedisStore(own_server.url, password="secret").opened(owner="t", deliver=refuse):
        pass


async def test_no_server_is_a_failed_store() -> None:
    with pytest.raises(StoreFailed, match="cannot be used"):
        async with RedisStore("redis://127.0.0.1:1").opened(owner="t", deliver=refuse):
            pass


async def test_a_server_that_may_evict_is_refused_unless_told(own_server: RunningRedis) -> None:
    own_server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    with pytest.raises(StoreFailed, match=r"may evict keys .*allkeys-lru"):
        async with RedisStore(own_server.url).opened(owner="t", deliver=refuse):
            pass
    store = RedisStore(own_server.url, eviction_allowed=True)
    async with store.opened(owner="t", deliver=refuse):
        await (await Author.of(store, "a")).write(note(1))


@pytest.mark.parametrize("cut", list(Cut))
async def test_an_append_whose_connection_is_cut_is_there_once(
    cut: Cut, own_server: RunningRedis
) -> None:
    async with CuttingProxy(own_server.port).running() as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}", lease_seconds=LEASE_SECONDS)
        async with store.opened(owner="t", deliver=refuse):
            author = await Author.of(store, "a")
            await author.write(note(1))
            proxy.plan[b"marked"] = cut, 1
            await author.write(note(2, data={"number": 2, "text": "marked"}), note(3))
            await author.write(note(4))

            assert proxy.cuts == 1
            assert await numbers(store, "a") == [(1, 1), (2, 2), (3, 3), (4, 4)]
            assert store.statistics().resolved == (cut is Cut.AFTER)


async def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    own_server: RunningRedis,
) -> None:
    store = RedisStore(own_server.url, lease_seconds=LEASE_SECONDS)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))
        own_server.kill()
        store._server._patience_seconds = 0.5

        with pytest.raises(StoreFailed, match="did not answer") as caught:
            await author.write(note(2))

        assert caught.value.written is None
        assert not caught.value.poisoned


async def test_a_server_that_comes_back_with_its_data_is_gone_on_with(
    own_server: RunningRedis,
) -> None:
    store = RedisStore(own_server.url, lease_seconds=LEASE_SECONDS)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))
        own_server.kill()
        own_server.start()

        await author.write(note(2))

        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_a_server_that_comes_back_empty_is_noticed(own_server: RunningRedis) -> None:
    store = RedisStore(own_server.url, lease_seconds=LEASE_SECONDS)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))
        own_server.kill()
        shutil.rmtree(own_server.data)
        own_server.start()

        for call in (
            lambda: author.write(note(2)),
            lambda: store.claim("a"),
            lambda: store.claim("another"),
            lambda: store.read("a"),
            lambda: store.info("a"),
            lambda: store.save_cursor("a", "c", 1),
            lambda: store.renew([author.claim]),
        ):
            with pytest.raises(CorruptLog, match="the store that was opened is gone"):
                await call()
    assert b"moorage:s:a" not in own_server.say("KEYS", "*")


@pytest.mark.parametrize("kind", ["s", "l"])
async def test_keys_that_were_evicted_are_noticed(kind: str, own_server: RunningRedis) -> None:
    store = RedisStore(own_server.url, lease_seconds=LEASE_SECONDS)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        own_server.say("DEL", f"moorage:{kind}:a")

        with pytest.raises((CorruptLog, StaleOwner)):
            await author.write(note(4))
        with pytest.raises(CorruptLog, match="is not whole"):
            await store.read("a")
        with pytest.raises(CorruptLog, match="is not whole"):
            await store.claim("a")


async def test_a_session_expires_as_a_whole(own_server: RunningRedis) -> None:
    store = RedisStore(own_server.url, lease_seconds=50.0, session_ttl_seconds=60.0)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r", key="k"))
        await store.save_cursor("a", "c", 1)
        epoch = author.claim.epoch
        assert int(own_server.say("PTTL", "moorage:c:a")[1:]) > 0
        store._expires_ms = 50
        await author.write(note(2))
        with trio.fail_after(60):
            while await store.info("a") is not None:
                await trio.lowlevel.checkpoint()

        assert [info async for info in store.sessions()] == []
        with pytest.raises(StaleOwner):
            await author.write(note(3))
        claim = await store.claim("a")
        assert (claim.head_seq, claim.info) == (0, None)
        assert claim.epoch > epoch
        keys = own_server.say("KEYS", "*:a")
        assert all(name not in keys for name in (b":l:a", b":r:a", b":k:a", b":c:a"))


async def test_a_lease_of_a_process_that_is_gone_ends_on_the_servers_clock(
    new_store: Callable[..., RedisStore],
) -> None:
    first, second = new_store(), new_store()
    async with second.opened(owner="second", deliver=refuse):
        async with first.opened(owner="first", deliver=refuse):
            author = await Author.of(first, "a")
            await author.write(note(1))
            with pytest.raises(SessionHeld, match=r"first \(process"):
                await second.claim("a")
        newer = await Author.of(second, "a")  # a store that closes lets go of what it has
        await newer.write(note(2))


async def test_messages_may_be_lost_and_news_comes_all_the_same(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.Watch, "_take", lambda self, message: None)
    store = new_store()
    async with store.opened(owner="t", deliver=refuse), store.reading() as reader:
        author = await Author.of(store, "a")
        await author.write(note(1))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for waiting in (store, reader):
                    nursery.start_soon(partial(waiting.wait_news, "a", after=1))
                await trio.sleep(0.1)
                await author.write(note(2))

        assert await numbers(reader, "a") == [(1, 1), (2, 2)]


async def test_a_reader_finds_no_store_before_the_first_opening(
    new_store: Callable[..., RedisStore],
) -> None:
    with pytest.raises(StoreFailed, match="there is no store"):
        async with new_store().reading():
            pass


async def test_what_the_block_raises_leaves_bare(new_store: Callable[..., RedisStore]) -> None:
    store = new_store()
    with pytest.raises(KeyError, match="mine"):
        async with store.opened(owner="t", deliver=refuse):
            raise KeyError("mine")
    with pytest.raises(StoreFailed, match="is closed"):
        await store.info("a")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://localhost"},
        {"url": None},
        {"lease_seconds": 0},
        {"answer_seconds": "5"},
        {"session_ttl_seconds": -1},
        {"session_ttl_seconds": 10},
        {"connections_max": 1},
        {"key_prefix": "\ud800"},
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        RedisStore(**{"url": "redis://localhost", **options})
