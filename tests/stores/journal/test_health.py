"""What ``verify`` finds in the files, and what a reader finds besides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores import JournalStore
from moorage.stores.conformance.scenario import Author, note, opened
from moorage.stores.journal.reads import Reads

from tests.stores.inspected import fill, inspected, told

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    await fill(partial(JournalStore, tmp_path / "store"))
    return tmp_path / "store"


async def test_a_sound_journal_is_counted_beside_its_owner_too(root: Path) -> None:
    report = await inspected(JournalStore(root))

    assert (report.sessions, report.events, report.findings) == (2, 6, ())
    assert report.facts["segments"] >= 1
    async with opened(partial(JournalStore, root)) as store:
        await (await Author.of(store, "a")).write(note(5))
        assert (await inspected(JournalStore(root))).events == 7


async def test_a_byte_that_was_changed_is_told_with_file_offset_and_salvage(root: Path) -> None:
    path = sorted((root / "segments").glob("*.log"))[0]
    content = bytearray(path.read_bytes())
    content[content.index(b"run_submitted")] ^= 1
    path.write_bytes(content)

    report = await inspected(JournalStore(root))

    assert told(report, str(path))
    assert not report.sound
    assert f"moorage salvage --data {root} --to NEWDIR" in report.findings[0].remedy


async def test_what_a_reader_cannot_find_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_key(reads: Reads, session_id: str, key: str) -> str | None:
        return None

    monkeypatch.setattr(Reads, "find_key", find_key)

    assert told(await inspected(JournalStore(root)), "the key 'k1' does not find run 'r1'")


async def test_no_journal_is_a_failure_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed):
        await JournalStore(tmp_path / "nothing").inspect()
    assert not (tmp_path / "nothing").exists()
