"""Reading from a server that restarts, and pages of what is too large to take in at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores.conformance.scenario import Author, listed, note, notes, numbers, opened
from moorage.stores.postgres.reading import Pool, PostgresReads, one_moment
from moorage.stores.relational import reads as shared
from moorage.stores.relational import statements as sql

from tests.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.ports import StoreReader
    from moorage.stores.postgres.place import Connection

    from tests.postgres_server import PostgresSchema


@pytest.fixture
async def pool(postgres: PostgresSchema) -> AsyncIterator[Pool]:
    pool = Pool(postgres.store()._place, 2, 60)
    pool.open()
    yield pool
    await trio.to_thread.run_sync(pool.close)


def backend(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_connection_that_the_server_ended_is_replaced(
    pool: Pool, postgres: PostgresSchema
) -> None:
    first = await pool.ask(backend)
    postgres.do(f"SELECT pg_terminate_backend({first})")

    second = await pool.ask(backend)

    assert second != first


async def test_a_question_that_always_loses_its_connection_fails(
    pool: Pool, postgres: PostgresSchema
) -> None:
    asked = 0

    def ask(connection: Connection) -> None:
        nonlocal asked
        asked += 1
        postgres.do(f"SELECT pg_terminate_backend({backend(connection)})")
        connection.execute("SELECT 1")

    with pytest.raises(StoreFailed, match="AdminShutdown") as caught:
        await pool.ask(ask)

    assert asked == 2
    assert caught.value.written is None


async def test_who_no_longer_waits_is_not_kept_waiting(pool: Pool) -> None:
    with trio.move_on_after(0.1) as scope:
        await pool.ask_or_leave(lambda connection: connection.execute("SELECT pg_sleep(60)"))

    assert scope.cancelled_caught
    assert await pool.ask(backend)


async def test_each_answer_is_of_one_moment(pool: Pool, postgres: PostgresSchema) -> None:
    def look_twice(connection: Connection) -> tuple[object, object]:
        with one_moment(connection):
            first = connection.execute("SELECT count(*) FROM node").fetchone()
            postgres.do("INSERT INTO node (owner, lease_until) VALUES ('x', now())")
            return first, connection.execute("SELECT count(*) FROM node").fetchone()

    first, second = await pool.ask(look_twice)

    assert first == second == (0,)
    with pytest.raises(StoreFailed, match="ReadOnlySqlTransaction"):
        await pool.ask(_write_in_a_moment)


def _write_in_a_moment(connection: Connection) -> None:
    with one_moment(connection):
        connection.execute("INSERT INTO node (owner, lease_until) VALUES ('x', now())")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("types", [None, frozenset({"message_sent"})])
async def test_a_page_is_bounded_in_the_server(
    postgres: PostgresSchema,
    monkeypatch: pytest.MonkeyPatch,
    backwards: bool,
    types: frozenset[str] | None,
) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        size = len(note(1).body)
        await author.write(*notes(1, 100))
        monkeypatch.setattr(shared, "PAGE_BYTES_MAX", 5 * size + size // 2)
        statement = sql.events(types=0, run=False, backwards=backwards)
        number = postgres.rows("SELECT number FROM session")[0][0]
        rows = await store._pool.ask(
            lambda connection: (
                PostgresReads()._run(connection, statement, number, 1, 100, 1_000).fetchall()
            )
        )

        page = await store.read("a", before=10, backwards=backwards, types=types)
        one = await store.read("a", limit=1, backwards=backwards, types=types)
        monkeypatch.setattr(shared, "PAGE_BYTES_MAX", 1)
        largest = await store.read("a", backwards=backwards, types=types)

    # the one that is too much, and one behind it, which says that there are more
    assert len(rows) == 7
    expected = ([5, 6, 7, 8, 9], 5) if backwards else ([1, 2, 3, 4, 5], 5)
    assert ([event.seq for event in page.events], page.scanned_to) == expected
    end = 100 if backwards else 1
    for found in (one, largest):
        assert ([event.seq for event in found.events], found.scanned_to) == ([end], end)


async def test_events_that_are_missing_are_damage(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        await (await Author.of(store, "a")).write(*notes(1, 10))
        postgres.do("DELETE FROM event WHERE seq = 5")

        with pytest.raises(CorruptLog, match="missing"):
            await store.read("a")
        assert len((await store.read("a", after=5)).events) == 5


async def test_a_listing_is_read_in_slices(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moorage.stores.relational import reading as module

    monkeypatch.setattr(module, "LISTING_SLICE", 2)
    async with opened(postgres.store) as store:
        for number in range(5):
            await (await Author.of(store, f"s{number}")).write(note(number))

        found = await listed(store.sessions())

    assert found == ["s4", "s3", "s2", "s1", "s0"]


async def test_a_reader_is_over_with_its_block(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        await (await Author.of(store, "a")).write(note(1))
    async with postgres.store().reading() as reader:
        assert await numbers(reader, "a") == [(1, 1)]
        assert reader.statistics().waiting == 0

    with pytest.raises(StoreFailed, match="is not open"):
        await reader.info("a")


async def test_a_server_that_hangs_is_given_up(postgres: PostgresSchema) -> None:
    async with CuttingProxy(postgres.server.port).running() as proxy:
        pool = Pool(postgres.store(through=proxy.port)._place, 2, 60, 0.2)
        pool.open()
        await pool.ask(backend)
        proxy.fall_silent()

        async def cut_when_stuck() -> None:
            await trio.sleep(0.3)
            pool.cut_stuck()
            proxy.speak()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_when_stuck)
                assert await pool.ask(backend)
        await trio.to_thread.run_sync(pool.close)


@pytest.mark.parametrize("reader_alone", [False, True])
async def test_reads_from_a_server_that_hangs_do_not_keep_us_from_closing(
    postgres: PostgresSchema, reader_alone: bool
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        trio.open_nursery() as nursery,
    ):
        store = postgres.store(through=proxy.port, lease_seconds=0.5)
        failed: list[StoreFailed] = []

        async def read(reader: StoreReader) -> None:
            try:
                await reader.info("a")
            except StoreFailed as error:
                failed.append(error)

        with trio.fail_after(60):
            async with store.reading() if reader_alone else opened(lambda: store) as reader:
                assert await reader.info("a") is None
                proxy.fall_silent()
                nursery.start_soon(read, reader)
                await trio.testing.wait_all_tasks_blocked(0.05)

    assert len(failed) == 1
