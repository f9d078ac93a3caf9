"""A connection that is lost before, during or after a commit, and what becomes of the writes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Record, Snapshot
from moorage.stores.conformance.scenario import Author, facts, note, notes, numbers, opened
from moorage.stores.group_commit import Job
from moorage.stores.postgres.place import Place
from moorage.stores.postgres.work import Append, Delete, SaveSnapshot, Trim
from moorage.stores.postgres.writes import Writes
from moorage.stores.relational.rows import checked_info_values

from tests.cutting_proxy import Cut, CuttingProxy

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema

MARKER = b"cut the connection here"


def marked(number: int) -> Record:
    return note(number, data={"number": number, "blob": MARKER})


@pytest.mark.parametrize("when", Cut)
@pytest.mark.parametrize("times", [1, 2])
async def test_an_append_whose_connection_is_cut_is_there_once(
    postgres: PostgresSchema, when: Cut, times: int
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        author = await Author.of(store, "a")
        await author.write(note(1))
        proxy.plan[MARKER] = (when, times)

        await author.write(marked(2), note(3), info=facts("a", summary="new"))
        await author.write(note(4))

        assert proxy.cuts == times
        assert await numbers(store, "a") == [(n, n) for n in (1, 2, 3, 4)]
        info = await store.info("a")
        assert info is not None
        assert info.summary == "new"
        statistics = store.statistics()
        assert statistics.reconnects == times
        assert statistics.resolved == (1 if when is Cut.AFTER else 0)


@pytest.mark.parametrize("when", Cut)
async def test_every_kind_of_write_survives_a_cut(postgres: PostgresSchema, when: Cut) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        author = await Author.of(store, "a")
        await author.write(*notes(1, 5))

        proxy.plan[MARKER] = (when, 1)
        await store.save_snapshot(author.claim, Snapshot(5, MARKER))
        proxy.plan[b"cursor that is cut"] = (when, 1)
        await store.save_cursor("a", "cursor that is cut", 4)
        proxy.plan[b"SET oldest_seq"] = (when, 1)
        await store.trim(author.claim, 4)

        assert await store.snapshot("a") == Snapshot(5, MARKER)
        assert await store.cursor("a", "cursor that is cut") == 4
        assert (await store.read("a", backwards=True)).oldest_seq == 4
        proxy.plan[b"SET info = NULL"] = (when, 1)
        await store.delete(author.claim)
        assert await store.info("a") is None
        assert proxy.cuts == 4


async def test_appends_of_many_sessions_are_resolved_each_by_itself(
    postgres: PostgresSchema,
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        authors = [await Author.of(store, f"s{index}") for index in range(20)]
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for author in authors:
                    nursery.start_soon(author.write, note(author.head_seq + 1))
        proxy.plan[MARKER] = (Cut.AFTER, 1)

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(author.write, marked(3))

        for index in range(20):
            assert await numbers(store, f"s{index}") == [(n, n) for n in (1, 2, 3)]


async def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    postgres: PostgresSchema,
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        author = await Author.of(store, "a")
        await author.write(note(1))
        writes = store._node.writes
        patience, writes._patience_seconds = writes._patience_seconds, 0.5
        proxy.plan[MARKER] = (Cut.BEFORE, 100)

        with pytest.raises(StoreFailed, match="whether anything was kept is unknown") as caught:
            await author.write(marked(2))

        assert (caught.value.written, caught.value.poisoned) == (None, False)
        proxy.plan.clear()
        writes._patience_seconds = patience
        await author.write(note(2))
        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_a_session_that_was_taken_over_during_the_cut_is_refused(
    postgres: PostgresSchema,
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as first,
        opened(postgres.store) as second,
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        proxy.plan[MARKER] = (Cut.BEFORE, 1)
        proxy.refusing = True
        ended: list[BaseException] = []

        async def write() -> None:
            try:
                await author.write(marked(2))
            except StaleOwner as error:
                ended.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            with trio.fail_after(60):
                while not proxy.cuts:
                    await trio.sleep(0.01)
            postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 second'")
            newer = await Author.of(second, "a")
            await newer.write(note(3))
            proxy.refusing = False

        assert len(ended) == 1
        assert await numbers(second, "a") == [(1, 1), (2, 3)]


async def test_what_was_kept_before_a_takeover_counts_although_the_answer_was_lost(
    postgres: PostgresSchema,
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as first,
        opened(postgres.store) as second,
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        proxy.plan[MARKER] = (Cut.AFTER, 1)
        proxy.refusing = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(author.write, marked(2))
            with trio.fail_after(60):
                while await numbers(second, "a") != [(1, 1), (2, 2)]:
                    await trio.sleep(0.01)
            postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 second'")
            newer = await Author.of(second, "a")
            await newer.write(note(3))
            proxy.refusing = False

        assert await numbers(second, "a") == [(1, 1), (2, 2), (3, 3)]
        assert first.statistics().resolved == 1


async def test_a_value_that_postgres_cannot_hold_is_the_matter_of_its_job_alone(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        good, bad = await Author.of(store, "a"), await Author.of(store, "b")
        refused: list[BaseException] = []

        async def write_bad() -> None:
            try:
                await bad.write(Record(1, "no\0type", None, note(1).body))
            except InvalidArgument as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(good.write, *notes(1, 3))
            nursery.start_soon(write_bad)

        assert len(refused) == 1
        assert await numbers(store, "a") == [(1, 1), (2, 2), (3, 3)]
        assert await store.info("b") is None


async def test_a_server_that_hangs_does_not_keep_the_store_from_closing(
    postgres: PostgresSchema,
) -> None:
    failures: list[StoreFailed] = []

    async def write(author: Author) -> None:
        try:
            await author.write(note(2))
        except StoreFailed as error:
            failures.append(error)

    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(60):
            async with opened(lambda: postgres.store(through=proxy.port)) as store:
                author = await Author.of(store, "a")
                await author.write(note(1))
                store._node._lease_seconds = 0.5
                proxy.fall_silent()
                nursery.start_soon(write, author)
                await trio.testing.wait_all_tasks_blocked(0.05)

    assert [failure.written for failure in failures] == [None]


async def test_a_late_write_of_the_same_node_under_an_older_epoch_changes_nothing(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        newer = await store.claim("a")
        number = store._held["a"].number
        late: list[Any] = [
            Append("a", number, author.claim.epoch, 2, notes(2, 2), None),
            SaveSnapshot("a", number, author.claim.epoch, Snapshot(1, b"late")),
            Trim("a", number, author.claim.epoch, 2),
            Delete("a", number, author.claim.epoch),
        ]

        for work in late:
            with pytest.raises(StaleOwner):
                await store._node.commits.do(work)

        assert await numbers(store, "a") == [(1, 1)]
        assert await store.snapshot("a") is None
        await Author(store, newer).write(note(2))


class Stuck:
    """A statement that never ends, on a connection that does not notice."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    def run(self, job: Job) -> None:
        self._writes.execute([job])


def test_a_statement_that_never_ends_is_cut(postgres: PostgresSchema) -> None:
    place = postgres.store()._place
    connection = place.connect_to_write()
    connection.execute("SET statement_timeout = 0")
    writes = Writes(place, connection, node=1, patience_seconds=0.1, stuck_seconds=0.2)
    holder = postgres.connect()
    holder.execute(
        "INSERT INTO session (number, id, head_seq, oldest_seq, modified_ns, change, closed, "
        "needs_worker) OVERRIDING SYSTEM VALUE VALUES (1, 'a', 0, 1, 0, 0, false, false)"
    )
    holder.execute("BEGIN")
    holder.execute("SELECT FROM session FOR UPDATE")
    job = _append_job()
    thread = threading.Thread(target=Stuck(writes).run, args=(job,))
    writes.cut_if_stuck()  # nothing is under way

    thread.start()
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:
        writes.cut_if_stuck()
        thread.join(0.05)

    assert not thread.is_alive()
    assert isinstance(job.error, StoreFailed)
    assert job.error.written is None
    holder.close()
    writes.close()


def _append_job() -> Any:
    work = Append("a", 1, 0, 1, notes(1, 1), checked_info_values(facts("a")))
    return Job(work, 0, None)


async def test_a_refusal_says_nothing_of_an_earlier_try_whose_answer_was_lost(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server comes back read-only, as after a failover to the wrong one."""
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(lambda: postgres.store(through=proxy.port)) as store,
    ):
        author = await Author.of(store, "a")
        await author.write(note(1))
        connect = Place.connect_to_write

        def connect_read_only(place: Place) -> Any:
            connection = connect(place)
            connection.execute("SET default_transaction_read_only = on")
            return connection

        monkeypatch.setattr(Place, "connect_to_write", connect_read_only)
        proxy.plan[MARKER] = (Cut.AFTER, 1)

        with pytest.raises(StoreFailed, match="ReadOnlySqlTransaction") as caught:
            await author.write(marked(2))

        assert caught.value.written is None
        assert await numbers(store, "a") == [(1, 1), (2, 2)]
