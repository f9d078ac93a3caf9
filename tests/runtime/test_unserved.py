"""Commands to sessions that nobody serves are decided as a worker decides them."""

from __future__ import annotations

import time

import pytest
from moorage.runtime import (
    CorruptLog,
    SessionBusy,
    SessionChanged,
    SessionDeleted,
    SessionHeld,
    UnknownSession,
    commands,
    open_reader,
    open_supervisor,
)
from moorage.runtime.unserved import perform_unserved
from moorage.stores import MemoryStore


async def refuse(session_id, command):
    raise AssertionError("nobody is served")


@pytest.fixture
async def store(autojump_clock, sleeper):
    """Session a has a run that has ended, session b one that is queued; it is open."""
    content = MemoryStore()
    async with open_supervisor(content, sleeper) as supervisor:
        await (await supervisor.session("a")).execute(0)
        busy = await supervisor.session("b")
        await busy.pause()
        await busy.submit(0)
    store = content.peer()
    async with store.opened(owner="test", deliver=refuse):
        yield store


async def perform(store, session_id, command):
    return await perform_unserved(store, session_id, command, time_ns=time.time_ns)


async def test_soft_deletions_and_restorations_are_recorded(store):
    assert await perform(store, "a", commands.SoftDelete()) is True
    assert await perform(store, "a", commands.SoftDelete()) is False
    assert (await store.info("a")).deleted_at_ns is not None
    with pytest.raises(SessionDeleted):
        await perform(store, "a", commands.Reopen())
    assert await perform(store, "a", commands.RestoreSession()) is True
    assert (await store.info("a")).deleted_at_ns is None
    with pytest.raises(UnknownSession):
        await perform(store, "c", commands.RestoreSession())


async def test_what_ends_with_a_soft_deletion_is_recorded_with_it(store):
    await perform(store, "b", commands.SoftDelete())

    info = await store.info("b")
    assert (info.state, info.runs) == ("closed", {"cancelled": 1})


async def test_deletions_are_on_condition(store):
    head = (await store.info("a")).head_seq
    with pytest.raises(SessionChanged):
        await perform(store, "a", commands.DeleteUnchanged(expected_seq=head - 1))
    busy = (await store.info("b")).head_seq
    with pytest.raises(SessionBusy) as caught:
        await perform(store, "b", commands.DeleteUnchanged(expected_seq=busy, idle=True))
    assert caught.value.queued == 1

    assert await perform(store, "a", commands.DeleteUnchanged(expected_seq=head)) is True
    assert await perform(store, "a", commands.DeleteUnchanged(expected_seq=head)) is False
    unchanged = commands.DeleteUnchanged(expected_seq=busy)
    assert await perform(store, "b", unchanged) is True
    assert await perform(store, "b", commands.DeleteSession()) is False


async def test_a_trim_leaves_what_it_takes_to_open_the_session(store, sleeper):
    head = (await store.info("a")).head_seq

    assert await perform(store, "a", commands.Trim(before=head)) == head

    async with open_reader(store) as reader:
        assert len(await reader.session("a").events(after=head - 1)) == 1
        assert (await reader.session("a").status()).head_seq == head
    assert await perform(store, "a", commands.Trim(before=1)) == head


async def test_a_trim_never_takes_an_unfinished_runs_request(store):
    head = (await store.info("b")).head_seq

    oldest = await perform(store, "b", commands.Trim(before=head + 1))

    assert (await store.read("b", after=oldest - 1)).events[0].type == "run_submitted"


async def test_the_session_is_given_up_again_whatever_comes_of_it(store):
    for command in (commands.GetStatus(), commands.Reopen()):
        await perform(store, "a", command)
    with pytest.raises(UnknownSession):
        await perform(store, "c", commands.GetStatus())

    assert not store._content.leases


async def test_what_another_process_has_is_left_to_it(autojump_clock, sleeper):
    content = MemoryStore(lease_seconds=10)
    async with open_supervisor(content, sleeper) as supervisor:
        await supervisor.session("a")
        store = content.peer()
        async with store.opened(owner="test", deliver=refuse):
            with pytest.raises(SessionHeld):
                await perform(store, "a", commands.DeleteSession())


async def test_a_damaged_session_can_be_deleted_all_the_same(store):
    log = store._content.logs["a"]
    log.snapshot = None
    log._bodies[0] = b"\xc1"
    with pytest.raises(CorruptLog):
        await perform(store, "a", commands.SoftDelete())

    assert await perform(store, "a", commands.DeleteSession()) is True
