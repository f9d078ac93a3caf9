"""Events over sessions, page by page."""

from __future__ import annotations

from contextlib import nullcontext

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.runtime import Event, SessionInfo, StoreFailed, event_search, scanning
from moorage.runtime.event_search import EventScan
from moorage.runtime.query_filters import EventFilter, SessionFilter
from moorage.runtime.sessions import SEALED
from moorage.stores import MemoryStore

from tests.runtime.query_content import QueryContent, query_content

EVERYWHERE = SessionFilter()


async def pages(
    content: QueryContent,
    filter: EventFilter,
    *,
    limit: int = 100,
    descending: bool = False,
    sessions: SessionFilter = EVERYWHERE,
    between=None,
) -> list[list[Event]]:
    found = []
    position = None
    while True:
        scan = EventScan(
            content.store, filter, descending=descending, position=position, limit=limit
        )
        await scan.run(sessions, None)
        assert len(scan.items) <= limit
        found.append(scan.items)
        position = scan.position
        if position is None:
            return found
        if between is not None:
            await between()


def flat(pages: list[list[Event]]) -> list[tuple[str, int]]:
    return [(event.session_id, event.seq) for page in pages for event in page]


notes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["yes", "no"])), max_size=25
)


@settings(max_examples=60)
@given(notes, notes, st.booleans(), st.integers(1, 4), st.sampled_from([1, 30, 20_000]))
def test_pages_together_are_what_matches(before, between, descending, limit, work_max) -> None:
    content = QueryContent(MemoryStore())
    found: list[tuple[str, int]] = []
    there: list[tuple[str, int]] = []

    async def write(session_id: str, text: str) -> None:
        if session_id not in content.images:
            await content.session(session_id, 1)
        await content.write(session_id, (2, "note", None, {"text": text}))

    async def main() -> None:
        async with query_content(content.store):
            for note in before:
                await write(*note)
                if note[1] == "yes":
                    there.append((note[0], content.images[note[0]].head_seq))
            left = iter(between)

            async def step() -> None:
                note = next(left, None)
                if note is not None:
                    await write(*note)

            filter = EventFilter(text="yes", types=frozenset({"note"}))
            found.extend(
                flat(await pages(content, filter, limit=limit, descending=descending, between=step))
            )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanning, "WORK_MAX", work_max)
        trio.run(main)

    assert found == sorted(set(found), reverse=descending)
    assert set(there) <= set(found)


async def test_sessions_and_what_was_trimmed_may_go_meanwhile() -> None:
    async with query_content(MemoryStore()) as content:
        for name in ("a", "b", "c"):
            await content.session(name, 1)
            for number in range(4):
                await content.write(name, (2, "note", None, number))
        steps = iter([lambda: content.trim("a", 4), lambda: content.delete("b")])

        async def step() -> None:
            todo = next(steps, None)
            if todo is not None:
                await todo()

        found = flat(await pages(content, EventFilter(), limit=2, between=step))

    assert found[:4] == [("a", 1), ("a", 2), ("a", 4), ("a", 5)]
    assert found[-1] == ("c", 5)
    assert len(found) == len(set(found))


async def test_a_page_is_bounded_in_bytes(monkeypatch) -> None:
    monkeypatch.setattr(event_search, "PAGE_BYTES_MAX", 100)
    async with query_content(MemoryStore()) as content:
        await content.session("a", 1)
        for size in (60, 60, 500, 30, 30):
            await content.write("a", (2, "note", None, "x" * size))
        sizes = [
            [len(event.data) for event in page]
            for page in await pages(content, EventFilter(types=frozenset({"note"})))
        ]
        backwards = flat(await pages(content, EventFilter(text="x"), descending=True))

    assert sizes == [[60], [60], [500], [30, 30]]
    assert backwards == [("a", seq) for seq in (6, 5, 4, 3, 2)]


async def test_long_sessions_let_others_run_and_end_a_page(autojump_clock) -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("a", 1)
        await content.write("a", *[(2, "note", None, "x")] * 45_000)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            found = await pages(content, EventFilter(text="nowhere"))
            nursery.cancel_scope.cancel()

    assert found == [[], [], []]
    assert turns >= 45_000 // event_search.EVENTS_PER_CHECKPOINT


async def test_sessions_that_did_not_change_since_are_not_read() -> None:
    async with query_content(MemoryStore()) as content:
        for number in range(5):
            await content.session(f"s{number}", number)
        await content.run("s0", "r", 1, ends=None)
        scan = EventScan(
            content.store, EventFilter(after_ns=3), descending=False, position=None, limit=9
        )
        await scan.run(EVERYWHERE, None)

    assert [event.session_id for event in scan.items] == ["s3", "s4"]
    assert scan.scanned == 1 + 2 + 2  # s0 is active: its agent may stamp as it likes


async def test_a_session_that_lost_its_tag_is_left_out_from_then_on() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("a", 1, tags={"k": "v"})
        await content.write("a", (2, "note", None, 1), (2, "note", None, 2))

        async def step() -> None:
            if content.images["a"].tags:
                await content.write("a", (3, "session_configured", None, {"tags": {}}))

        wanted = SessionFilter(tags={"k": "v"})
        found = flat(await pages(content, EventFilter(), limit=2, sessions=wanted, between=step))

    assert found == [("a", 1), ("a", 2)]


async def test_what_is_encrypted_is_not_searched_as_if_nothing_matched() -> None:
    class SealedStore(MemoryStore):
        async def info(self, session_id: str) -> SessionInfo | None:
            info = await super().info(session_id)
            return info and attrs.evolve(info, metadata={SEALED: b"x"})

    async with query_content(SealedStore()) as content:
        await content.session("s", 1)

        for text, refused in (("yes", True), (None, False)):
            scan = EventScan(
                content.store, EventFilter(text=text), descending=False, position=None, limit=5
            )
            with pytest.raises(StoreFailed, match="--keys") if refused else nullcontext():
                await scan.run(EVERYWHERE, "s")
            assert len(scan.items) == (0 if refused else 1)
