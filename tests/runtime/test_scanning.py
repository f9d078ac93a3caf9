from __future__ import annotations

import pytest
from moorage.runtime import UnknownSession
from moorage.runtime.query_filters import SessionFilter
from moorage.runtime.scanning import BEGINNING, END, Work, finished, read_stretch, sessions_from
from moorage.stores import MemoryStore

from tests.runtime.query_content import query_content


async def test_a_stretch_says_how_far_it_looked() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        await content.write("s", *[(2, "note", None, number) for number in range(9)])
        store, work = content.store, Work(100)
        up = await read_stretch(
            store, "s", position=BEGINNING, descending=False, work=work, limit=4
        )
        rest = await read_stretch(store, "s", position=4, descending=False, work=work)
        down = await read_stretch(store, "s", position=END, descending=True, work=work, limit=4)
        gone = await read_stretch(store, "t", position=END, descending=True, work=work)

    assert up is not None
    assert rest is not None
    assert down is not None
    assert ([event.seq for event in up.events], up.position, up.whole) == ([1, 2, 3, 4], 4, False)
    assert ([event.seq for event in rest.events], rest.whole) == ([5, 6, 7, 8, 9, 10], True)
    assert [event.seq for event in down.events] == [10, 9, 8, 7]
    assert (down.position, down.whole) == (7, False)
    assert gone is None
    assert (work.events, work.spent) == (4 + 6 + 4, False)


async def test_what_was_trimmed_is_left_out_in_both_directions() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        await content.write("s", *[(2, "note", None, number) for number in range(9)])
        await content.trim("s", 6)
        for descending, position in ((False, 2), (True, END)):
            stretch = await read_stretch(
                content.store, "s", position=position, descending=descending, work=Work()
            )
            assert stretch is not None
            assert sorted(event.seq for event in stretch.events) == [6, 7, 8, 9, 10]
            assert stretch.whole


async def test_sessions_go_on_with_the_one_that_was_left() -> None:
    async def from_position(position: tuple[str, int] | None, **filter: str) -> list[object]:
        source = sessions_from(
            content.store,
            SessionFilter(**filter),
            session_id=None,
            descending=False,
            position=position,
        )
        return [(info.id, start) async for info, start in source]

    async with query_content(MemoryStore()) as content:
        for name in ("a", "b", "c"):
            await content.session(name, 1)

        assert await from_position(None) == [("a", 0), ("b", 0), ("c", 0)]
        assert await from_position(("b", 7)) == [("b", 7), ("c", 0)]
        assert await from_position(("bb", 7)) == [("c", 0)]
        assert await from_position(("b", finished(descending=False))) == [("c", 0)]
        assert await from_position(("a", 7), prefix="c") == [("c", 0)]


async def test_one_session_that_is_not_there_is_told() -> None:
    async with query_content(MemoryStore()) as content:
        source = sessions_from(
            content.store, SessionFilter(), session_id="s", descending=True, position=None
        )
        with pytest.raises(UnknownSession):
            await anext(source)


async def test_one_session_that_was_read_is_not_read_again() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        for descending in (False, True):
            source = sessions_from(
                content.store,
                SessionFilter(),
                session_id="s",
                descending=descending,
                position=("s", finished(descending=descending)),
            )
            assert [entry async for entry in source] == []
