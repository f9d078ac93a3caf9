"""Tables are made by migrating, once; older and newer ones are told apart before any write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.codec import encode_info
from moorage.runtime.errors import MigrationRequired, StoreFailed
from moorage.runtime.placement import UnheldSession
from moorage.stores.conformance.scenario import Author, facts, note, numbers, opened, refuse
from moorage.stores.postgres import MigrationReport
from moorage.stores.postgres import migrations as module
from moorage.stores.postgres.migrations import MIGRATIONS
from moorage.stores.relational.schema import POSTGRES_SCHEMA_VERSION as SCHEMA_VERSION

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


async def test_without_tables_it_says_how_to_make_them(postgres: PostgresSchema) -> None:
    postgres.drop()
    store = postgres.store()

    for context in (store.opened(owner="me", deliver=refuse), store.reading()):
        with pytest.raises(MigrationRequired, match="moorage migrate") as caught:
            async with context:
                pass
        assert (caught.value.found, caught.value.needed) == (0, SCHEMA_VERSION)
    report = await store.migrate()

    assert report == MigrationReport(postgres.name, 0, SCHEMA_VERSION)
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(1))


async def test_migrating_again_changes_nothing(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        await (await Author.of(store, "a")).write(note(1))

        report = await store.migrate()

        assert (report.before, report.after) == (SCHEMA_VERSION, SCHEMA_VERSION)
        assert await numbers(store, "a") == [(1, 1)]


async def test_many_may_migrate_at_once(postgres: PostgresSchema) -> None:
    postgres.drop()
    reports: list[MigrationReport] = []

    async def migrate() -> None:
        reports.append(await postgres.store().migrate())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(migrate)

    assert sorted(report.before for report in reports) == [0, *[SCHEMA_VERSION] * 4]


async def test_tables_of_a_later_release_are_left_alone(postgres: PostgresSchema) -> None:
    postgres.do(f"INSERT INTO migration (version) VALUES ({SCHEMA_VERSION + 1})")
    store = postgres.store()

    async def migrate() -> None:
        await store.migrate()

    async def open_it() -> None:
        async with store.opened(owner="me", deliver=refuse):
            pass

    for attempt in (migrate, open_it):
        with pytest.raises(StoreFailed, match=f"tables of version {SCHEMA_VERSION + 1}") as caught:
            await attempt()
        assert not isinstance(caught.value, MigrationRequired)
    assert postgres.rows("SELECT count(*) FROM node") == [(0,)]


async def test_a_migration_that_fails_leaves_nothing(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = SCHEMA_VERSION + 1
    broken = ("CREATE TABLE novelty (x int)", "CREATE TABLE session (x int)")
    monkeypatch.setattr(module, "MIGRATIONS", {**MIGRATIONS, later: broken})
    monkeypatch.setattr(module, "SCHEMA_VERSION", later)

    with pytest.raises(StoreFailed, match="already exists"):
        await postgres.store().migrate()
    monkeypatch.setattr(module, "MIGRATIONS", {**MIGRATIONS, later: broken[:1]})
    with pytest.raises(MigrationRequired) as caught:
        async with postgres.store().reading():
            pass
    report = await postgres.store().migrate()

    assert (caught.value.found, caught.value.needed) == (SCHEMA_VERSION, later)
    assert (report.before, report.after) == (SCHEMA_VERSION, later)


def test_each_version_up_to_ours_can_be_made() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION + 1))


async def test_tables_that_vanish_are_missed(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        postgres.do("ALTER TABLE event RENAME TO elsewhere")

        with pytest.raises(MigrationRequired):
            await author.write(note(2))
        postgres.do("ALTER TABLE elsewhere RENAME TO event")
        await author.write(note(2))


async def test_a_database_of_version_1_is_brought_up_with_all_that_is_in_it(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.drop()
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "SCHEMA_VERSION", 1)
        await postgres.store().migrate()
    info = encode_info(facts("old", runs={"queued": 1}))
    with postgres.connect() as connection:
        # as the release before wrote it, which knew nothing of demands
        connection.execute(
            "INSERT INTO session (id, head_seq, oldest_seq, modified_ns, change, closed, "
            "needs_worker, info) VALUES ('old', 1, 1, 7, 1, false, true, %s)",
            (info,),
        )
        body = note(1).body
        connection.execute(
            "INSERT INTO event (session, seq, type, body) VALUES (1, 1, 'note', %s)", (body,)
        )
        connection.execute(
            "INSERT INTO node (owner, lease_until) VALUES ('before', clock_timestamp())"
        )
    with pytest.raises(MigrationRequired) as caught:
        async with opened(postgres.store):
            pass

    report = await postgres.store().migrate()

    assert (caught.value.found, caught.value.needed) == (1, SCHEMA_VERSION)
    assert (report.before, report.after) == (1, SCHEMA_VERSION)
    async with opened(postgres.store) as store:
        assert await numbers(store, "old") == [(1, 1)]
        assert await store.unheld(10) == [UnheldSession("old", frozenset())]
        nodes = await store.nodes()
        await (await Author.of(store, "old")).write(note(2))
        assert await numbers(store, "old") == [(1, 1), (2, 2)]
    assert (nodes[0].owner, nodes[0].state, nodes[0].live) == ("before", None, False)


async def test_what_a_node_of_the_release_before_goes_on_writing_is_kept(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        postgres.do(
            "INSERT INTO node (owner, lease_until) "
            "VALUES ('before', clock_timestamp() + interval '1 day')",
            "INSERT INTO command (id, session_id, kind, body, sender) "
            "VALUES ('c', 's', 'GetStatus', '', 1)",
            "INSERT INTO session (id, head_seq, oldest_seq, modified_ns, change, closed, "
            "needs_worker, info) VALUES ('s', 0, 1, 7, 1, false, true, '')",
        )

        assert await store.unheld(10, offer=frozenset()) == [UnheldSession("s", frozenset())]
        assert [node.state for node in await store.nodes()] == [None, None]
