from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    CursorHeld,
    InvalidArgument,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.runtime.named_cursors import NamedCursors
from moorage.stores import MemoryStore

SAVE_SECONDS = 5


class SlowStore(MemoryStore):
    """Stores cursors slowly, and keeps what it was told, in order."""

    def __init__(self):
        super().__init__()
        self.saved = []

    async def save_cursor(self, session_id, name, seq):
        await trio.sleep(SAVE_SECONDS)
        await super().save_cursor(session_id, name, seq)
        self.saved.append(seq)


async def echo(request, context):
    return request.input


async def noted(supervisor, count=9):
    """A session with events up to seq ``count + 1``."""
    session = await supervisor.session("s")
    for number in range(count):
        await session.append("note", {"n": number})
    return session


async def test_a_cursor_is_moved_by_name_and_a_subscription_goes_on_behind_it():
    store = MemoryStore()
    async with open_supervisor(store, echo) as supervisor:
        session = await noted(supervisor)
        before = await session.cursor("mine")
        moved = await session.acknowledge("mine", 4)
    async with open_supervisor(store, echo) as supervisor:
        session = supervisor.handle("s")
        after = await session.cursor("mine"), await session.cursor("another")
        async with session.subscribe(name="mine") as events:
            following = await anext(events)

    assert (before, moved, after) == (None, 4, (4, None))
    assert following.seq == 5


async def test_it_never_goes_back_and_says_where_it_is():
    async with open_supervisor(MemoryStore(), echo) as supervisor:
        session = await noted(supervisor)
        answers = [await session.acknowledge("mine", seq) for seq in (6, 3, 6, 7)]

        assert answers == [6, 6, 6, 7]
        assert await session.cursor("mine") == 7


async def test_what_makes_no_sense_is_refused_and_stores_nothing():
    async with open_supervisor(MemoryStore(), echo) as supervisor:
        session = await noted(supervisor)
        for seq in (0, 11, True, "3"):
            with pytest.raises(InvalidArgument, match="seq"):
                await session.acknowledge("mine", seq)
        for name in ("", " ", "a\nb", "x" * 1_025):
            with pytest.raises(InvalidArgument, match="cursor name"):
                await session.acknowledge(name, 1)
            with pytest.raises(InvalidArgument, match="cursor name"):
                await session.cursor(name)
        with pytest.raises(UnknownSession):
            await supervisor.handle("nobody").acknowledge("mine", 1)
        with pytest.raises(UnknownSession):
            await supervisor.handle("nobody").cursor("mine")

        assert await session.cursor("mine") is None
        assert await session.acknowledge("mine", 10) == 10


async def test_a_subscription_that_lives_is_the_only_one_to_move_its_cursor():
    async with open_supervisor(MemoryStore(), echo) as supervisor:
        session = await noted(supervisor)
        async with session.subscribe(name="mine") as events:
            await events.ack(await anext(events))
            with pytest.raises(CursorHeld):
                await session.acknowledge("mine", 5)
            told = await session.cursor("mine"), await session.acknowledge("yours", 5)
        left = await session.acknowledge("mine", 5)

    assert (told, left) == ((1, 5), 5)


async def test_moves_at_once_are_made_one_after_the_other_and_none_goes_back(autojump_clock):
    store, answers = SlowStore(), {}
    async with open_supervisor(store, echo) as supervisor:
        session = await noted(supervisor)

        async def move(seq):
            answers[seq] = await session.acknowledge("mine", seq)

        async with trio.open_nursery() as nursery:
            for seq in (4, 2, 8, 6, 3):
                nursery.start_soon(move, seq)
        stored = await session.cursor("mine")
        async with session.subscribe(name="mine") as events:  # nobody holds it any more
            following = await anext(events)

    assert stored == 8
    assert store.saved == sorted(store.saved)
    assert all(seq <= answer for seq, answer in answers.items())
    assert following.seq == 9


async def test_who_subscribes_while_it_is_being_moved_is_told(autojump_clock):
    async with open_supervisor(SlowStore(), echo) as supervisor:
        session = await noted(supervisor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.acknowledge, "mine", 4)
            await trio.sleep(SAVE_SECONDS / 2)
            with pytest.raises(CursorHeld):
                await session.subscribe(name="mine").__aenter__()
        async with session.subscribe(name="mine") as events:
            assert (await anext(events)).seq == 5


@pytest.mark.parametrize("given_up", [4, 6])
async def test_a_move_that_is_given_up_leaves_the_name_to_the_others(autojump_clock, given_up):
    store, answers = SlowStore(), {}
    async with open_supervisor(store, echo) as supervisor:
        session = await noted(supervisor)

        async def move(seq):
            with trio.move_on_after(SAVE_SECONDS / 2 if seq == given_up else 60):
                answers[seq] = await session.acknowledge("mine", seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move, 4)
            await trio.sleep(1)
            nursery.start_soon(move, 6)
        (kept,) = {4, 6} - {given_up}

        assert answers == {kept: kept}
        assert await session.acknowledge("mine", 9) == 9


async def test_a_reader_tells_of_cursors_and_has_none():
    store = MemoryStore()
    async with open_supervisor(store, echo) as supervisor:
        session = await noted(supervisor)
        await session.acknowledge("mine", 4)
        async with open_reader(store) as reader:
            assert await reader.session("s").cursor("mine") == 4
            assert not hasattr(reader.session("s"), "acknowledge")

    with pytest.raises(InvalidArgument, match="reader"):
        NamedCursors().hold("s", "mine")
