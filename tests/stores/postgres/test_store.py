"""PostgresStore keeps the promises of the port, with other nodes beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.runtime.commands import GetStatus
from moorage.runtime.errors import (
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
)
from moorage.runtime.ports import Snapshot
from moorage.stores import PostgresStore
from moorage.stores.conformance import CHECKS, Content
from moorage.stores.conformance.failing import poisoned_store_is_read_only
from moorage.stores.conformance.ownership import leased_session_is_held_until_the_lease_ends
from moorage.stores.conformance.placing import node_that_says_nothing_for_a_lease_is_gone
from moorage.stores.conformance.scenario import Author, note, notes, numbers, opened, refuse
from moorage.stores.postgres import watch

from tests.postgres_server import LEASE_SECONDS

if TYPE_CHECKING:
    from moorage.runtime.commands import Answer, Command
    from moorage.stores.conformance import Check
    from moorage.stores.faults import Fault

    from tests.postgres_server import PostgresSchema

ENDING_LEASE_SECONDS = 1.5


def content_of(postgres: PostgresSchema, check: Check) -> Content:
    """With a lease that is short only where it has to run out: else a slow disk is no failure."""
    runs_out = check in (
        leased_session_is_held_until_the_lease_ends,
        node_that_says_nothing_for_a_lease_is_gone,
    )
    lease_seconds = ENDING_LEASE_SECONDS if runs_out else LEASE_SECONDS

    def fail_next(fault: Fault) -> None:
        postgres.fail_next_append()

    return Content(lambda: postgres.store(lease_seconds=lease_seconds), fail_next=fail_next)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, postgres: PostgresSchema) -> None:
    content: Any = content_of(postgres, check)
    if check is poisoned_store_is_read_only:
        content = content.open_store  # a failed sync ends the server, which recovers: no poison

    await check(content)


@pytest.mark.parametrize(
    "options",
    [
        {"lease_seconds": 0.01},
        {"lease_seconds": float("nan")},
        {"statement_timeout_seconds": 0},
        {"connections_max": 0},
        {"connections_max": 2.5},
        {"schema": "Robert'); DROP"},
        {"schema": ""},
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        PostgresStore("dbname=x", **options)


async def test_what_the_block_raises_leaves_it_bare(postgres: PostgresSchema) -> None:
    store = postgres.store()

    with pytest.raises(KeyError, match="mine"):
        async with store.opened(owner="me", deliver=refuse):
            raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        async with store.reading():
            raise KeyError("mine")


async def test_one_object_is_one_node_at_a_time(postgres: PostgresSchema) -> None:
    store = postgres.store()
    async with opened(lambda: store):
        with pytest.raises(SessionHeld, match="this PostgresStore object"):
            async with opened(lambda: store):
                pass
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(1))


async def test_a_closed_store_refuses_every_call(postgres: PostgresSchema) -> None:
    store = postgres.store()
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
        lambda: store.hand_over("a", GetStatus()),
        lambda: store.info("a"),
        lambda: store.wait_news("a", after=0),
        lambda: store.nodes(),
    ):
        with pytest.raises(StoreFailed, match="is not open"):
            await call()


async def test_appends_that_come_together_share_a_commit(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        authors = [await Author.of(store, f"s{number}") for number in range(50)]
        before = store.statistics()

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(author.write, note(1))
        after = store.statistics()

    assert after.records - before.records == 50
    assert after.commits - before.commits <= 3


async def test_closing_hands_sessions_over_at_once(postgres: PostgresSchema) -> None:
    async with opened(lambda: postgres.store(lease_seconds=60)) as second:
        async with opened(lambda: postgres.store(lease_seconds=60)) as first:
            await (await Author.of(first, "a")).write(note(1))
            with pytest.raises(SessionHeld, match=r"the conformance suite \(node \d+\)"):
                await second.claim("a")

        author = await Author.of(second, "a")
        await author.write(note(2))

        assert await numbers(second, "a") == [(1, 1), (2, 2)]


async def test_news_of_another_node_comes_within_milliseconds(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 1_000)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        with trio.fail_after(60):
            while not second.statistics().listening:
                await trio.sleep(0.01)
        late: list[float] = []
        written: list[float] = []

        for number in range(2, 12):
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:

                    async def wait(after: int = number - 1) -> None:
                        head_seq = after
                        while head_seq == after:
                            await second.wait_news("a", after=after)
                            info = await second.info("a")
                            head_seq = 0 if info is None else info.head_seq
                        late.append(trio.current_time() - written[-1])

                    nursery.start_soon(wait)
                    await trio.testing.wait_all_tasks_blocked(0.02)
                    written.append(trio.current_time())
                    await author.write(note(number))

    # by notifications alone; the quickest of ten, on a machine that may have other things to do
    assert min(late) < 0.5


async def test_who_lost_a_session_is_told_by_the_database(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(*notes(1, 3))
        postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 second'")
        newer = await Author.of(second, "a")
        await newer.write(note(4))

        with pytest.raises(StaleOwner, match=rf"epoch {newer.claim.epoch} of node"):
            await author.write(note(99))
        with pytest.raises(StaleOwner, match="this node has no claim"):
            await author.write(note(99))
        assert first.statistics().fenced == 1
        assert await numbers(first, "a", after=3) == [(4, 4)]


async def test_who_waits_for_a_session_that_was_lost_unnoticed_is_woken(
    postgres: PostgresSchema,
) -> None:
    """It was waiting to be told by this node, which will write no more."""
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        await (await Author.of(first, "a")).write(note(1))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: first.wait_news("a", after=1))
                await trio.testing.wait_all_tasks_blocked()
                postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 s'")
                await second.claim("a")
                with pytest.raises(SessionHeld):
                    await first.claim("a")


async def test_a_command_goes_where_the_session_is(postgres: PostgresSchema) -> None:
    delivered: list[tuple[str, str]] = []

    def node(name: str) -> Any:
        async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
            delivered.append((name, session_id))
            return name

        return deliver

    first, second = postgres.store(), postgres.store()
    async with (
        first.opened(owner="first", deliver=node("first")),
        second.opened(owner="second", deliver=node("second")),
    ):
        await first.claim("a")

        assert await second.hand_over("a", GetStatus()) == "first"
        assert await first.hand_over("a", GetStatus()) == "first"
        assert await second.hand_over("b", GetStatus()) == "second"
        assert await first.hand_over("b", GetStatus()) == "first"
    assert postgres.rows("SELECT count(*) FROM command") == [(0,)]
