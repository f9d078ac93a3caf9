"""Each fault does what its name says, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores import MemoryStore
from moorage.stores.conformance import CHECKS
from moorage.stores.conformance.scenario import Author, note, numbers, opened
from moorage.stores.faults import AppendCall, Delay, Fault, FaultyStore
from trio.testing import MockClock, wait_all_tasks_blocked

if TYPE_CHECKING:
    from moorage.stores.conformance import Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_without_faults_it_is_a_store(check: Check, autojump_clock: MockClock) -> None:
    inner = MemoryStore()
    await check(lambda: FaultyStore(inner.peer()))


@pytest.mark.parametrize(
    ("fault", "written", "kept"),
    [
        (Fault.NOT_WRITTEN, False, [(1, 1)]),
        (Fault.UNKNOWN_LOST, None, [(1, 1)]),
        (Fault.UNKNOWN_WRITTEN, None, [(1, 1), (2, 2)]),
    ],
)
async def test_a_failed_append_says_what_is_known_of_it(
    fault: Fault, written: bool | None, kept: list[tuple[int, int]]
) -> None:
    store = FaultyStore(MemoryStore(), {2: fault})
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        with pytest.raises(StoreFailed) as caught:
            await author.write(note(2))

        assert (caught.value.written, caught.value.poisoned) == (written, False)
        assert await numbers(store, "a") == kept
        again = await Author.of(store, "a")
        await again.write(note(3))
        assert await numbers(store, "a") == [*kept, (len(kept) + 1, 3)]


async def test_a_stale_owner_stays_stale_and_the_next_claim_is_good() -> None:
    store = FaultyStore(MemoryStore(), {2: Fault.STALE})
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        for _ in range(2):
            with pytest.raises(StaleOwner):
                await author.write(note(2))
        await (await Author.of(store, "a")).write(note(3))

        assert await numbers(store, "a") == [(1, 1), (2, 3)]


async def test_poison_refuses_every_write_until_opened_again_while_reading_goes_on() -> None:
    store = FaultyStore(MemoryStore(), {2: Fault.POISON})
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        with pytest.raises(StoreFailed) as caught:
            await author.write(note(2))
        assert (caught.value.written, caught.value.poisoned) == (None, True)
        for write in (
            lambda: author.write(note(2)),
            lambda: store.save_snapshot(author.claim, Snapshot(1, b"")),
            lambda: store.save_cursor("a", "c", 1),
            lambda: store.trim(author.claim, 1),
            lambda: store.delete(author.claim),
        ):
            with pytest.raises(StoreFailed) as caught:
                await write()
            assert (caught.value.written, caught.value.poisoned) == (False, True)
        assert await numbers(store, "a") == [(1, 1)]
        assert store.statistics().poisoned
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(2))
        assert not store.poisoned


async def test_poison_wakes_those_who_wait_for_news() -> None:
    store = FaultyStore(MemoryStore(), {2: Fault.POISON})
    async with opened(lambda: store), trio.open_nursery() as nursery:
        author = await Author.of(store, "a")
        await author.write(note(1))

        async def wait() -> None:
            await store.wait_news("a", after=1)
            with pytest.raises(StoreFailed):  # nothing new will ever come
                await store.wait_news("a", after=1)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with pytest.raises(StoreFailed):
            await author.write(note(2))

    assert store.calls["wait_news"] == 2


async def test_a_delay_holds_one_append_and_cannot_be_cancelled(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore(), {2: Delay(5.0), 3: Delay(1.0, then=Fault.NOT_WRITTEN)})
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        with trio.move_on_after(1):
            await author.write(note(2))
        assert trio.current_time() == 5.0
        with pytest.raises(StoreFailed):
            await author.write(note(3))
        assert trio.current_time() == 6.0

        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_a_script_may_look_at_the_append() -> None:
    def script(call: AppendCall) -> Fault | None:
        return Fault.NOT_WRITTEN if "run_completed" in call.types else None

    store = FaultyStore(MemoryStore(), script)
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r1"))
        with pytest.raises(StoreFailed):
            await author.write(note(2), note(3, "run_completed", "r1"))

        assert [call.types for call in store.appends] == [
            ("run_submitted",),
            ("message_sent", "run_completed"),
        ]
        assert (store.appends[1].number, store.appends[1].expected_seq) == (2, 2)
        assert store.statistics().faults == {"not_written": 1}
        assert store.statistics().calls["append"] == 2


def test_appends_are_numbered_from_one() -> None:
    with pytest.raises(InvalidArgument, match="numbered from 1"):
        FaultyStore(MemoryStore(), {0: Fault.STALE})
