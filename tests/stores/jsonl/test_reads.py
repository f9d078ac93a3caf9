from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.errors import StoreFailed, UnknownSession
from moorage.stores.conformance.scenario import Author, note, notes, numbers
from moorage.stores.jsonl import reads as module
from moorage.stores.jsonl.reads import Sessions
from moorage.stores.jsonl.scanning import Facts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores.simulated_disk import SimulatedDisk

FACTS = Facts("a", "a", 5, 0, 0, 0, 1, 0, 1, 0, 1, b"\x80")


def test_the_session_that_changed_last_is_at_the_end() -> None:
    sessions = Sessions([FACTS, attrs.evolve(FACTS, session_id="b")])

    sessions.put(attrs.evolve(FACTS, commit=2), None)
    sessions.put(attrs.evolve(FACTS, session_id="b", oldest_seq=2), None)

    assert list(sessions.entries) == ["b", "a"]
    assert sessions.existing("c") is None


async def test_indexes_that_were_used_long_ago_are_let_go(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOADED_EVENTS_MAX", 100)
    async with opened() as store:
        for number in range(5):
            await (await Author.of(store, f"s{number}")).write(*notes(1, 40))
    async with opened() as store:
        for number in (0, 1, 2, 3, 4, 0, 3):
            assert len(await numbers(store, f"s{number}")) == 40
        loaded = [key for key, entry in store._sessions.entries.items() if entry.log is not None]

    assert sorted(loaded) == ["s0", "s3"]


async def test_many_who_read_at_once_load_the_index_once(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []
    load = module.load_log

    def counted(*arguments: Any) -> Any:
        loads.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(module, "load_log", counted)
    async with opened() as store:
        await (await Author.of(store, "a")).write(*notes(1, 40))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(numbers, store, "a")

    assert len(loads) == 1


async def test_a_file_that_somebody_took_away_is_a_failed_store(
    opened: Any,
    disk: SimulatedDisk,
    log_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_TRY_SECONDS", 0)
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(1))
        disk.unlink(log_of("a"))

        with pytest.raises(StoreFailed, match="the file of session 'a' is gone"):
            await store.read("a")


async def test_a_disk_that_cannot_be_read_is_a_failed_store(
    opened: Any, disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError(5, "a bad sector")

    async with opened() as store:
        await (await Author.of(store, "a")).write(note(1))
        monkeypatch.setattr(disk, "open", broken)

        with pytest.raises(StoreFailed, match=r"cannot be read.*bad sector") as caught:
            await store.read("a")
        monkeypatch.undo()

    assert caught.value.written is False


async def test_a_session_deleted_while_its_index_loads_is_unknown(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))

        async def read() -> None:
            with pytest.raises(UnknownSession):
                await store.read("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.delete, author.claim)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            while await store.info("a") is not None:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(read)
