from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Record, Snapshot
from moorage.stores.conformance.scenario import Author, facts, note, notes, numbers, read_all
from moorage.stores.group_commit import Job
from moorage.stores.jsonl import cursors as cursors_module
from moorage.stores.jsonl import rewriting
from moorage.stores.jsonl import writing as module
from moorage.stores.jsonl.works import Appending, Claiming

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores.simulated_disk import SimulatedDisk


async def test_what_comes_at_the_same_time_shares_one_sync(opened: Any) -> None:
    async with opened() as store:
        authors = [await Author.of(store, f"s{number}") for number in range(20)]
        before = store.statistics().syncs

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(author.write, note(1))

        assert store.statistics().syncs - before <= 3
        assert store.statistics().records == 20


async def test_appends_of_one_session_on_their_way_go_one_behind_the_other(opened: Any) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))

        async with trio.open_nursery() as nursery:
            for number in range(2, 20):
                nursery.start_soon(_append, store, author.claim, number)
                await trio.lowlevel.checkpoint()

        assert await numbers(store, "a") == [(n, n) for n in range(1, 20)]


async def _append(store: Any, claim: Any, number: int) -> None:
    await store.append(claim, expected_seq=number, records=[note(number)])


async def test_a_failed_commit_takes_back_all_that_it_had(opened: Any, disk: SimulatedDisk) -> None:
    async with opened() as store:
        authors = [await Author.of(store, name) for name in ("a", "b")]
        await authors[0].write(note(1))
        disk.fail("write", 1)

        async with trio.open_nursery() as nursery:
            for author in authors:
                nursery.start_soon(_refused, author)

        assert store.statistics().commits_failed >= 1
        assert await store.info("b") is None
        for author in authors:
            await author.write(note(2))
        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def _refused(author: Author) -> None:
    with pytest.raises(StoreFailed) as caught:
        await author.write(note(2))
    assert caught.value.written is False


async def test_a_claim_that_failed_with_its_commit_fences_nobody(
    opened: Any, disk: SimulatedDisk
) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        task = trio.lowlevel.current_task()
        works = (Appending(author.claim, 2, [note(2)], None), Claiming("a"))
        jobs = [Job(work, 0, task) for work in works]
        disk.fail("write", 1)

        failure = store._writer.execute(jobs)

        assert [job.error is not None for job in jobs] == [True, True]
        assert failure is not None
        assert failure.written is False
        await author.write(note(2))


async def test_a_cut_that_fails_too_poisons_the_store(opened: Any, disk: SimulatedDisk) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        disk.fail("write", 1)
        disk.fail("truncate", 1)

        with pytest.raises(StoreFailed) as caught:
            await author.write(note(2))

        assert (caught.value.written, caught.value.poisoned) == (None, True)
        assert store.statistics().poisoned


async def test_a_session_file_that_cannot_be_written_is_made_good_by_the_next_opening(
    opened: Any, disk: SimulatedDisk
) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        disk.fail("write", 2)
        with pytest.raises(StoreFailed) as caught:
            await author.write(note(2))
        assert (caught.value.written, caught.value.poisoned) == (None, True)
        assert await numbers(store, "a") == [(1, 1)]

    async with opened() as store:
        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_files_are_synced_when_the_commit_log_is_full(
    opened: Any, disk: SimulatedDisk
) -> None:
    async with opened(commit_log_bytes=4096) as store:
        author = await Author.of(store, "a")
        for number in range(1, 60):
            await author.write(note(number))

        assert store.statistics().checkpoints > 1
        logs = [path for path in disk.files() if path.parent.name == "commits"]
        assert len(logs) == 1


async def test_a_checkpoint_that_fails_poisons_the_store(opened: Any, disk: SimulatedDisk) -> None:
    async with opened(commit_log_bytes=4096) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        disk.fail("sync_directory", 1)

        with pytest.raises(StoreFailed) as caught:
            for number in range(2, 200):
                await author.write(note(number))

        assert caught.value.poisoned
    async with opened() as store:
        events = await numbers(store, "a")
        assert events == [(n, n) for n in range(1, len(events) + 1)]


async def test_trimming_half_of_a_file_frees_it(
    opened: Any,
    disk: SimulatedDisk,
    log_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting, "REWRITTEN_BYTES_MIN", 1_000)
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 50), info=facts("a", summary="kept"))
        before = len(disk.files()[log_of("a")])
        await store.trim(author.claim, 20)
        assert store.statistics().rewrites == 0

        await store.trim(author.claim, 41)
        await author.write(note(51))

        expected = [(n, n) for n in range(41, 52)]
        assert await numbers(store, "a", after=40) == expected
        assert store.statistics().rewrites == 1
        assert len(disk.files()[log_of("a")]) < before / 2
        async with store.reading() as beside:
            assert await numbers(beside, "a", after=40) == expected
    async with opened() as store:
        info = await store.info("a")
        assert info is not None
        assert (info.summary, info.head_seq) == ("kept", 51)
        assert await numbers(store, "a", after=40) == expected


async def test_readers_go_on_while_files_are_written_anew(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "REWRITTEN_BYTES_MIN", 100)
    async with opened() as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 40))
        for number in range(41, 60):
            await store.trim(author.claim, number - 2)
            await author.write(note(number))
            for reader in (store, beside):
                last = (await reader.read("a", backwards=True)).events[-1]
                assert last.data["number"] == number
        assert store.statistics().rewrites > 1


async def test_outdated_cursors_are_written_anew(
    opened: Any, disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors_module, "OUTDATED_LINES_MIN", 10)
    async with opened() as store, store.reading() as beside:
        await (await Author.of(store, "a")).write(*notes(1, 40))
        for seq in range(1, 40):
            await store.save_cursor("a", "c", seq)
            assert await store.cursor("a", "c") == seq
            assert await beside.cursor("a", "c") == seq
        await store.save_cursor("a", "d", 1)
        (content,) = [text for path, text in disk.files().items() if path.name == "cursors.jsonl"]
        assert content.count(b"\n") < 20
    async with opened() as store:
        assert (await store.cursor("a", "c"), await store.cursor("a", "d")) == (39, 1)


async def test_a_batch_that_no_line_can_hold_is_refused_as_a_whole(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES_MAX", 2_000)
    async with opened() as store:
        author = await Author.of(store, "a")
        with pytest.raises(InvalidArgument, match="append fewer records at once"):
            await author.write(*notes(1, 40))
        with pytest.raises(InvalidArgument, match="cannot be kept"):
            await author.write(note(1), Record(1, "\ud800", None, b"\xc0"))
        with pytest.raises(InvalidArgument, match="needs an info"):
            await store.append(author.claim, expected_seq=1, records=[note(1)])
        await author.write(note(1))
        assert await numbers(store, "a") == [(1, 1)]


async def test_an_info_alone_is_an_append_too(opened: Any) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        await author.write(info=facts("a", summary="alone"))
        await author.write()
    async with opened() as store:
        info = await store.info("a")
        assert info is not None
        assert (info.summary, info.head_seq) == ("alone", 1)


async def test_whoever_lost_a_session_may_not_write_to_it(opened: Any) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        await store.release(author.claim)

        with pytest.raises(StaleOwner, match="nobody owns"):
            await store.save_snapshot(author.claim, Snapshot(1, b""))


async def test_a_body_that_is_no_event_is_kept_as_it_is(opened: Any) -> None:
    record = encode_event(5, "t", None, {"number": 1})
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(record._replace(body=record.body[:-1] + b"\x07"))
    async with opened() as store:
        (event,) = await read_all(store, "a")
        assert event.version == 7
