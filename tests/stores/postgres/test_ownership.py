"""Leases on the database's clock: one owner, whoever asks how often."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from moorage.runtime.commands import OpenSession
from moorage.runtime.errors import SessionHeld
from moorage.runtime.placement import NodeState, UnheldSession
from moorage.runtime.sessions import SessionState
from moorage.stores.conformance.scenario import Author, facts, note, opened, refuse
from moorage.stores.postgres import ownership

from tests.postgres_server import LEASE_SECONDS

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim
    from moorage.stores import PostgresStore

    from tests.postgres_server import PostgresSchema

CLAIMS = 1_000


async def test_of_two_nodes_that_claim_a_session_a_thousand_times_one_has_it(
    postgres: PostgresSchema,
) -> None:
    dice = random.Random(4)
    holders: list[tuple[str, int]] = []
    refused = 0

    async with opened(postgres.store) as first, opened(postgres.store) as second:

        async def claim(name: str, store: PostgresStore) -> None:
            nonlocal refused
            for _ in range(CLAIMS // 2):
                try:
                    claimed: Claim = await store.claim("a")
                except SessionHeld:
                    refused += 1
                    continue
                assert not holders, f"{holders} and {name} have it"
                holders.append((name, claimed.epoch))
                epochs.append(claimed.epoch)
                for _ in range(dice.randrange(3)):
                    await trio.lowlevel.checkpoint()
                holders.clear()
                await store.release(claimed)

        epochs: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, "first", first)
            nursery.start_soon(claim, "second", second)

    assert epochs == sorted(set(epochs))
    assert len(epochs) + refused == CLAIMS
    assert refused > 0
    assert len(epochs) > 10


async def test_many_nodes_start_at_once_and_one_gets_the_session(
    postgres: PostgresSchema,
) -> None:
    got: list[str] = []
    refused: list[str] = []
    everybody = trio.Event()

    async def node(number: int) -> None:
        async with opened(lambda: postgres.store(connections_max=1)) as store:
            try:
                await store.claim("a")
                got.append(f"{number}")
            except SessionHeld:
                refused.append(f"{number}")
            if len(got) + len(refused) == 12:
                everybody.set()
            await everybody.wait()

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(node, number)

    assert len(got) == 1
    assert len(refused) == 11


async def test_who_had_a_session_is_told_when_its_lease_is_over(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 hour'")
        holder = await store.holder("a")
        (node,) = await store.nodes()

    assert holder is not None
    assert (holder.node_id, holder.owner, holder.epoch) == (node.id, node.owner, 1)
    assert -3_700 < holder.lease_seconds_left <= -3_600
    assert not holder.live


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_node_whose_clock_is_an_hour_off_is_a_node_like_others(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now, now_ns = time.time, time.time_ns
    async with opened(postgres.store) as other:
        await (await Author.of(other, "theirs")).write(note(1))
        monkeypatch.setattr(time, "time", lambda: now() + hours * 3_600)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + hours * 3_600 * 10**9)

        async with opened(postgres.store) as store:
            author = await Author.of(store, "ours")
            await author.write(note(1))
            with pytest.raises(SessionHeld):
                await store.claim("theirs")
            with pytest.raises(SessionHeld):
                await other.claim("ours")
            assert await store.renew([author.claim]) == []
            left = [node.lease_seconds_left for node in await other.nodes()]

    assert all(0 < seconds <= LEASE_SECONDS for seconds in left)


async def test_nodes_are_listed_with_what_they_hold(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as first:
        for session_id in ("a", "b"):
            await first.claim(session_id)
        second = postgres.store()
        async with second.opened(owner="another", deliver=None):
            nodes = await second.nodes()
        left = await first.nodes()

    assert [(node.owner, node.sessions) for node in nodes] == [
        ("the conformance suite", 2),
        ("another", 0),
    ]
    assert [node.owner for node in left] == ["the conformance suite"]
    assert abs(nodes[0].opened_at - time.time()) < 60


async def test_sessions_that_nobody_has_and_that_need_a_worker_are_found(
    postgres: PostgresSchema,
) -> None:
    queued = {"queued": 1}
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        for session_id, info in (
            ("held", facts("held", runs=queued)),
            ("left", facts("left", runs=queued)),
            ("idle", facts("idle")),
            ("broken", facts("broken", runs=queued, state=SessionState.QUARANTINED)),
        ):
            author = await Author.of(first, session_id)
            await author.write(note(1), info=info)
            if session_id != "held":
                await first.release(author.claim)

        left, held = UnheldSession("left", frozenset()), UnheldSession("held", frozenset())
        assert await second.unheld(10) == [left]
        postgres.do("UPDATE node SET lease_until = clock_timestamp() - interval '1 second'")
        assert await second.unheld(10) == [held, left]
        assert await second.unheld(1) == [held]


def test_nodes_and_answers_of_long_ago_are_forgotten(postgres: PostgresSchema) -> None:
    postgres.do(
        "INSERT INTO node (owner, lease_until) VALUES ('gone', now() - interval '2 days'), "
        "('gone, but named by a session', now() - interval '2 days')",
        "INSERT INTO session (id, head_seq, oldest_seq, modified_ns, change, closed, needs_worker, "
        "owner) SELECT 'a', 0, 1, 0, 0, false, false, max(number) FROM node",
        "INSERT INTO command (id, session_id, kind, body, sender, answer, answered_at) "
        "VALUES ('old', 'a', 'k', '', 1, '', now() - interval '2 hours'), "
        "('new', 'a', 'k', '', 1, '', now())",
    )

    with postgres.connect() as connection:
        ownership.join(connection, "new", 5)

    assert postgres.rows("SELECT owner FROM node ORDER BY number") == [
        ("gone, but named by a session",),
        ("new",),
    ]
    assert postgres.rows("SELECT id FROM command") == [("new",)]


async def test_what_others_sent_is_not_for_a_node_that_has_announced_nothing(
    postgres: PostgresSchema,
) -> None:
    """One that copies sessions, for example, and supervises none."""
    state = NodeState(frozenset({"tag:region=eu"}), 10, 10)

    async def deliver(session_id: str, command: object, letter: str | None = None) -> str:
        return "eu"

    asking, silent, eu = (postgres.store(lease_seconds=LEASE_SECONDS) for _ in range(3))
    async with (
        asking.opened(owner="asking", deliver=refuse),
        silent.opened(owner="silent", deliver=refuse),
        eu.opened(owner="eu", deliver=deliver),
    ):
        await asking.announce(attrs.evolve(state, offer=frozenset()))
        await eu.announce(state)
        command = OpenSession(node_tags={"region": "eu"})
        with trio.fail_after(60):
            answers = [await asking.hand_over(f"s{number}", command) for number in range(5)]

    assert answers == ["eu"] * 5
