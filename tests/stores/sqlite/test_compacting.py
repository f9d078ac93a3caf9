"""A file gives back the room of what was deleted, to nobody's harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import SessionHeld, StoreFailed
from moorage.stores import SqliteStore
from moorage.stores.conformance.scenario import Author, note, numbers, opened

if TYPE_CHECKING:
    from pathlib import Path


async def filled(path: Path) -> SqliteStore:
    async with opened(lambda: SqliteStore(path)) as store:
        for session_id in ("a", "b"):
            author = await Author.of(store, session_id)
            for number in range(1, 101):
                await author.write(note(number))
        await store.trim(author.claim, 100)
    return SqliteStore(path)


async def test_what_is_left_is_all_there_and_the_file_is_smaller(tmp_path: Path) -> None:
    store = await filled(tmp_path / "a.db")

    report = await store.compact(owner="test")
    again = await store.compact(owner="test")

    assert report.bytes_before > report.bytes_after == again.bytes_before == again.bytes_after
    assert report.bytes_after == (tmp_path / "a.db").stat().st_size
    async with opened(lambda: store) as reader:
        assert await numbers(reader, "a") == [(seq, seq) for seq in range(1, 101)]
        assert (await Author.of(reader, "b")).head_seq == 100


async def test_a_file_in_use_is_refused_and_none_is_made(tmp_path: Path) -> None:
    store = await filled(tmp_path / "a.db")

    async with opened(lambda: store):
        with pytest.raises(SessionHeld):
            await SqliteStore(store.path).compact(owner="test")
    with pytest.raises(StoreFailed, match="there is no file"):
        await SqliteStore(tmp_path / "nothing").compact(owner="test")
    assert not (tmp_path / "nothing").exists()
