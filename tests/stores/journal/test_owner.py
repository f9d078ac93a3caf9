from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import (
    CorruptLog,
    InvalidArgument,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import JournalStore
from moorage.stores.journal import format as fmt
from moorage.stores.simulated_disk import SimulatedDisk
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime.ports import Claim
    from moorage.stores.simulated_disk import Operation

DURABLE = Path("/journal/DURABLE")
GATE_SECONDS_MAX = 60
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
        with trio.fail_after(60):
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


class Gate:
    """Lets frames be written one by one."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._let_through = threading.Semaphore(0)
        disk.watch = self._hold

    def _hold(self, disk: SimulatedDisk, operation: Operation, done: bool) -> None:
        if operation.kind == "write" and operation.path.suffix == ".log" and not done:
            self._let_through.acquire(timeout=GATE_SECONDS_MAX)

    def let_through(self, frames: int = 1) -> None:
        self._let_through.release(frames)


async def test_a_claim_waits_for_a_delete_that_is_behind_an_append(
    disk: SimulatedDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    claims: list[Claim] = []

    async def take_over() -> None:
        claims.append(await store.claim("a"))

    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, info=new_info("a"))
        gate = Gate(disk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: append(store, claim, 2))
            await wait_all_tasks_blocked()
            nursery.start_soon(store.delete, claim)
            await wait_all_tasks_blocked()
            gate.let_through()
            while store._state().directory.entries["a"].head_seq < 2:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(take_over)
            await wait_all_tasks_blocked()
            too_early = list(claims)
            gate.let_through(9)
        with pytest.raises(InvalidArgument, match="needs an info"):
            await append(store, claims[0], 3)
        await append(store, claims[0], 3, info=new_info("a"))
        kept = [event.seq for event in (await store.read("a", after=2)).events]

    assert too_early == []
    assert (claims[0].head_seq, claims[0].oldest_seq, claims[0].info) == (2, 3, None)
    assert kept == [3]


async def test_a_claim_counts_a_trim_and_a_snapshot_that_were_on_their_way(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    claims: list[Claim] = []

    async def take_over() -> None:
        claims.append(await store.claim("a"))

    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, 5, info=new_info("a"))
        for write in (
            lambda claim: store.trim(claim, 4),
            lambda claim: store.save_snapshot(claim, Snapshot(5, b"state")),
        ):
            gate.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, claim)
                await wait_all_tasks_blocked()
                nursery.start_soon(take_over)
                await wait_all_tasks_blocked()
                gate.set()
            claim = claims[-1]

    assert [claim.oldest_seq for claim in claims] == [4, 4]
    assert [claim.snapshot for claim in claims] == [None, Snapshot(5, b"state")]


async def test_a_delete_behind_the_first_append_takes_it_with_it(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        gate.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: append(store, claim, 1, 0, info=new_info("a")))
            await wait_all_tasks_blocked()
            nursery.start_soon(store.delete, claim)
            await wait_all_tasks_blocked()
            gate.set()

        assert await store.info("a") is None


async def test_of_two_trims_in_flight_the_one_that_goes_further_counts(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, 10, info=new_info("a"))
        gate.clear()
        async with trio.open_nursery() as nursery:
            for before in (9, 6):
                nursery.start_soon(store.trim, claim, before)
                await wait_all_tasks_blocked()
            gate.set()

        assert (await store.claim("a")).oldest_seq == 9


async def test_a_claim_that_is_cancelled_is_granted_or_takes_nothing_from_the_owner(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    granted: list[Claim] = []

    async def take_over(scope: trio.CancelScope) -> None:
        with scope:
            granted.append(await store.claim("a"))

    async with open_store(store):
        owner = await store.claim("a")
        await append(store, owner, 1, info=new_info("a"))
        await store.save_snapshot(owner, Snapshot(1, b"state"))
        await store.compact()  # the snapshot is read in a thread
        threads = store._opened_reads()._threads
        others = [object() for _ in range(int(threads.total_tokens))]
        for other in others:
            threads.acquire_on_behalf_of_nowait(other)
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(take_over, scope)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            for other in others:
                threads.release_on_behalf_of(other)
        begun = len(granted)
        too_late = trio.CancelScope()
        too_late.cancel()
        await take_over(too_late)
        await append(store, granted[-1], 2)

    assert begun == len(granted) == 1


async def test_a_claim_that_cannot_be_granted_leaves_the_session_to_its_owner(
    disk: SimulatedDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        for session_id in ("a", "b"):
            owner = await store.claim(session_id)
            await store.append(owner, expected_seq=1, records=[NOTE], info=new_info(session_id))
            await store.save_snapshot(owner, Snapshot(1, b"state"))
        await store.release(owner)
        log = next(path for path in disk.files() if path.suffix == ".log")
        disk.put(log, disk.files()[log].replace(b"state", b"stale"))
        for session_id in ("a", "b"):
            with pytest.raises(CorruptLog):
                await store.claim(session_id)

        assert store.statistics().claims == 1


async def test_an_append_that_no_frame_can_hold_is_refused_before_anything_is_written(
    disk: SimulatedDisk,
    store: JournalStore,
    new_info: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fmt, "FRAME_BYTES_MAX", 100_000)
    large = encode_event(1, "note", None, {"blob": bytes(100_000)})
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, info=new_info("a"))
        with pytest.raises(InvalidArgument, match=r"is 1000\d\d bytes .* holds 100000"):
            await store.append(claim, expected_seq=2, records=[large])
        with pytest.raises(InvalidArgument, match="holds 100000"):
            await store.save_snapshot(claim, Snapshot(1, bytes(100_000)))
        await append(store, claim, 2)
    async with open_store(JournalStore(Path("/journal"), disk=disk)) as reopened:
        assert (await reopened.read("a")).head_seq == 2


async def test_what_the_format_cannot_hold_is_refused_and_the_session_goes_on(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    good = encode_event(1, "run_submitted", "r", {}, key="k")
    async with open_store(store):
        claim = await store.claim("a")
        await append(store, claim, 1, info=new_info("a"))
        for record in (
            good._replace(time_ns=2**63),
            good._replace(key="k" * 70_000),
            good._replace(run_id="\ud800"),
        ):
            with pytest.raises(InvalidArgument):
                await store.append(claim, expected_seq=2, records=[NOTE, record])
        with pytest.raises(InvalidArgument, match="cannot be kept: can not serialize"):
            await append(store, claim, 2, info=new_info("a", metadata={"x": {1}}))
        with pytest.raises(InvalidArgument, match="the body of 'note' must be bytes"):
            await store.append(claim, expected_seq=2, records=[NOTE._replace(body=None)])
        await append(store, claim, 2)

        assert (await store.read("a")).head_seq == 2


async def test_a_claim_that_comes_first_out_of_a_frame_knows_that_the_session_is_gone(
    store: JournalStore, gate: threading.Event, new_info: Any, open_store: Any
) -> None:
    async def begin_anew(session_id: str) -> None:
        again = await store.claim(session_id)
        with pytest.raises(InvalidArgument, match="needs an info"):
            await append(store, again, 3)

    async with open_store(store):
        for session_id in "abcdefgh":  # who of a frame is woken first is a matter of chance
            claim = await store.claim(session_id)
            await append(store, claim, 1, info=new_info(session_id))
            gate.clear()
            async with trio.open_nursery() as nursery:
                for task in (
                    functools.partial(append, store, claim, 2),
                    functools.partial(store.delete, claim),
                    functools.partial(begin_anew, session_id),
                ):
                    nursery.start_soon(task)
                    await wait_all_tasks_blocked()
                gate.set()
