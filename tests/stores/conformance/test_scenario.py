"""A check fails with its rule, whatever the store does: hang, raise, spin, or page for ever."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.errors import SessionHeld, StoreFailed, UnknownSession
from moorage.stores import MemoryStore
from moorage.stores.broken.flaws import Reading
from moorage.stores.conformance import Nonconformance
from moorage.stores.conformance.scenario import (
    HINTS_MAX,
    NEWS_SECONDS_MAX,
    STILL_SECONDS_MAX,
    Author,
    Content,
    Follower,
    check,
    comes_soon,
    note,
    notes,
    numbers,
    opened,
    read_all,
    require_equal,
    require_refused,
    stopwatch,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.ports import Page
    from moorage.stores.conformance import OpenStore
    from moorage.stores.faults import Fault
    from trio.testing import MockClock


@check
async def _hangs(open_store: OpenStore) -> None:
    """Something comes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


@check
async def _raises(open_store: OpenStore) -> None:
    """Nothing is
    raised."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise StoreFailed("no such disk")


@check
async def _finds(open_store: OpenStore) -> None:
    """Of two problems the finding counts."""

    async def find() -> None:
        require_equal(list(range(1000)), [], "numbers")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        raise StoreFailed("no such disk")


async def test_a_check_that_hangs_fails_with_its_rule(autojump_clock: MockClock) -> None:
    with pytest.raises(
        Nonconformance, match=r"_hangs: nothing happened for 60 seconds\. The rule: Something comes"
    ):
        await _hangs(MemoryStore)


async def test_an_error_of_the_store_fails_the_check_bare() -> None:
    with pytest.raises(
        Nonconformance, match=r"_raises: raised StoreFailed.*The rule: Nothing is raised\."
    ) as caught:
        await _raises(MemoryStore)

    assert type(caught.value.__cause__) is StoreFailed


async def test_a_finding_is_told_rather_than_what_went_with_it_and_not_at_length() -> None:
    with pytest.raises(
        Nonconformance, match=r"_finds: numbers: expected \[\], got \[0, 1"
    ) as caught:
        await _finds(MemoryStore)

    assert len(str(caught.value)) < 500


async def test_cancelling_a_check_is_no_finding() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await _hangs(MemoryStore)

    assert scope.cancelled_caught


async def test_news_that_comes_all_the_time_is_found() -> None:
    async with opened(MemoryStore) as store:
        follower = Follower(store, "unknown")  # for which wait_news returns at once
        for _ in range(HINTS_MAX - 1):
            await follower.wait(0)
        with pytest.raises(Nonconformance, match=f"returned {HINTS_MAX} times"):
            await follower.wait(0)


class Stuck(Reading):
    """Says that it has scanned nothing."""

    def change(self, page: Page, *, after: int = 0, backwards: bool = False, **_: Any) -> Page:
        return attrs.evolve(page, scanned_to=page.head_seq + 1 if backwards else after)


@pytest.mark.parametrize("backwards", [False, True])
async def test_paging_that_does_not_move_is_found(backwards: bool) -> None:
    async with opened(Stuck) as store:
        await (await Author.of(store, "a")).write(*notes(1, 3))
        with pytest.raises(Nonconformance, match="scanned_to stays"):
            await read_all(store, "a", before=4, backwards=backwards)


async def test_an_author_continues_where_the_last_one_stopped() -> None:
    async with opened(MemoryStore) as store:
        await (await Author.of(store, "a")).write(*notes(1, 2))
        await (await Author.of(store, "a")).write(note(7))

        assert await numbers(store, "a") == [(1, 1), (2, 2), (3, 7)]
        assert await numbers(store, "a", after=2) == [(3, 7)]


async def test_what_is_not_refused_as_it_should_be_is_found() -> None:
    async with opened(MemoryStore) as store:
        error = await require_refused(UnknownSession, "reading", lambda: store.read("a"))
        assert type(error) is UnknownSession
        with pytest.raises(Nonconformance, match="info did not raise SessionHeld"):
            await require_refused(SessionHeld, "info", lambda: store.info("a"))


async def test_a_content_opens_like_the_store_it_is_about_and_offers_what_it_was_given() -> None:
    plain = Content.of(MemoryStore)
    faults: list[Fault] = []
    rich = Content(MemoryStore, lambda: MemoryStore, faults.append)

    async with opened(plain) as store:
        await (await Author.of(store, "a")).write(note(7))
        assert await numbers(store, "a") == [(1, 7)]
    assert Content.of(rich) is rich
    assert (plain.after_crash, plain.fail_next) == (None, None)
    assert rich.after_crash is not None
    assert rich.after_crash() is MemoryStore


class StandsStill(MemoryStore):
    """Every other question takes a while: its machine has other things to do."""

    asked = 0
    seconds = STILL_SECONDS_MAX - 1

    async def info(self, session_id: str) -> Any:
        type(self).asked += 1
        if self.asked % 2:
            await trio.sleep(self.seconds)
        return await super().info(session_id)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[Any]:
        yield self


async def test_news_are_late_by_the_time_in_which_the_store_answered(
    autojump_clock: MockClock,
) -> None:
    for kind, seconds in ((MemoryStore, 1.05), (StandsStill, 5 * StandsStill.seconds + 1.05)):
        async with opened(kind) as store, stopwatch(store) as watch:
            watch.start("news")
            await trio.sleep(seconds)

            assert watch.late("news") == pytest.approx(1.0)
            assert watch.late("what is seen before it is known to be there") == 0
            watch.check("news")
            await watch.until_late("news")
            with pytest.raises(Nonconformance, match=r"returned 2\.1 seconds after the news"):
                watch.check("news")


async def test_a_store_that_stands_still_for_long_is_late(autojump_clock: MockClock) -> None:
    class Blocks(StandsStill):
        seconds = STILL_SECONDS_MAX + 1

    async with opened(Blocks) as store, stopwatch(store) as watch:
        watch.start("news")
        await trio.sleep(Blocks.seconds + 1)

        with pytest.raises(Nonconformance, match="seconds after the news"):
            watch.check("news")


async def test_what_comes_soon_is_told_from_what_comes_late(autojump_clock: MockClock) -> None:
    async with opened(MemoryStore) as store:
        assert await comes_soon(store, partial(trio.sleep, NEWS_SECONDS_MAX - 0.2))
        assert not await comes_soon(store, partial(trio.sleep, NEWS_SECONDS_MAX + 0.3))
