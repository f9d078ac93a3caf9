"""Sessions in an order, page by page, while they come, change and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import SessionInfo, SessionState, StoreFailed, session_search
from moorage.runtime.query_filters import SessionFilter
from moorage.runtime.session_search import SessionSequence, each_session, find_sessions
from moorage.runtime.sessions import SEALED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def info(id: str, created: int, modified: int, **facts: Any) -> SessionInfo:
    return SessionInfo(
        id=id,
        state=facts.pop("state", SessionState.OPEN),
        tags=facts.pop("tags", {}),
        metadata={},
        created_at_ns=created,
        modified_at_ns=modified,
        head_seq=1,
        runs={},
        **facts,
    )


class ListingFake:
    """A reader that only lists, in whatever order."""

    def __init__(self, infos: list[SessionInfo]) -> None:
        self.infos = {info.id: info for info in infos}
        self.listings = self.closed = 0

    async def sessions(
        self, *, prefix: str = "", tags: dict[str, str] | None = None
    ) -> AsyncGenerator[SessionInfo]:
        self.listings += 1
        try:
            for info in list(self.infos.values()):
                if info.id.startswith(prefix) and (tags or {}).items() <= info.tags.items():
                    yield info
        finally:
            self.closed += 1


class OrderedFake(ListingFake):
    """One that gives them in an order, by pieces of at most ``size``."""

    size = 1_000

    async def session_page(
        self, *, order: str, descending: bool, after: Any, prefix: str, limit: int
    ) -> list[SessionInfo]:
        sequence = SessionSequence(order, descending)  # type: ignore[arg-type]
        infos = sorted(self.infos.values(), key=sequence.key, reverse=descending)
        return [
            info
            for info in infos
            if info.id.startswith(prefix) and sequence.is_behind(sequence.key(info), after)
        ][: min(limit, self.size)]


names = st.text("abä\U0001f600", min_size=1, max_size=3)
infos = st.builds(info, names, st.integers(0, 5), st.integers(0, 5))
changes = st.one_of(
    st.tuples(st.just("put"), infos),
    st.tuples(st.just("delete"), names),
)
orders = st.sampled_from(["modified", "created", "id"])
fakes = st.sampled_from([ListingFake, OrderedFake])


@given(
    st.lists(infos, max_size=20),
    st.lists(st.lists(changes, max_size=3), max_size=8),
    orders,
    st.booleans(),
    st.integers(1, 7),
    fakes,
)
def test_what_stays_as_it_is_comes_once_and_in_order(
    before, between, order, descending, limit, fake
) -> None:
    """An order by an immutable key promises it for all that is there throughout; by modified it
    is promised for those that did not change."""
    reader = fake(before)
    sequence = SessionSequence(order, descending)
    stable = dict(reader.infos)
    found: list[SessionInfo] = []

    async def main() -> None:
        after, steps = None, iter(between)
        while True:
            piece = await find_sessions(reader, sequence, SessionFilter(), after=after, limit=limit)
            assert len(piece.infos) <= limit
            found.extend(piece.infos)
            after = piece.position
            if after is None:
                return
            for what, value in next(steps, []):
                if what == "put":
                    known = reader.infos.get(value.id)
                    if known is not None:  # what was created stays so
                        value = attrs.evolve(value, created_at_ns=known.created_at_ns)
                    reader.infos[value.id] = value
                    if value != stable.get(value.id) and order == "modified":
                        stable.pop(value.id, None)
                else:
                    reader.infos.pop(value, None)
                    stable.pop(value, None)

    trio.run(main)
    ids = [info.id for info in found]
    keys = [sequence.key(info) for info in found]

    assert keys == sorted(keys, reverse=descending)
    assert all(ids.count(id) == 1 for id in stable)
    if order != "modified":
        deleted = {value for step in between for what, value in step if what == "delete"}
        assert all(ids.count(id) == 1 for id in ids if id not in deleted)


@given(st.lists(infos, max_size=20), orders, st.booleans(), st.integers(1, 7), fakes, names)
def test_filters_leave_the_order_as_it_is(all_of_them, order, descending, limit, fake, prefix):
    reader = fake(all_of_them)
    sequence = SessionSequence(order, descending)
    filter = SessionFilter(prefix=prefix[:1], created_after_ns=2)

    async def main() -> list[SessionInfo]:
        found, after = [], None
        while True:
            piece = await find_sessions(reader, sequence, filter, after=after, limit=limit)
            found += piece.infos
            after = piece.position
            if after is None:
                return found

    expected = [one for one in reader.infos.values() if filter.matches(one)]
    assert trio.run(main) == sorted(expected, key=sequence.key, reverse=descending)


async def test_a_page_looks_at_a_bounded_number_of_sessions(monkeypatch) -> None:
    monkeypatch.setattr(session_search, "SCANNED_SESSIONS_MAX", 30)
    reader = OrderedFake([info(f"{number:03d}", 0, number) for number in range(100)])
    reader.size = 10
    sequence = SessionSequence("id", descending=False)
    filter = SessionFilter(text="099")

    store: Any = reader
    piece = await find_sessions(store, sequence, filter, after=None, limit=5)

    assert (piece.infos, piece.position) == ([], ("029",))


@pytest.mark.parametrize("fake", [ListingFake, OrderedFake])
async def test_a_walk_goes_through_all_in_pieces(fake, monkeypatch) -> None:
    monkeypatch.setattr(session_search, "PIECE_SESSIONS", 3)
    monkeypatch.setattr(session_search, "PIECE_SIFTED_SESSIONS", 3)
    reader = fake([info(f"{number:02d}", 0, 0) for number in range(10)])
    sequence = SessionSequence("id", descending=True)

    walked = [one.id async for one in each_session(reader, SessionFilter(), sequence)]

    assert walked == [f"{number:02d}" for number in reversed(range(10))]
    assert reader.listings == reader.closed


@pytest.mark.parametrize("kind", [ListingFake, OrderedFake])
async def test_a_text_in_a_summary_that_nobody_can_read_is_refused(kind: type[ListingFake]) -> None:
    sealed = attrs.evolve(info("sealed-1", 1, 2), metadata={SEALED: b"x"})
    store: Any = kind([info("open", 1, 1, summary="an invoice"), sealed])
    sequence = SessionSequence("modified", descending=True)

    with pytest.raises(StoreFailed, match=r"'sealed-1' is encrypted.*--keys"):
        await find_sessions(store, sequence, SessionFilter(text="invoice"), after=None, limit=5)
    for filter, expected in (
        (SessionFilter(text="sealed"), ["sealed-1"]),
        (SessionFilter(text="invoice", prefix="o"), ["open"]),
        (SessionFilter(text="invoice", modified_before_ns=2), ["open"]),
        (SessionFilter(), ["sealed-1", "open"]),
    ):
        piece = await find_sessions(store, sequence, filter, after=None, limit=5)
        assert [found.id for found in piece.infos] == expected
