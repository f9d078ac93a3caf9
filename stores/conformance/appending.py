"""Appends: atomic, numbered without gap, complete, and never abandoned."""

from __future__ import annotations

import attrs
import trio
import trio.lowlevel
from moorage.runtime.codec import pack
from moorage.runtime.ports import Record

from .scenario import (
    START_NS,
    STEP_NS,
    Author,
    Check,
    OpenStore,
    check,
    facts,
    note,
    notes,
    numbers,
    opened,
    read_all,
    require,
    require_equal,
)

LARGE_BATCH_RECORDS = 5_000
BIG_RECORD_BYTES = 10 * 1024 * 1024


@check
async def records_are_numbered_from_one_without_gap(open_store: OpenStore) -> None:
    """Records get expected_seq, expected_seq + 1, ... in the order of the batch, per session."""
    async with opened(open_store) as store:
        a, b = await Author.of(store, "a"), await Author.of(store, "b")
        await a.write(note(1))
        await b.write(note(11), note(12))
        await a.write(note(2), note(3), note(4))
        await b.write(note(13))

        require_equal(await numbers(store, "a"), [(n, n) for n in (1, 2, 3, 4)], "events of a")
        require_equal(await numbers(store, "b"), [(1, 11), (2, 12), (3, 13)], "events of b")


@check
async def batch_is_all_or_nothing_to_readers(open_store: OpenStore) -> None:
    """A reader sees all records of an append and its info, or none of them."""
    batch = 5
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(*notes(1, batch), info=facts("a", summary=str(batch)))
        finished = trio.Event()

        async def look() -> None:
            while not finished.is_set():
                for reader in (store, beside):
                    page = await reader.read("a", limit=100_000)
                    require_equal(page.head_seq % batch, 0, "records of a batch that are visible")
                    require_equal(len(page.events), page.scanned_to, "events in a page")
                    info = await reader.info("a")
                    assert info is not None
                    require_equal(info.summary, str(info.head_seq), "info beside its records")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            for first in range(batch + 1, 20 * batch, batch):
                last = first + batch - 1
                await author.write(*notes(first, last), info=facts("a", summary=str(last)))
            finished.set()


@check
async def info_is_replaced_and_kept_up_by_the_store(open_store: OpenStore) -> None:
    """An append replaces the info, or keeps it when it brings none; head_seq and modified_at_ns
    are the store's: the head, and the time of the last record."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        first = facts(
            "a", tags={"tenant": "acme"}, metadata={"depth": {"x": [1, None]}}, slots=3, summary="s"
        )
        await author.write(*notes(1, 2), info=attrs.evolve(first, head_seq=77, modified_at_ns=5))
        expected = attrs.evolve(first, head_seq=2, modified_at_ns=START_NS + 2 * STEP_NS)
        require_equal(await store.info("a"), expected, "info after the first append")

        await author.write(note(3))
        expected = attrs.evolve(first, head_seq=3, modified_at_ns=START_NS + 3 * STEP_NS)
        require_equal(await store.info("a"), expected, "info after an append without one")

        second = facts("a", tags={"tenant": "other"}, runs={"queued": 1, "completed": 4})
        await author.write(note(4), info=second)
        expected = attrs.evolve(second, head_seq=4, modified_at_ns=START_NS + 4 * STEP_NS)
        require_equal(await store.info("a"), expected, "info after an append with a new one")


@check
async def everything_in_an_event_round_trips(open_store: OpenStore) -> None:
    """What was encoded is what is read: every kind of plain data, metadata, unknown types and
    unknown trailing fields."""
    kinds = [
        None,
        True,
        False,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        "",
        "ü\u2028\U0001f600",
        b"",
        b"\x00\xff",
    ]
    data = {"kinds": kinds, "": {"nested": [[], {}, [{"a": [1]}]]}, "number": 1}
    metadata = {"provider_time": "2024-02-30", "parent_id": None}
    later = [START_NS, "from_the_future", "r1", {"number": 3}, None, 9, "a new field"]
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(
            note(1, "thing.of/a stränge-type", "run 1", data=data, metadata=metadata),
            note(2, data=[]),
            Record(START_NS, "from_the_future", "r1", pack(later)),
        )
        first, second, third = await read_all(store, "a")

    require_equal((first.data, first.metadata), (data, metadata), "data and metadata")
    require(
        [type(kind) for kind in first.data["kinds"]] == [type(kind) for kind in kinds],
        "a value came back as another type",
    )
    require_equal(
        (first.session_id, first.seq, first.time_ns, first.type, first.run_id),
        ("a", 1, START_NS + STEP_NS, "thing.of/a stränge-type", "run 1"),
        "envelope",
    )
    require_equal((second.data, second.metadata, second.run_id), ([], None, None), "small event")
    require_equal(
        (third.type, third.run_id, third.data, third.version),
        ("from_the_future", "r1", {"number": 3}, 9),
        "event of a later version",
    )


@check
async def large_batch_is_one_batch(open_store: OpenStore) -> None:
    """A batch may have thousands of records."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, LARGE_BATCH_RECORDS))
        await author.write(note(LARGE_BATCH_RECORDS + 1))
        expected = [(n, n) for n in range(1, LARGE_BATCH_RECORDS + 2)]

        require(await numbers(store, "a") == expected, "events of a large batch differ")
    async with opened(open_store) as store:
        require(await numbers(store, "a") == expected, "events of a large batch differ later")


@check
async def big_record_fits(open_store: OpenStore) -> None:
    """A record may have 10 MB."""
    blob = bytes(range(256)) * (BIG_RECORD_BYTES // 256)
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1), note(2, data={"number": 2, "blob": blob}), note(3))
    async with opened(open_store) as store:
        first, second, third = await read_all(store, "a")

        require(second.data["blob"] == blob, "a big record came back changed")
        require_equal((first.data["number"], third.data["number"]), (1, 3), "its neighbours")


@check
async def sessions_append_at_the_same_time(open_store: OpenStore) -> None:
    """Appends to different sessions at the same time do not disturb each other."""
    sessions, appends, batch = 50, 5, 3
    expected = [(n, n) for n in range(1, appends * batch + 1)]

    async with opened(open_store) as store:

        async def write(session_id: str) -> None:
            author = await Author.of(store, session_id)
            for first in range(1, appends * batch, batch):
                await author.write(*notes(first, first + batch - 1))

        async with trio.open_nursery() as nursery:
            for index in range(sessions):
                nursery.start_soon(write, f"s{index}")
        for index in range(sessions):
            require_equal(await numbers(store, f"s{index}"), expected, f"events of s{index}")
    async with opened(open_store) as store:
        for index in range(sessions):
            require_equal(await numbers(store, f"s{index}"), expected, f"s{index} later")


@check
async def cancelled_append_is_done_or_not(open_store: OpenStore) -> None:
    """Once begun an append is never abandoned: it returns and is there, or raises Cancelled and is
    not there, then and later. The claim stays good."""
    expected: list[tuple[int, int]] = []
    number = 0
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(0))
        expected.append((1, 0))
        for checkpoints in (0, 0, 1, 1, 2, 3, 5, 8):
            batch = notes(number + 1, number + 3)
            number += 3
            returned = await _append_and_cancel(author, batch, checkpoints)
            if returned:
                expected += [(author.head_seq - 2 + i, number - 2 + i) for i in range(3)]
            require_equal(
                await numbers(store, "a"),
                expected,
                f"events after a cancelled append that {'returned' if returned else 'raised'}",
            )
        number += 1
        await author.write(note(number))
        expected.append((author.head_seq, number))
        require_equal(await numbers(store, "a"), expected, "events after the next append")
    async with opened(open_store) as store:
        require_equal(await numbers(store, "a"), expected, "events later")


async def _append_and_cancel(author: Author, batch: list[Record], checkpoints: int) -> bool:
    """Cancel an append after so many turns of the loop; whether it returned normally."""
    returned = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async def append() -> None:
                nonlocal returned
                await author.write(*batch)
                returned = True

            nursery.start_soon(append)
            nursery.start_soon(cancel)
    return returned


APPENDING: tuple[Check, ...] = (
    records_are_numbered_from_one_without_gap,
    batch_is_all_or_nothing_to_readers,
    info_is_replaced_and_kept_up_by_the_store,
    everything_in_an_event_round_trips,
    large_batch_is_one_batch,
    big_record_fits,
    sessions_append_at_the_same_time,
    cancelled_append_is_done_or_not,
)
