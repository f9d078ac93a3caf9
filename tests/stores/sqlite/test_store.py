"""SqliteStore keeps the promises of the port, and what they mean for a file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import InvalidArgument, SessionHeld, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores import SqliteStore
from moorage.stores.conformance import CHECKS
from moorage.stores.conformance.scenario import Author, note, numbers, opened, refuse, stopwatch
from moorage.stores.durability import Durability

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check, Content


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, content: Content) -> None:
    await check(content)


@pytest.mark.parametrize("durability", ["forever", 3, None])
def test_a_durability_that_is_none_is_refused(durability: object) -> None:
    with pytest.raises(InvalidArgument, match="'commit' or 'buffered'"):
        SqliteStore("x", durability=durability)


def test_a_negative_patience_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="busy_seconds must be at least 0, not -1"):
        SqliteStore("x", busy_seconds=-1)


async def test_what_the_block_raises_leaves_it_bare(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data.sqlite")

    with pytest.raises(KeyError, match="mine"):
        async with store.opened(owner="me", deliver=refuse):
            raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        async with store.reading():
            raise KeyError("mine")


async def test_a_closed_store_refuses_every_call(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data.sqlite")
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))

    for call in (
        lambda: store.claim("a"),
        lambda: store.renew([author.claim]),
        lambda: store.release(author.claim),
        lambda: author.write(note(2)),
        lambda: store.save_snapshot(author.claim, Snapshot(1, b"")),
        lambda: store.save_cursor("a", "c", 1),
        lambda: store.info("a"),
        lambda: store.wait_news("a", after=0),
    ):
        with pytest.raises(StoreFailed, match="is not open"):
            await call()


async def test_appends_that_come_together_share_a_commit(tmp_path: Path) -> None:
    async with opened(lambda: SqliteStore(tmp_path / "data.sqlite")) as store:
        authors = [await Author.of(store, f"s{number}") for number in range(50)]
        before = store.statistics()

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(author.write, note(1))
        after = store.statistics()

    assert after.records - before.records == 50
    assert after.commits - before.commits <= 3
    assert after.syncs - before.syncs == after.commits - before.commits


async def test_a_buffered_store_makes_no_syncs(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    async with opened(lambda: SqliteStore(path, durability=Durability.BUFFERED)) as store:
        await (await Author.of(store, "a")).write(note(1))

        assert (store.statistics().commits, store.statistics().syncs) == (1, 0)
    async with opened(lambda: SqliteStore(path)) as store:
        assert await numbers(store, "a") == [(1, 1)]


async def test_another_program_that_locks_the_database_delays_or_fails_a_write(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.sqlite"
    async with opened(lambda: SqliteStore(path, busy_seconds=0.05)) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreFailed, match=r"SQLITE_BUSY.*another program") as caught:
            await author.write(note(2))
        assert (caught.value.written, caught.value.poisoned) == (False, False)
        assert await numbers(store, "a") == [(1, 1)]
        other.execute("ROLLBACK")
        other.close()
        await author.write(note(2))

        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_a_disk_that_is_full_fails_one_write_and_all_behind_it(content: Content) -> None:
    from moorage.stores.faults import Fault

    async with opened(content) as store:
        authors = [await Author.of(store, f"s{number}") for number in range(3)]
        assert content.fail_next is not None
        content.fail_next(Fault.NOT_WRITTEN)
        failures: list[StoreFailed] = []

        async def write(author: Author) -> None:
            try:
                await author.write(note(1))
            except StoreFailed as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(write, author)

        assert {str(failure).partition("failed: ")[2][:11] for failure in failures} == {
            "SQLITE_FULL"
        }
        assert len({id(failure) for failure in failures}) == len(failures) == 3
        for author in authors:
            await author.write(note(1))
        assert store.statistics().commits_failed == 1


async def test_the_log_is_brought_into_the_file_now_and_then(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    async with opened(lambda: SqliteStore(path)) as store:
        author = await Author.of(store, "a")
        blob = b"x" * 1_000_000

        for number in range(1, 41):
            await author.write(note(number, data={"number": number, "blob": blob}))
        await author.write(note(41))

        assert store.statistics().checkpoints == 1
        assert path.stat().st_size > 30_000_000
        assert (await store.read("a", after=40)).events[0].data == {"number": 41}


OWN = """
import sys, trio
from moorage.stores import SqliteStore
from moorage.stores.conformance.scenario import Author, notes, refuse

async def main():
    store = SqliteStore(sys.argv[1])
    async with store.opened(owner="the first process", deliver=refuse):
        await (await Author.of(store, "a")).write(*notes(1, 3))
        print("ready", flush=True)
        for line in sys.stdin:
            author = await Author.of(store, "a")
            await author.write(*notes(author.head_seq + 1, author.head_seq + 1))
            print("written", flush=True)

trio.run(main)
"""


async def test_another_process_is_refused_reads_and_takes_over_after_a_kill(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.sqlite"
    owner = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", OWN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    try:
        assert await trio.to_thread.run_sync(owner.stdout.readline) == b"ready\n"
        with pytest.raises(SessionHeld, match="the first process") as caught:
            async with opened(lambda: SqliteStore(path)):
                pass
        assert f"process {owner.pid}" in caught.value.holder
        async with SqliteStore(path).reading() as reader:
            assert await numbers(reader, "a") == [(n, n) for n in (1, 2, 3)]
            async with stopwatch(SqliteStore(path)) as watch:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: reader.wait_news("a", after=3))
                    owner.stdin.write(b"more\n")
                    owner.stdin.flush()
                    assert await trio.to_thread.run_sync(owner.stdout.readline) == b"written\n"
                    watch.start("written")
                watch.check("written")
            assert await numbers(reader, "a", after=3) == [(4, 4)]
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()

    async with opened(lambda: SqliteStore(path)) as store:
        author = await Author.of(store, "a")
        assert author.head_seq == 4
        await author.write(note(5))
