"""Answers to commands of other processes are kept with what the commands caused."""

from __future__ import annotations

from typing import ClassVar

import pytest
from moorage.runtime import StoreFailed, UnknownRun, commands, open_supervisor
from moorage.runtime.events import NewEvent
from moorage.stores import MemoryStore


class Noting(MemoryStore):
    """Notes the answers that came with each write, by all peers."""

    kept: ClassVar[list] = []

    async def append(self, claim, *, answered=(), **batch):
        self.kept.append([item.answer for item in answered])
        await super().append(claim, answered=answered, **batch)

    async def delete(self, claim, *, answered=()):
        self.kept.append([item.answer for item in answered])
        await super().delete(claim, answered=answered)


@pytest.fixture
def store():
    Noting.kept.clear()
    return Noting(lease_seconds=30.0)


async def test_what_a_command_causes_and_its_answer_are_one_write(store, autojump_clock, sleeper):
    async with (
        open_supervisor(store, sleeper) as owner,
        open_supervisor(store.peer(), sleeper) as other,
    ):
        await owner.session("s")
        there = other.handle("s")
        store.kept.clear()

        run = await there.submit(1000, key="k")
        event = await there.append("note", 1)
        assert await there.cancel(run.id)
        assert await there.pause()
        answers = [answer for write in store.kept for answer in write]
        store.kept.clear()
        assert not await there.pause()
        assert (await there.status()).state == "paused"
        with pytest.raises(UnknownRun):
            await there.cancel("no such run")
        caused_nothing = [answer for write in store.kept for answer in write]
        assert await other.delete_session("s")

    assert answers == [run.id, [event], True, True]
    assert caused_nothing == []
    assert store.kept[-1] == [True]


async def test_a_command_that_is_not_this_nodes_any_more_is_not_done_and_harms_nobody(
    store, autojump_clock, sleeper
):
    """A node that had stopped finds it in its inbox when the next owner has long done it."""
    append = commands.AppendEvents(events=(NewEvent("note", 1),), size_bytes=1)
    async with open_supervisor(store, sleeper) as owner:
        session = await owner.session("s")
        run = await session.submit(5)

        with pytest.raises(StoreFailed, match="taken over by another process") as caught:
            await owner.deliver("s", append, "a letter of long ago")
        with pytest.raises(StoreFailed, match="taken over by another process"):
            await owner.deliver("s", commands.DeleteSession(), "a letter of long ago")
        outcome = await run.wait()
        log = await session.events()

    assert caught.value.written is False
    assert outcome.state in ("completed", "interrupted")
    assert not [event for event in log if event.type == "note"]


async def test_a_quarantined_session_is_not_deleted_for_a_letter_of_long_ago(
    store, autojump_clock, sleeper
):
    async with open_supervisor(store, sleeper) as before:
        await before.session("s")
    async with open_supervisor(store, sleeper) as owner:
        await owner.residents._quarantine("s", "a test")

        with pytest.raises(StoreFailed, match="taken over by another process"):
            await owner.deliver("s", commands.DeleteSession(), "a letter of long ago")
        assert (await owner.handle("s").info()).state == "quarantined"
        assert await owner.delete_session("s")
