"""Sessions are removed from a store that nobody serves, and from one that others do."""

from __future__ import annotations

import math

import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    RetentionPolicy,
    RetentionRule,
    SessionChanged,
    SessionHeld,
    SupervisorLimits,
    commands,
    open_maintenance,
    open_reader,
    open_supervisor,
)
from moorage.stores import MemoryStore

ALL = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)])


async def ids(store):
    async with open_reader(store) as reader:
        return {info.id async for info in reader.sessions()}


@pytest.fixture
async def filled(autojump_clock, sleeper):
    """Session a is idle, session b has a queued run."""
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        await supervisor.session("a")
        busy = await supervisor.session("b")
        await busy.pause()
        await busy.submit(0)
    return store


async def test_sessions_are_hidden_restored_and_deleted_and_nothing_is_run(filled, sleeper):
    async with open_maintenance(filled.peer()) as maintenance:
        assert await maintenance.delete_session("a", soft=True)
        assert await ids(filled) == {"b"}
        assert await maintenance.restore_session("a")
        with pytest.raises(SessionChanged):
            await maintenance.delete_session("a", expected_seq=1)
        with pytest.raises(SessionChanged):
            await maintenance.delete_session("a", expected_seq=1, soft=True)
        assert await maintenance.delete_session("a", expected_seq=3)
        assert await ids(filled) == {"b"}

    assert sleeper.started == []


async def test_a_policy_is_applied_as_a_preview_said(filled):
    async with open_reader(filled.peer()) as reader:
        said = await reader.preview_retention(ALL)
    limits = SupervisorLimits(retention_sessions_per_second_max=math.inf)
    async with open_maintenance(filled.peer(), limits=limits) as maintenance:
        report = await maintenance.apply_retention(ALL)

    assert said.entries == report.entries
    assert said.spared == report.spared
    assert report.ids("delete") == ("a",)
    assert await ids(filled) == {"b"}


async def test_a_store_for_one_process_must_be_free(filled, sleeper):
    async with open_supervisor(filled, sleeper):
        with pytest.raises(SessionHeld):
            async with open_maintenance(filled.peer()):
                pass
    async with open_maintenance(filled, purpose="cleaning"):
        with pytest.raises(SessionHeld, match="cleaning"):
            async with open_supervisor(filled.peer(), sleeper):
                pass


async def test_what_a_live_node_has_is_brought_to_it_and_left_to_it_by_policies(
    autojump_clock, sleeper
):
    store = MemoryStore(lease_seconds=10)
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("held")
        async with open_maintenance(store.peer()) as maintenance:
            report = await maintenance.apply_retention(ALL)
            assert (report.entries, len(report.spared)) == ((), 1)
            assert await maintenance.delete_session("held", soft=True)
            assert (await session.info()).deleted_at_ns is not None
            assert await maintenance.restore_session("held")

            with pytest.raises(AdmissionClosed, match="not a supervisor"):
                # nobody has it, so that it comes to whoever asks
                await maintenance._store.hand_over("new", commands.OpenSession())


async def test_a_single_owners_session_is_not_brought_anywhere(filled):
    async with open_maintenance(filled) as maintenance:

        async def claim(session_id):
            raise SessionHeld("session", holder="another")

        filled.claim = claim
        with pytest.raises(SessionHeld):
            await maintenance.delete_session("a")


class Slow(MemoryStore):
    """A store whose claims take a second to be given up."""

    async def release(self, claim):
        await trio.sleep(1)
        await super().release(claim)


async def test_what_comes_for_a_session_that_is_being_removed_is_done_by_a_supervisor(
    autojump_clock, sleeper
):
    limits = SupervisorLimits(idle_seconds=1)
    store = Slow(lease_seconds=10)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await trio.sleep(5)  # out of memory
        async with (
            open_maintenance(store.peer()) as maintenance,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(lambda: maintenance.delete_session("s", soft=True))
            await trio.sleep(0.5)
            assert (await session.info()).deleted_at_ns is not None
            assert await supervisor.restore_session("s")
            assert (await session.execute(1)).output == 1
            assert not maintenance._turns
            assert not maintenance._handed_over


async def test_of_two_that_remove_sessions_both_do(autojump_clock):
    store = Slow(lease_seconds=10)
    async with (
        open_maintenance(store) as one,
        open_maintenance(store.peer()) as two,
        trio.open_nursery() as nursery,
    ):
        await one._retain("s", commands.OpenSession())
        nursery.start_soon(lambda: one.delete_session("s", soft=True))
        nursery.start_soon(lambda: one.restore_session("s"))
        await trio.sleep(0.5)
        assert await two.delete_session("s")
        assert not two._handed_over

    assert await ids(store) == set()


async def test_a_session_that_others_have_again_and_again_is_left_in_the_end(autojump_clock):
    store = MemoryStore(lease_seconds=10)
    async with open_maintenance(store) as maintenance:

        async def claim(session_id):
            raise SessionHeld("session", holder="another")

        store.claim = claim
        with pytest.raises(AdmissionClosed, match="not a supervisor"):
            await maintenance.delete_session("a")
