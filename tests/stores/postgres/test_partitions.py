"""A store works the same on an event table in parts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.stores.conformance import CHECKS, Content
from moorage.stores.conformance.scenario import Author, notes, numbers, opened
from moorage.stores.postgres.partitions import PARTITIONS_MAX, partitioned

if TYPE_CHECKING:
    from moorage.stores.conformance import Check

    from tests.postgres_server import PostgresSchema

TOUCHING = {
    "batch_is_all_or_nothing_to_readers",
    "deleted_id_continues_above_its_last_seq",
    "everything_is_there_after_a_restart",
    "everything_may_be_trimmed",
    "large_batch_is_one_batch",
    "sessions_append_at_the_same_time",
    "trimmed_events_are_gone",
}
"""Checks that write, read and remove events in every way there is; MOORAGE_PARTITIONS in the
environment has all of them made."""


@pytest.fixture
async def parted(postgres: PostgresSchema) -> PostgresSchema:
    postgres.drop()
    await postgres.store().migrate(partitions=4)
    return postgres


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check.__name__ in TOUCHING or "MOORAGE_PARTITIONS" in os.environ],
    ids=lambda check: check.__name__,
)
async def test_it_conforms_on_partitions(check: Check, parted: PostgresSchema) -> None:
    await check(Content(parted.store))


async def test_events_of_a_session_lie_in_one_part(parted: PostgresSchema) -> None:
    async with opened(parted.store) as store:
        authors = [await Author.of(store, f"s{number}") for number in range(20)]
        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(author.write, *notes(1, 3))

        assert await numbers(store, "s7") == [(n, n) for n in (1, 2, 3)]
    found = parted.rows("SELECT count(DISTINCT tableoid), count(*) FROM event GROUP BY session")
    assert found == [(1, 3)] * 20
    assert parted.rows("SELECT count(DISTINCT tableoid) > 1 FROM event") == [(True,)]


async def test_the_number_of_parts_is_for_ever(parted: PostgresSchema) -> None:
    store = parted.store()

    report = await store.migrate()
    again = await store.migrate(partitions=4)

    assert report.before == report.after == again.after
    for other in (0, 5):
        with pytest.raises(InvalidArgument, match=f"has 4 partitions, not {other}"):
            await store.migrate(partitions=other)
    for wrong in (-1, PARTITIONS_MAX + 1, 2.5, True):
        with pytest.raises(InvalidArgument, match="whole number from 0"):
            await store.migrate(partitions=wrong)  # type: ignore[arg-type]


def test_the_checks_are_still_called_so() -> None:
    assert {check.__name__ for check in CHECKS} >= TOUCHING


def test_only_the_event_table_is_parted() -> None:
    event = "CREATE TABLE event (x int)"

    assert partitioned(event, 0) == (event,)
    assert partitioned("CREATE TABLE run (x int)", 4) == ("CREATE TABLE run (x int)",)
    assert partitioned(event, 2) == (
        "CREATE TABLE event (x int) PARTITION BY HASH (session)",
        "CREATE TABLE event_0 PARTITION OF event FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    )
