"""Readers: connections are shared and given back, other processes' commits are noticed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores import SqliteStore
from moorage.stores.conformance.scenario import Author, listed, note, notes, numbers, opened
from moorage.stores.sqlite.opening import Place
from moorage.stores.sqlite.reading import READ_THREADS_MAX, ReadPool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "data.sqlite"
    async with opened(lambda: SqliteStore(path)) as store:
        await (await Author.of(store, "a")).write(*notes(1, 10))
    return path


def pool_of(path: Path) -> ReadPool:
    return ReadPool(Place(path, True, 1, sqlite3.connect))


async def test_connections_are_used_again_and_bounded(path: Path) -> None:
    pool = pool_of(path)

    for _ in range(3):
        await pool.ask(lambda connection: connection.execute("SELECT 1").fetchone())
    assert pool.connections == 1
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(pool.ask, lambda connection: None)
    assert 1 <= pool.connections <= READ_THREADS_MAX
    pool.close()

    assert pool.connections == 0


async def test_a_connection_that_is_out_when_the_pool_closes_is_closed_when_it_comes_back(
    path: Path,
) -> None:
    pool = pool_of(path)

    await pool.ask(lambda connection: pool.close())

    assert pool.connections == 0


async def test_a_question_that_fails_gives_its_connection_back(path: Path) -> None:
    pool = pool_of(path)

    with pytest.raises(StoreFailed, match="no such table"):
        await pool.ask(lambda connection: connection.execute("SELECT * FROM absent"))
    assert await pool.ask(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
    assert pool.connections == 1
    pool.close()


async def test_each_answer_is_of_one_moment(path: Path) -> None:
    async with opened(lambda: SqliteStore(path)) as store:
        author = await Author.of(store, "a")
        pool = pool_of(path)
        looked, go_on = trio.Event(), trio.Event()

        def look_twice(connection: sqlite3.Connection) -> tuple[object, object]:
            first = connection.execute("SELECT head_seq FROM session").fetchone()
            trio.from_thread.run_sync(looked.set)
            trio.from_thread.run(go_on.wait)
            return first, connection.execute("SELECT head_seq FROM session").fetchone()

        async def write() -> None:
            await looked.wait()
            await author.write(note(11))
            go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            first, second = await pool.ask(look_twice)
        pool.close()

        assert first == second == (10,)


async def test_events_that_are_missing_are_damage(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM event WHERE seq = 5")
    connection.commit()
    connection.close()

    async with SqliteStore(path).reading() as reader:
        with pytest.raises(CorruptLog, match="missing"):
            await reader.read("a")
        assert len((await reader.read("a", after=5)).events) == 5


async def test_an_info_that_cannot_be_decoded_is_damage(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE session SET info = x'00'")
    connection.commit()
    connection.close()

    async with SqliteStore(path).reading() as reader:
        with pytest.raises(CorruptLog, match="info cannot be decoded"):
            await reader.info("a")
        with pytest.raises(CorruptLog, match="info cannot be decoded"):
            await listed(reader.sessions())


async def test_a_reader_that_nobody_writes_beside_waits_and_can_be_cancelled(path: Path) -> None:
    async with SqliteStore(path).reading() as reader:
        with trio.move_on_after(0.1) as scope:
            await reader.wait_news("a", after=10)

        assert scope.cancelled_caught
        assert reader.statistics().waiting == 0


async def test_a_reader_is_over_with_its_block(path: Path) -> None:
    async with SqliteStore(path).reading() as reader:
        assert len(await numbers(reader, "a")) == 10

    with pytest.raises(StoreFailed, match="is not open"):
        await reader.info("a")
