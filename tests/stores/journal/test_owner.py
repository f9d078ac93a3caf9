from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed, UnknownSession
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import JournalStore
from moorage.stores.simulated_disk import SimulatedDisk
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime.ports import Claim
    from moorage.stores.simulated_disk import Operation

DURABLE = Path("/journal/DURABLE")
GATE_SECONDS_MAX = 5
NOTE = encode_event(1, "note", None, {})


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.fixture
def store(disk: SimulatedDisk) -> JournalStore:
    return JournalStore(Path("/journal"), disk=disk)


async def append(store: JournalStore, claim: Claim, seq: int, count: int = 1, **info: Any) -> None:
    await store.append(claim, expected_seq=seq, records=[NOTE] * count, **info)


async def test_a_claim_tells_what_is_there_and_each_one_has_a_higher_epoch(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        new = await store.claim("a")
        await append(store, new, 1, 3, info=new_info("a"))
        await store.save_snapshot(new, Snapshot(2, b"state"))
        await store.trim(new, 2)
        again = await store.claim("a")
    async with open_store(store):
        reopened = await store.claim("b")

    assert (new.head_seq, new.oldest_seq, new.info, new.snapshot) == (0, 1, None, None)
    assert (again.head_seq, again.oldest_seq, again.snapshot) == (3, 2, Snapshot(2, b"state"))
    assert again.info is not None
    assert new.epoch < again.epoch < reopened.epoch


async def test_every_write_under_an_older_claim_is_refused(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        old = await store.claim("a")
        await append(store, old, 1, info=new_info("a"))
        new = await store.claim("a")
        await store.release(old)  # changes nothing for the new one

        for write in (
            lambda: append(store, old, 2),
            lambda: store.save_snapshot(old, Snapshot(1, b"")),
            lambda: store.trim(old, 2),
            lambda: store.delete(old),
        ):
            with pytest.raises(StaleOwner, match=f"epoch {new.epoch} owns the session"):
                await write()
        await append(store, new, 2)
        await store.release(new)
        with pytest.raises(StaleOwner, match="nobody owns the session"):
            await append(store, new, 3)


@pytest.mark.parametrize("seq", [1, 2, 4])
async def test_an_append_that_does_not_continue_at_the_head_is_refused(
    store: JournalStore, new_info: Any, open_store: Any, seq: int
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, 2, info=new_info("a"))

        with pytest.raises(StaleOwner, match=f"the head is 2 and the append starts at {seq}"):
            await append(store, claim, seq)


@pytest.fixture
def gate(disk: SimulatedDisk) -> Iterator[threading.Event]:
    """Holds back the frames until it is set."""
    gate = threading.Event()

    def hold(disk: SimulatedDisk, operation: Operation, done: bool) -> None:
        if operation.kind == "write" and operation.path.suffix == ".log" and not done:
            gate.wait(GATE_SECONDS_MAX)

    gate.set()
    disk.watch = hold
    yield gate
    gate.set()


async def test_appends_may_follow_each_other_before_the_first_is_durable(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        gate.clear()

        async with trio.open_nursery() as nursery:
            for seq in (1, 2, 3):
                nursery.start_soon(lambda seq=seq: append(store, claim, seq, info=new_info("a")))
                await wait_all_tasks_blocked()
            with pytest.raises(StaleOwner, match="the head is 3"):
                await append(store, claim, 3)
            nothing_yet = await store.info("a")
            gate.set()
        page = await store.read("a")

    assert nothing_yet is None
    assert [event.seq for event in page.events] == [1, 2, 3]


async def test_a_claim_counts_what_the_owner_before_had_on_its_way(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    claims: list[Claim] = []
    async with open_store(store):
        claim = await store.claim("a")
        gate.clear()

        async def take_over() -> None:
            claims.append(await store.claim("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: append(store, claim, 1, 5, info=new_info("a")))
            await wait_all_tasks_blocked()
            nursery.start_soon(take_over)
            await wait_all_tasks_blocked()
            too_early = list(claims)
            gate.set()

    assert too_early == []
    assert [claim.head_seq for claim in claims] == [5]


async def test_the_first_append_needs_an_info_and_a_snapshot_is_not_ahead(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        with pytest.raises(InvalidArgument, match="needs an info"):
            await append(store, claim, 1)
        for write in (
            lambda: store.save_snapshot(claim, Snapshot(0, b"")),
            lambda: store.save_cursor("a", "reader", 1),
            lambda: store.trim(claim, 1),
        ):
            with pytest.raises(UnknownSession):
                await write()
        await append(store, claim, 1, info=new_info("a"))

        with pytest.raises(InvalidArgument, match="at seq 2 is ahead of the head, 1"):
            await store.save_snapshot(claim, Snapshot(2, b""))


async def test_a_trim_never_goes_back_nor_beyond_the_head(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    oldest = []
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, 5, info=new_info("a"))
        for before in (3, 2, 100):
            await store.trim(claim, before)
            oldest.append((await store.claim("a")).oldest_seq)
            claim = await store.claim("a")

    assert oldest == [3, 3, 6]


async def test_a_deleted_session_is_begun_anew_above_its_head_under_a_new_claim(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, 3, info=new_info("a"))

        await store.delete(claim)
        with pytest.raises(StaleOwner):
            await append(store, claim, 4, info=new_info("a"))
        again = await store.claim("a")
        with pytest.raises(InvalidArgument, match="needs an info"):
            await append(store, again, 4)
        await append(store, again, 4, info=new_info("a"))
        page = await store.read("a", after=3)

    assert (again.head_seq, again.oldest_seq, again.info) == (3, 4, None)
    assert [event.seq for event in page.events] == [4]


async def test_deleting_what_never_existed_writes_nothing(
    store: JournalStore, open_store: Any
) -> None:
    async with open_store(store):
        await store.delete(await store.claim("a"))

        statistics = store.statistics()

    assert (statistics.commits, statistics.tombstones, statistics.claims) == (0, 0, 0)


async def test_after_a_write_that_was_undone_the_head_is_that_of_the_log(
    disk: SimulatedDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, info=new_info("a"))
        disk.fail("write", 1)
        with pytest.raises(StoreFailed) as failed:
            await append(store, claim, 2, 3)

        await append(store, claim, 2)
        page = await store.read("a")

    assert failed.value.written is False
    assert page.head_seq == 2


async def test_who_waits_for_news_is_woken_by_a_poisoned_log(
    disk: SimulatedDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, info=new_info("a"))
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: store.wait_news("a", after=1))
                await wait_all_tasks_blocked()
                disk.fail("sync", 1)
                with pytest.raises(StoreFailed, match="unknown"):
                    await append(store, claim, 2)
        with pytest.raises(StoreFailed) as refused:
            await append(store, claim, 2)

    assert refused.value.poisoned
    assert refused.value.written is False


async def test_a_commit_is_good_although_other_processes_cannot_be_told(
    disk: SimulatedDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        before = disk.files()[DURABLE]
        disk.fail("write", 2)  # the frame is the first, the DURABLE file the second

        await append(store, claim, 1, info=new_info("a"))
        untold = disk.files()[DURABLE] == before
        await append(store, claim, 2)

        assert untold
        assert disk.files()[DURABLE] != before
        assert (await store.read("a")).head_seq == 2
