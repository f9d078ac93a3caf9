"""A node comes and goes, also when the database does not answer any more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import SessionHeld, StoreFailed
from moorage.stores.conformance.scenario import Author, note, opened
from moorage.stores.postgres.node import join_nodes

from tests.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


async def test_a_node_that_leaves_takes_its_row_along(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        await (await Author.of(store, "a")).write(note(1))
        assert postgres.rows("SELECT count(*) FROM node") == [(1,)]
        assert postgres.rows("SELECT owner FROM session") == [(store.statistics().node,)]

    assert postgres.rows("SELECT count(*) FROM node") == [(0,)]
    assert postgres.rows("SELECT owner FROM session") == [(None,)]


async def test_a_node_without_a_database_leaves_all_the_same(postgres: PostgresSchema) -> None:
    async with CuttingProxy(postgres.server.port).running() as proxy:
        with trio.fail_after(60):
            async with opened(lambda: postgres.store(through=proxy.port)) as s:
                await (await Author.of(s, "a")).write(note(1))
                s._lease_seconds = s._node._lease_seconds = 0.5
                await s.renew([])
                proxy.refusing = True
                proxy.cut_all()

    async with opened(postgres.store) as store:
        claim = None
        with trio.fail_after(60):
            while claim is None:
                with contextlib.suppress(SessionHeld):
                    claim = await store.claim("a")


async def test_a_node_of_which_nothing_is_left_in_the_database_has_lost_everything(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        postgres.do("DELETE FROM node")

        assert await store.renew([author.claim]) == [author.claim]


async def test_a_renewal_does_not_wait_for_readers(postgres: PostgresSchema) -> None:
    async with opened(lambda: postgres.store(connections_max=1)) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        pool = store._pool._pool
        taken = pool.getconn()

        assert await store.renew([author.claim]) == []
        pool.putconn(taken)


async def test_a_renewal_that_hangs_can_be_left(postgres: PostgresSchema) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        claim = await store.claim("a")
        assert await store.renew([claim]) == []
        proxy.fall_silent()
        with trio.move_on_after(0.2) as scope:
            await store.renew([claim])
        proxy.speak()

        assert scope.cancelled_caught


def test_joining_needs_tables(postgres: PostgresSchema) -> None:
    postgres.drop()

    with pytest.raises(StoreFailed, match="moorage migrate"):
        join_nodes(postgres.store()._place, "me", 5)
