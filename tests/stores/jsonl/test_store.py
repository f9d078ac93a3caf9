"""JsonlStore keeps the promises of the port, and broken ones are found out by the suite."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import InvalidArgument, SessionHeld, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores import Durability, JsonlStore
from moorage.stores.conformance import CHECKS, Content, Nonconformance, scenario
from moorage.stores.conformance.scenario import Author, note, read_all, refuse
from moorage.stores.faults import Fault
from moorage.stores.jsonl import files, loading, reading, reads, rewriting, snapshots, writing
from moorage.stores.simulated_disk import SimulatedDisk
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.stores.conformance import Check, OpenStore

ROOT = Path("/store")
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def content_on(disk: SimulatedDisk, **options: Any) -> Content:
    """A store whose disk fails on demand, and loses all that was not synced in a crash."""
    operations: Any = {Fault.NOT_WRITTEN: "write", Fault.POISON: "sync"}

    def open_store(disk: SimulatedDisk = disk) -> JsonlStore:
        return JsonlStore(ROOT, disk=disk, **options)

    def crashed() -> OpenStore:
        found = disk.crashed(lambda outcomes: min(1, outcomes - 1))
        return partial(open_store, found)

    return Content(open_store, crashed, lambda fault: disk.fail(operations[fault], 1))


@every_check
async def test_it_passes_the_suite(check: Check, tmp_path: Path) -> None:
    await check(partial(JsonlStore, tmp_path / "store"))


@every_check
async def test_it_passes_the_suite_on_a_disk_that_fails_and_loses(check: Check) -> None:
    await check(content_on(SimulatedDisk()))


@every_check
async def test_it_passes_the_suite_while_it_writes_files_anew_all_the_time(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "REWRITTEN_BYTES_MIN", 0)
    await check(content_on(SimulatedDisk(), commit_log_bytes=4096))


class _NothingSynced(SimulatedDisk):
    def make_content_durable(self, path: Path, inode: object, only: object) -> None:
        if path.parent.name != "commits":
            super().make_content_durable(path, inode, only)  # type: ignore[arg-type]


def _without_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writing.Writer, "_fence", lambda self, claim: None)


def _torn_for_readers(patch: pytest.MonkeyPatch) -> None:
    scan = loading.scan

    def one_event_less(*arguments: Any, **options: Any) -> Any:
        found = scan(*arguments, **options)
        return attrs.evolve(found, events=found.events[:-1])

    patch.setattr(loading, "scan", one_event_less)


def _without_undo(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writing.Undo, "take_back", lambda self: None)


def _old_snapshots(patch: pytest.MonkeyPatch) -> None:
    load = snapshots.load_snapshot
    patch.setattr(
        reads,
        "load_snapshot",
        lambda disk, layout, facts: load(disk, layout, attrs.evolve(facts, life=0)),
    )


def _files_first(patch: pytest.MonkeyPatch) -> None:
    write = writing.Writer._write

    def files_first(self: Any) -> Any:
        for name, parts in self._changes.items():
            self._opened.files.make(
                [writing.Change(name, *part) for part in writing.put_together(parts)]
            )
        return write(self)

    patch.setattr(writing.Writer, "_write", files_first)


def _nobody_looks(patch: pytest.MonkeyPatch) -> None:
    """Never, not late: how late it comes hangs on how fast the host writes."""
    patch.setattr(reading, "POLL_SECONDS", 3_600.0)
    patch.setattr(scenario, "PATIENCE_SECONDS", 3.0)


def _files_kept(patch: pytest.MonkeyPatch) -> None:
    make = files.Files.make
    patch.setattr(
        files.Files,
        "make",
        lambda self, changes: make(self, [c for c in changes if c.offset != -2]),
    )


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "stale_epoch_is_refused": _without_fence,
    "forward_pages_hold_what_was_asked_for": _torn_for_readers,
    "undone_append_may_be_tried_again": _without_undo,
    "deleted_id_continues_above_its_last_seq": lambda patch: (
        _old_snapshots(patch),
        _files_kept(patch),
    )[0],
    "poisoned_store_is_read_only": _files_first,
    "news_wakes_those_who_wait": _nobody_looks,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_one_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = next(check for check in CHECKS if check.__name__ == name)
    BROKEN[name](monkeypatch)

    with pytest.raises(Nonconformance, match=name):
        await check(content_on(SimulatedDisk()))


async def test_one_that_is_not_synced_is_found_out() -> None:
    check = next(check for check in CHECKS if check.__name__ == "acknowledged_outlives_a_crash")

    with pytest.raises(Nonconformance, match="acknowledged_outlives_a_crash"):
        await check(content_on(_NothingSynced()))


# ---- what people see ----


async def test_jq_and_cat_find_role_and_content_on_the_lines_of_messages(
    opened: Any, disk: SimulatedDisk
) -> None:
    async with opened() as store:
        author = await Author.of(store, "user-1")
        await author.write(
            encode_event(1, "message_sent", "r", {"role": "user", "content": "Hello\u2028you"}),
            encode_event(2, "message_streamed", "r", {"delta": "Hi"}),
            encode_event(3, "message_received", "r", {"content": "Hi"}),
        )

        lines = disk.files()[ROOT / "sessions" / "user-1.jsonl"].decode().splitlines()

    said = [json.loads(line) for line in lines if "role" in json.loads(line)]
    assert [(line["role"], line["content"]) for line in said] == [
        ("user", "Hello\u2028you"),
        ("assistant", "Hi"),
    ]
    assert len(lines) == 4


def test_directories_are_0700_and_files_0600(tmp_path: Path) -> None:
    async def write() -> None:
        store = JsonlStore(tmp_path / "s")
        async with store.opened(owner="t", deliver=refuse):
            await (await Author.of(store, "a")).write(note(1))
            await store.save_cursor("a", "c", 1)

    trio.run(write)

    modes = {path: path.stat().st_mode & 0o777 for path in [tmp_path / "s", *tmp_path.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


_HOLDER = """
import sys, trio
from moorage.stores import JsonlStore
from moorage.stores.conformance.scenario import Author, note, refuse

async def main():
    store = JsonlStore(sys.argv[1])
    async with store.opened(owner="another process", deliver=refuse):
        author = await Author.of(store, "a")
        number = 0
        while True:
            number += 1
            await author.write(note(number), note(number))
            print(number, flush=True)

trio.run(main)
"""


async def _read_all(path: Path) -> list[int]:
    store = JsonlStore(path)
    async with store.opened(owner="t", deliver=refuse):
        return [event.data["number"] for event in await read_all(store, "a")]


def test_what_a_killed_process_acknowledged_is_there_and_the_lock_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        acknowledged = [int(holder.stdout.readline()) for _ in range(50)][-1]
        with pytest.raises(SessionHeld, match=r"another process \(process"):
            trio.run(_read_all, tmp_path)
        holder.kill()
        rest = holder.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged

    found = trio.run(_read_all, tmp_path)

    assert found in (
        [number for number in range(1, last + 1) for _ in range(2)]
        for last in (acknowledged, acknowledged + 1)
    )


async def test_buffered_commits_survive_the_end_of_the_process_and_are_not_synced() -> None:
    disk = SimulatedDisk()
    store = JsonlStore(ROOT, disk=disk, durability=Durability.BUFFERED)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))
        before = disk.counts["sync"]
        await author.write(note(2))
        assert disk.counts["sync"] == before
        assert store.statistics().syncs == 0
        killed = disk.crashed(lambda _: 0)

    found = JsonlStore(ROOT, disk=killed)
    async with found.opened(owner="t", deliver=refuse):
        assert len(await read_all(found, "a")) == 2


@pytest.mark.parametrize("seed", range(12))
async def test_power_loss_takes_the_end_of_what_was_buffered_and_damages_nothing(
    seed: int,
) -> None:
    disk = SimulatedDisk()
    options: Any = {"durability": Durability.BUFFERED, "commit_log_bytes": 4096}
    store = JsonlStore(ROOT, disk=disk, **options)
    async with store.opened(owner="t", deliver=refuse):
        authors = [await Author.of(store, name) for name in ("a", "b")]
        for number in range(1, 31):
            for author in authors:
                await author.write(note(number), note(number))
            await store.save_cursor("a", "c", number)
            if number == 20:
                await store.trim(authors[0].claim, 10)
                await store.save_snapshot(authors[0].claim, Snapshot(40, b"state"))
        crashed = disk.crashed(random.Random(seed).randrange)

    for _ in range(2):
        found = JsonlStore(ROOT, disk=crashed, **options)
        async with found.opened(owner="t", deliver=refuse):
            for name in ("a", "b"):
                claim = await found.claim(name)
                if claim.info is not None:
                    events = await read_all(found, name, after=claim.oldest_seq - 1)
                    numbers = [event.data["number"] for event in events]
                    assert numbers == [
                        (seq + 1) // 2 for seq in range(claim.oldest_seq, claim.head_seq + 1)
                    ]
                    assert claim.head_seq % 2 == 0
                author = Author(found, claim)
                await author.write(note(author.head_seq // 2 + 1), note(author.head_seq // 2 + 1))


async def test_statistics_count_what_is_there(opened: Any) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(note(1), note(2))
        gone = await Author.of(store, "b")
        await gone.write(note(1))
        await store.delete(gone.claim)

        found = store.statistics()

    assert (found.sessions, found.tombstones, found.claims, found.records) == (1, 1, 1, 3)
    assert (found.commits, found.syncs, found.poisoned) == (3, 3, False)
    assert 0 < found.size_bytes < found.bytes


# ---- what is refused ----


def test_constructing_a_store_touches_nothing(tmp_path: Path) -> None:
    JsonlStore(tmp_path / "absent")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 4095, "4096", 4096.0])
def test_a_commit_log_out_of_range_is_refused(size: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="at least 4096"):
        JsonlStore(tmp_path, commit_log_bytes=size)


@pytest.mark.parametrize(("path", "durability"), [(None, "commit"), (7, "commit"), ("j", "fsync")])
def test_a_path_or_durability_that_is_none_is_refused(path: Any, durability: Any) -> None:
    with pytest.raises(InvalidArgument, match="a durability of 'commit' or 'buffered'"):
        JsonlStore(path, durability=durability)


async def test_every_call_outside_the_block_says_so(
    new_store: Callable[..., JsonlStore], opened: Any
) -> None:
    with pytest.raises(StoreFailed, match="not open"):
        await new_store().info("a")
    async with opened() as store:
        claim = await store.claim("a")

    for call in (
        lambda: store.read("a"),
        lambda: store.find_run("a", "r"),
        lambda: store.wait_news("a", after=0),
        lambda: store.append(claim, expected_seq=2, records=[]),
        lambda: store.claim("a"),
        lambda: store.hand_over("a", None),
    ):
        with pytest.raises(StoreFailed, match="is closed"):
            await call()


async def test_a_torn_tail_is_logged(opened: Any, disk: SimulatedDisk, log_of: Any) -> None:
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(1))
    disk.put(log_of("a"), disk.files()[log_of("a")] + b"torn")

    with capture_logs() as told:
        async with opened():
            pass

    (line,) = told
    assert (line["event"], line["file"], line["line"], line["bytes"]) == (
        ("torn tail cut", str(log_of("a")), 3, 4)
    )


async def test_a_close_that_fails_loses_nothing(opened: Any, disk: SimulatedDisk) -> None:
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(1))
        disk.fail("sync", 1)

    async with opened() as store:
        assert len(await read_all(store, "a")) == 1


async def test_what_the_block_raises_leaves_bare(opened: Any) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with opened():
            raise KeyError("mine")
