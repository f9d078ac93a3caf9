from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import StoreFailed
from moorage.stores.journal import JournalStore
from moorage.stores.simulated_disk import SimulatedDisk
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.ports import Claim, StoreReader


async def list_sessions(reader: StoreReader) -> list[str]:
    return [info.id async for info in reader.sessions()]


ASKED = {
    "info": lambda reader: reader.info("a"),
    "sessions": list_sessions,
    "read": lambda reader: reader.read("a"),
    "wait_news": lambda reader: reader.wait_news("a", after=0),
    "find_run": lambda reader: reader.find_run("a", "R"),
    "find_key": lambda reader: reader.find_key("a", "K"),
    "snapshot": lambda reader: reader.snapshot("a"),
    "cursor": lambda reader: reader.cursor("a", "reader"),
}

every_question = pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED.keys())
either_side = pytest.mark.parametrize("beside", [False, True], ids=["owner", "beside the owner"])


@pytest.fixture
def store() -> JournalStore:
    return JournalStore(Path("/journal"), disk=SimulatedDisk())


@contextlib.asynccontextmanager
async def reader_of(store: JournalStore, *, beside: bool) -> AsyncIterator[StoreReader]:
    """The owner itself, or a reader beside it."""
    if not beside:
        yield store
        return
    async with store.reading() as reader:
        yield reader


async def append(
    store: JournalStore, claim: Claim, seq: int, type: str, run_id: str, info: Any
) -> None:
    record = encode_event(1, type, run_id, {}, key="K" if type == "run_submitted" else None)
    await store.append(claim, expected_seq=seq, records=[record], info=info)


@every_question
async def test_a_journal_that_is_not_open_answers_nothing_and_says_why(
    store: JournalStore, open_store: Any, ask: Any
) -> None:
    with pytest.raises(StoreFailed, match="not open: use it within `async with`"):
        await ask(store)
    async with open_store(store), store.reading() as reader:
        pass

    for closed in (store, reader):
        with pytest.raises(StoreFailed, match="is closed") as failed:
            await ask(closed)
        assert failed.value.written is False


@every_question
@either_side
async def test_every_question_can_be_cancelled_before_it_begins(
    store: JournalStore, open_store: Any, new_info: Any, ask: Any, beside: bool
) -> None:
    async with open_store(store), reader_of(store, beside=beside) as reader:
        await append(store, await store.claim("a"), 1, "run_submitted", "R", new_info("a"))

        with trio.CancelScope() as scope:
            scope.cancel()
            await ask(reader)

    assert scope.cancelled_caught


@either_side
async def test_what_was_acknowledged_is_in_the_next_answer(
    store: JournalStore, open_store: Any, new_info: Any, beside: bool
) -> None:
    async with open_store(store), reader_of(store, beside=beside) as reader:
        before = await reader.info("a")
        await append(store, await store.claim("a"), 1, "run_submitted", "R", new_info("a"))
        run = await reader.find_run("a", "R")
        await store.save_cursor("a", "reader", 1)

        assert before is None
        assert run is not None
        assert await reader.find_key("a", "K") == "R"
        assert await reader.cursor("a", "reader") == 1
        assert await reader.cursor("a", "another") is None
        assert await list_sessions(reader) == ["a"]


@either_side
async def test_a_wait_for_what_is_there_already_returns_at_once(
    store: JournalStore, open_store: Any, new_info: Any, beside: bool
) -> None:
    with trio.fail_after(60):
        async with open_store(store), reader_of(store, beside=beside) as reader:
            await reader.wait_news("never existed", after=0)
            claim = await store.claim("a")
            await append(store, claim, 1, "run_submitted", "R", new_info("a"))
            await reader.wait_news("a", after=0)
            await append(store, claim, 2, "run_completed", "R", None)
            await reader.wait_news("a", after=1, run_id="R")
            await store.delete(claim)
            await reader.wait_news("a", after=2)


@pytest.mark.parametrize(("run_id", "woken_by"), [(None, 2), ("R", 3)])
async def test_a_wait_ends_with_the_next_event_or_with_that_of_its_run(
    store: JournalStore, open_store: Any, new_info: Any, run_id: str | None, woken_by: int
) -> None:
    woken = trio.Event()

    async def wait() -> None:
        await store.wait_news("a", after=1, run_id=run_id)
        woken.set()

    with trio.fail_after(60):
        async with open_store(store), trio.open_nursery() as nursery:
            claim = await store.claim("a")
            await append(store, claim, 1, "run_submitted", "R", new_info("a"))
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            for seq, type in ((2, "message_streamed"), (3, "run_completed")):
                if seq <= woken_by:
                    assert not woken.is_set()
                    await append(store, claim, seq, type, "R", None)
                    await wait_all_tasks_blocked()
            await woken.wait()
