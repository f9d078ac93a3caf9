from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.ports import Snapshot
from moorage.stores.conformance.scenario import Author, listed, note, notes, numbers
from moorage.stores.jsonl.layout import Layout
from moorage.stores.jsonl.redone import RedoneDisk, redone

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.stores import JsonlStore
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))


async def lost(opened: Any, disk: SimulatedDisk) -> SimulatedDisk:
    """A disk after a power loss that took all that was not synced: the files of three sessions."""
    async with opened() as store:
        await (await Author.of(store, "old")).write(note(1))
    async with opened() as store:
        old, new, gone = [await Author.of(store, name) for name in ("old", "new", "gone")]
        await old.write(*notes(2, 3))
        await new.write(note(1), note(2))
        await gone.write(note(1))
        await store.save_snapshot(gone.claim, Snapshot(1, b"gone"))
        await store.delete(gone.claim)
        await store.save_cursor("new", "c", 2)
        await store.save_snapshot(new.claim, Snapshot(2, b"state"))
        return disk.crashed(lambda count: min(1, count - 1))


async def test_a_reader_after_a_power_loss_sees_what_was_acknowledged(
    opened: Any, new_store: Callable[..., JsonlStore], disk: SimulatedDisk
) -> None:
    found = await lost(opened, disk)
    before = found.files()
    assert LAYOUT.sessions / "new.jsonl" not in before

    async with new_store(found).reading() as reader:
        assert await numbers(reader, "old") == [(1, 1), (2, 2), (3, 3)]
        assert await numbers(reader, "new") == [(1, 1), (2, 2)]
        assert await reader.snapshot("new") == Snapshot(2, b"state")
        assert await reader.cursor("new", "c") == 2
        assert await listed(reader.sessions()) == ["new", "old"]
        assert found.files() == before

        async with opened(found) as store:  # from here on the files have it all
            await (await Author.of(store, "new")).write(note(3))
            assert await numbers(reader, "new") == [(1, 1), (2, 2), (3, 3)]


async def test_an_owner_who_came_and_went_is_noticed(
    opened: Any, new_store: Callable[..., JsonlStore], disk: SimulatedDisk
) -> None:
    found = await lost(opened, disk)

    async with new_store(found).reading() as reader:
        async with opened(found) as store:
            await (await Author.of(store, "new")).write(note(3))

        assert await numbers(reader, "new") == [(1, 1), (2, 2), (3, 3)]


async def test_there_is_nothing_to_do_after_a_clean_end_or_beside_an_owner(
    opened: Any, disk: SimulatedDisk
) -> None:
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(1))
        assert redone(disk, LAYOUT) is None

    assert redone(disk, LAYOUT) is None


async def test_what_is_redone_can_only_be_read(opened: Any, disk: SimulatedDisk) -> None:
    found = redone(await lost(opened, disk), LAYOUT)
    assert isinstance(found, RedoneDisk)
    path = LAYOUT.sessions / "new.jsonl"
    file = found.open(path)

    for write in (
        lambda: found.open(path, write=True),
        lambda: found.create(path),
        lambda: found.unlink(path),
        lambda: found.rename(path, path),
        lambda: found.make_directory(path),
        lambda: found.sync_directory(path),
        lambda: found.lock(path, "t"),
        lambda: file.write([b"x"], 0),
        lambda: file.truncate(0),
        file.sync,
    ):
        with pytest.raises(OSError, match="a reader writes nothing"):
            write()
    with pytest.raises(FileNotFoundError):
        found.open(LAYOUT.snapshots / "gone.json")
    assert found.list(LAYOUT.snapshots) == ["new.json"]
