from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import InvalidArgument, SessionHeld, StoreFailed
from moorage.stores.journal import Durability, JournalStore

if TYPE_CHECKING:
    from pathlib import Path

both = pytest.mark.parametrize("durability", list(Durability))


@both
async def test_a_journal_is_what_was_written_over_segments_compactions_and_reopenings(
    durability: Durability, tmp_path: Path, scribe: Any, open_store: Any
) -> None:
    for _ in range(3):
        store = JournalStore(tmp_path, segment_bytes=4096, durability=durability)
        async with open_store(store):
            await scribe.write(store, 60)
            await scribe.check(store)
            await store.compact()
            await scribe.write(store, 20)
            async with store.reading() as reader:
                await scribe.check(reader)
        async with JournalStore(tmp_path).reading() as reader:
            await scribe.check(reader)


def test_constructing_a_store_touches_nothing(tmp_path: Path) -> None:
    JournalStore(tmp_path / "absent")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("segment_bytes", [0, 4095, "4096", 4096.0])
def test_a_segment_size_out_of_range_is_refused(segment_bytes: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="at least 4096"):
        JournalStore(tmp_path, segment_bytes=segment_bytes)


async def test_directories_are_0700_and_files_0600(
    tmp_path: Path, scribe: Any, open_store: Any
) -> None:
    root = tmp_path / "journal"
    async with open_store(JournalStore(root, segment_bytes=4096)) as store:
        await scribe.write(store, 50)

    modes = {path: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


async def test_every_call_after_the_end_says_that_the_store_is_closed(
    tmp_path: Path, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(tmp_path)) as store:
        await scribe.append(store, "a", count=1)
        claim = scribe.claims["a"]

    for call in (
        lambda: store.read("a"),
        lambda: store.info("a"),
        lambda: store.find_run("a", "r"),
        lambda: store.wait_news("a", after=0),
        lambda: store.append(claim, expected_seq=2, records=[]),
        lambda: store.claim("a"),
        lambda: store.hand_over("a", None),
        lambda: store.compact(),
    ):
        with pytest.raises(StoreFailed, match="is closed"):
            await call()


async def test_a_second_opener_is_refused_by_name_in_the_same_process_too(
    tmp_path: Path, open_store: Any
) -> None:
    async with open_store(JournalStore(tmp_path)):
        with pytest.raises(SessionHeld, match=r"a test \(process \d+ on .+, since ") as caught:
            async with open_store(JournalStore(tmp_path)):
                pass

    assert "a test" in caught.value.holder
    async with open_store(JournalStore(tmp_path)):
        pass


async def test_what_the_block_raises_leaves_bare(tmp_path: Path, open_store: Any) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_store(JournalStore(tmp_path)):
            raise KeyError("mine")


@pytest.mark.parametrize(("path", "durability"), [(None, "commit"), (7, "commit"), ("j", "fsync")])
def test_a_path_or_durability_that_is_none_is_refused(path: Any, durability: Any) -> None:
    with pytest.raises(InvalidArgument, match="a durability of 'commit' or 'buffered'"):
        JournalStore(path, durability=durability)
