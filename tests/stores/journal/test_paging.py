from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal import JournalStore
from moorage.stores.journal.paging import Query
from moorage.stores.simulated_disk import SimulatedDisk

ROOT = Path("/journal")


async def write_million_bytes(store: JournalStore, new_info: Any, events: int) -> None:
    claim = await store.claim("a")
    for seq in range(1, events + 1):
        data = {"text": "x" * 100_000}
        record = encode_event(seq, "note" if seq % 10 else "tenth", None, data)
        await store.append(claim, expected_seq=seq, records=[record], info=new_info("a"))


async def test_a_page_is_bounded_in_bytes_and_the_next_one_goes_on(
    new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=SimulatedDisk())) as store:
        await write_million_bytes(store, new_info, 60)

        first = await store.read("a")
        second = await store.read("a", after=first.scanned_to)
        last = await store.read("a", backwards=True)

    assert 40 <= len(first.events) < 60
    assert [event.seq for event in first.events + second.events] == list(range(1, 61))
    assert last.events[-1].seq == 60
    assert last.scanned_to == last.events[0].seq > 1


async def test_a_filter_gives_short_pages_rather_than_long_scans(
    new_info: Any, open_store: Any
) -> None:
    types = frozenset({"tenth"})
    async with open_store(JournalStore(ROOT, disk=SimulatedDisk())) as store:
        await write_million_bytes(store, new_info, 60)

        page = await store.read("a", types=types)
        rest = await store.read("a", types=types, after=page.scanned_to)

    assert [event.seq for event in page.events + rest.events] == [10, 20, 30, 40, 50, 60]
    assert page.scanned_to < 60
    assert rest.scanned_to == 60


@pytest.mark.parametrize("segment_bytes", [4096, 2**20])
async def test_a_run_is_read_without_what_lies_around_it(
    segment_bytes: int, new_info: Any, open_store: Any
) -> None:
    store = JournalStore(ROOT, disk=SimulatedDisk(), segment_bytes=segment_bytes)
    async with open_store(store):
        claim = await store.claim("a")
        types = {100: "run_submitted", 110: "message_streamed", 120: "run_completed"}
        for seq in range(1, 301, 10):
            records = [
                encode_event(
                    number,
                    types.get(number, "note"),
                    "run-1" if number in types else None,
                    {"text": "x" * 50},
                )
                for number in range(seq, seq + 10)
            ]
            await store.append(claim, expected_seq=seq, records=records, info=new_info("a"))

        page = await store.read("a", run_id="run-1")
        one = await store.read("a", run_id="run-1", limit=1)
        back = await store.read("a", run_id="run-1", limit=1, backwards=True)

    assert [event.seq for event in page.events] == [100, 110, 120]
    assert page.scanned_to == page.head_seq == 300
    assert ([event.seq for event in one.events], one.scanned_to) == ([100], 100)
    assert ([event.seq for event in back.events], back.scanned_to) == ([120], 120)


async def test_a_range_that_should_be_there_and_is_not_is_damage_and_no_empty_page(
    new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=SimulatedDisk())) as store:
        await write_million_bytes(store, new_info, 3)
        state = store._state()
        view = state.view("a", state.directory.entries["a"])
        lost = attrs.evolve(view, in_memory=())

        for backwards in (False, True):
            query = Query(lost, after=0, before=None, limit=10, backwards=backwards)
            with pytest.raises(CorruptLog, match="seq 1 to 3 of session 'a' are missing"):
                query.run()
        empty = Query(lost, after=3, before=None, limit=10).run()

    assert (empty.events, empty.scanned_to) == ([], 3)


@pytest.mark.parametrize("sealed", [False, True])
async def test_the_events_of_a_run_are_those_from_its_request_to_its_end(
    sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=SimulatedDisk())) as store:
        claim = await store.claim("a")
        types = ("note", "run_submitted", "note", "run_completed", "note")
        for seq, type in enumerate(types, 1):
            records = [encode_event(seq, type, "R", {})]
            await store.append(claim, expected_seq=seq, records=records, info=new_info("a"))
            if sealed:
                await store.compact()
        whole = await store.read("a", run_id="R")
        await store.trim(claim, 3)
        rest = await store.read("a", run_id="R", after=2)
        await store.trim(claim, 5)
        late = await store.read("a", run_id="R", after=4)

    assert ([event.seq for event in whole.events], whole.scanned_to) == ([2, 3, 4], 5)
    assert [event.seq for event in rest.events] == [3, 4]
    assert [event.seq for event in late.events] == [5]
