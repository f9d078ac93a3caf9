"""What the conformance suite cannot ask of a MemoryStore from outside."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime.commands import GetStatus
from moorage.runtime.errors import InvalidArgument, SessionHeld, StaleOwner, StoreFailed
from moorage.runtime.ports import Snapshot, Store
from moorage.stores import MemoryStore
from moorage.stores.conformance.scenario import (
    Author,
    facts,
    note,
    notes,
    numbers,
    opened,
    refuse,
)
from trio.testing import MockClock, wait_all_tasks_blocked


async def test_a_store_used_again_keeps_its_content() -> None:
    store = MemoryStore()
    for number in (1, 2):
        async with store.opened(owner="me", deliver=refuse):
            await (await Author.of(store, "a")).write(note(number))
    async with store.opened(owner="me", deliver=refuse):
        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_opening_one_object_twice_at_once_names_the_holder() -> None:
    store = MemoryStore(lease_seconds=5)
    async with store.opened(owner="process 7", deliver=refuse):
        with pytest.raises(SessionHeld, match="process 7") as caught:
            async with store.opened(owner="process 8", deliver=refuse):
                pass

    assert caught.value.holder == "process 7"


async def test_a_store_that_is_not_open_fails_every_call() -> None:
    store = MemoryStore()
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        claim = author.claim
    calls = [
        lambda: store.claim("a"),
        lambda: store.renew([claim]),
        lambda: store.release(claim),
        lambda: store.append(claim, expected_seq=2, records=[note(2)]),
        lambda: store.save_snapshot(claim, Snapshot(1, b"")),
        lambda: store.save_cursor("a", "c", 1),
        lambda: store.trim(claim, 1),
        lambda: store.delete(claim),
        lambda: store.hand_over("a", GetStatus()),
        lambda: store.info("a"),
        lambda: store.read("a"),
        lambda: store.wait_news("a", after=0),
        lambda: store.find_run("a", "r"),
        lambda: store.find_key("a", "k"),
        lambda: store.snapshot("a"),
        lambda: store.cursor("a", "c"),
    ]
    for call in calls:
        with pytest.raises(StoreFailed, match="not open") as caught:
            await call()
        assert caught.value.written is False
    with pytest.raises(StoreFailed, match="not open"):
        store.sessions()


async def test_what_the_block_raises_leaves_bare() -> None:
    problem = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with opened(MemoryStore):
            raise problem
    assert caught.value is problem

    group = ExceptionGroup("mine", [problem])
    with pytest.raises(ExceptionGroup) as caught_group:
        async with opened(MemoryStore):
            raise group
    assert caught_group.value is group

    with trio.CancelScope() as scope:
        async with opened(MemoryStore):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


class Steps(trio.abc.Instrument):
    """Counts how often one task is resumed."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def test_an_append_suspends_exactly_once() -> None:
    async with opened(MemoryStore) as store:
        author = await Author.of(store, "a")
        steps = Steps(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(steps)

        await author.write(note(1))

        trio.lowlevel.remove_instrument(steps)
        assert steps.count == 1


async def test_the_first_append_needs_an_info_and_snapshots_a_past() -> None:
    async with opened(MemoryStore) as store:
        claim = await store.claim("a")
        with pytest.raises(InvalidArgument, match="needs an info"):
            await store.append(claim, expected_seq=1, records=[note(1)])
        await store.append(claim, expected_seq=1, records=[note(1)], info=facts("a"))
        with pytest.raises(InvalidArgument, match="ahead of the head, 1"):
            await store.save_snapshot(claim, Snapshot(2, b""))


@pytest.mark.parametrize("lease_seconds", [0, -1, float("nan")])
def test_a_lease_lasts(lease_seconds: float) -> None:
    with pytest.raises(InvalidArgument, match="lease_seconds"):
        MemoryStore(lease_seconds=lease_seconds)


async def test_an_expired_lease_nobody_took_over_still_writes(autojump_clock: MockClock) -> None:
    store = MemoryStore(lease_seconds=2)
    other = store.peer()
    async with opened(lambda: store), opened(lambda: other):
        author = await Author.of(store, "a")
        await author.write(note(1))
        await trio.sleep(10)
        await author.write(note(2))  # epochs decide, never clocks

        newer = await Author.of(other, "a")
        with pytest.raises(StaleOwner, match="the conformance suite, owns the session"):
            await author.write(note(3))
        assert newer.head_seq == 2


async def test_closing_a_node_frees_its_sessions_at_once(autojump_clock: MockClock) -> None:
    store = MemoryStore(lease_seconds=1000)
    other = store.peer()
    async with opened(lambda: other):
        async with opened(lambda: store):
            await (await Author.of(store, "a")).write(note(1))
            with pytest.raises(SessionHeld):
                await other.claim("a")
        assert (await other.claim("a")).head_seq == 1
    assert trio.current_time() < 1000


async def test_statistics_count(nursery: trio.Nursery) -> None:
    async with opened(MemoryStore) as store:
        a, b = await Author.of(store, "a"), await Author.of(store, "b")
        await a.write(*notes(1, 3))
        await a.write(note(4))
        await b.write(note(1))
        await store.trim(a.claim, 3)
        await store.delete(b.claim)
        nursery.start_soon(_wait, store)
        await wait_all_tasks_blocked()
        found = store.statistics()
        nursery.cancel_scope.cancel()

    assert (found.sessions, found.tombstones, found.events) == (1, 1, 2)
    assert (found.claims, found.appends, found.waiting) == (1, 3, 1)
    assert found.size_bytes == len(note(3).body) + len(note(4).body)


async def _wait(store: Store) -> None:
    await store.wait_news("a", after=4)
