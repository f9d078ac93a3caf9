"""A session's image comes back from its snapshot and the events behind it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime import recall as recall_module
from moorage.runtime.codec import encode_event, encode_struct
from moorage.runtime.commands import AppendEvents, Cancel, OpenSession, Submit
from moorage.runtime.errors import CorruptLog, CursorExpired, StoreFailed
from moorage.runtime.events import NewEvent
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.ports import Claim, Snapshot
from moorage.runtime.recall import Recalled, recall, recall_session
from moorage.runtime.sessions import SEALED, SessionInfo, SessionState
from moorage.runtime.turns import Batch
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Writer:
    """A session's owner without a worker: decides, and appends what was decided."""

    def __init__(self, store: MemoryStore, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.machine = SessionMachine(
            SessionImage("s", head_seq=claim.head_seq), SupervisorLimits()
        )

    @property
    def image(self) -> SessionImage:
        return self.machine.image

    async def do(self, *commands: Any) -> Writer:
        batch = Batch(self.image.head_seq + 1)
        for command in commands:
            batch.absorb(self.machine.handle(command, 1_000))
        await self.append(batch.records, batch.first_seq)
        return self

    async def append(self, records: list[Any], first_seq: int) -> None:
        info = self.image.info()
        await self.store.append(self.claim, expected_seq=first_seq, records=records, info=info)

    async def snapshot(self) -> Snapshot:
        snapshot = Snapshot(self.image.head_seq, encode_struct(self.image))
        await self.store.save_snapshot(self.claim, snapshot)
        return snapshot

    async def recall(self, **facts: Any) -> SessionImage:
        info = await self.store.info("s")
        assert info is not None
        facts = {"head_seq": info.head_seq, "info": info, "snapshot": None, **facts}
        return await recall(self.store, "s", **facts)


@asynccontextmanager
async def writing() -> AsyncIterator[Writer]:
    async def nobody(*_: Any) -> None:
        raise AssertionError("no command is handed over here")

    store = MemoryStore()
    async with store.opened(owner="test", deliver=nobody):
        yield Writer(store, await store.claim("s"))


def submit(run_id: str) -> Submit:
    return Submit(run_id=run_id, input=run_id, size_bytes=2)


async def test_a_session_that_does_not_exist_has_an_image_with_the_head_of_its_tombstone() -> None:
    image = await recall(MemoryStore(), "s", head_seq=7, info=None, snapshot=None)

    assert image == SessionImage("s", head_seq=7)


@pytest.mark.promise(4)
async def test_the_whole_log_gives_the_live_image() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(slots=2), submit("A"), submit("B"), Cancel(run_id="A"))
        await writer.do(AppendEvents(events=(NewEvent("message_received", "hi"),), size_bytes=3))

        assert await writer.recall() == writer.image


async def test_a_snapshot_and_what_is_behind_it_give_the_live_image() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"))
        snapshot = await writer.snapshot()
        await writer.do(Cancel(run_id="A"), submit("B"))

        assert await writer.recall(snapshot=snapshot) == writer.image


async def test_a_session_is_recalled_with_its_info_and_snapshot_as_of_its_head() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"))
        without = await recall_session(writer.store, "s")
        snapshot = await writer.snapshot()
        await writer.do(Cancel(run_id="A"), submit("B"))
        recalled = await recall_session(writer.store, "s", tombstone_seq=99)
        info = await writer.store.info("s")

    assert (without.snapshot, without.image.queued()) == (None, ("A",))
    assert recalled == Recalled(info, snapshot, writer.image)


async def test_of_a_session_that_was_deleted_the_tombstone_s_seq_is_recalled() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"))
        await writer.snapshot()
        await writer.store.delete(writer.claim)
        claim = await writer.store.claim("s")

        recalled = await recall_session(writer.store, "s", tombstone_seq=claim.head_seq)

    assert recalled == Recalled(None, None, SessionImage("s", head_seq=2))


async def test_a_snapshot_is_enough_where_the_log_below_it_is_gone() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"), Cancel(run_id="A"))
        snapshot = await writer.snapshot()
        await writer.store.trim(writer.claim, writer.image.head_seq + 1)

        assert await writer.recall(snapshot=snapshot) == writer.image


async def test_what_a_snapshot_does_not_reach_down_to_cannot_be_recalled() -> None:
    async with writing() as writer:
        await writer.do(OpenSession())
        snapshot = await writer.snapshot()
        await writer.do(submit("A"), Cancel(run_id="A"))
        await writer.store.trim(writer.claim, 3)

        with pytest.raises(CursorExpired):
            await writer.recall(snapshot=snapshot)


async def test_an_id_that_is_used_again_is_recalled_from_above_its_tombstone() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"))
        await writer.store.delete(writer.claim)
        again = Writer(writer.store, await writer.store.claim("s"))
        await again.do(OpenSession(), submit("B"))

        image = await again.recall()

        assert image == again.image
        assert (image.head_seq, image.queued()) == (4, ("B",))


async def test_a_log_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_module, "PAGE_EVENTS", 2)
    async with writing() as writer:
        await writer.do(OpenSession(), *(submit(f"r{number}") for number in range(7)))

        assert await writer.recall() == writer.image


async def test_an_image_is_recalled_as_of_a_head() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"), submit("B"))

        image = await writer.recall(head_seq=2)

        assert (image.head_seq, image.queued()) == (2, ("A",))


async def test_a_snapshot_newer_than_the_head_that_was_read_moves_the_head() -> None:
    async with writing() as writer:
        await writer.do(OpenSession(), submit("A"))
        snapshot = await writer.snapshot()

        assert await writer.recall(head_seq=1, snapshot=snapshot) == writer.image


@pytest.mark.promise(15)
async def test_a_log_that_cannot_be_replayed_is_damage_and_tells_where() -> None:
    async with writing() as writer:
        await writer.do(OpenSession())
        await writer.append([encode_event(1, "run_started", "ghost", {"attempt": 1})], 2)

        with pytest.raises(CorruptLog, match="run_started cannot follow here") as caught:
            await writer.recall()

    assert (caught.value.file, caught.value.offset) == ("session 's'", 2)


@pytest.mark.promise(15)
async def test_a_snapshot_that_is_none_is_damage_and_tells_where() -> None:
    async with writing() as writer:
        await writer.do(OpenSession())

        with pytest.raises(CorruptLog) as caught:
            await writer.recall(snapshot=Snapshot(1, b"\xc1"))

    assert (caught.value.file, caught.value.offset) == ("snapshot of session 's'", 1)


async def test_an_encrypted_session_is_refused_by_a_store_without_its_keys() -> None:
    sealed = SessionInfo("s", SessionState.OPEN, {}, {SEALED: b"x"}, 1, 1, 1, {})

    with pytest.raises(StoreFailed, match="'s' is encrypted: open the store with its keys") as told:
        await recall(MemoryStore(), "s", head_seq=1, info=sealed, snapshot=None)

    assert told.value.written is False
