from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal import JournalStore, Recovery
from moorage.stores.journal.format import FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE
from moorage.stores.journal.manifest import Layout
from moorage.stores.journal.opening import open_log
from moorage.stores.journal.paging import Query
from moorage.stores.journal.scan import attested_later
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYOUT = Layout(Path("/journal"))
SEGMENT = LAYOUT.segment(1)
COMMITS = 3


class Wreck:
    """The files of a journal that was killed after three commits of one event each."""

    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}
        self.ends: list[int] = []

    def disk(self, **changes: bytes | None) -> SimulatedDisk:
        """The files, some of them changed (None: missing)."""
        disk = SimulatedDisk()
        disk.make_directory(LAYOUT.segments)
        disk.make_directory(LAYOUT.directories)
        for path, content in self.files.items():
            changed = changes.get(path.name.split(".")[0], content)
            if changed is not None:
                disk.create(path)
                disk.put(path, changed)
        return disk


@pytest.fixture
async def wreck(scribe: Any, open_store: Any) -> Wreck:
    return await _make(scribe, open_store, clean=False)


@pytest.fixture
async def clean_wreck(scribe: Any, open_store: Any) -> Wreck:
    return await _make(scribe, open_store, clean=True)


async def _make(scribe: Any, open_store: Any, *, clean: bool) -> Wreck:
    disk, wreck = SimulatedDisk(), Wreck()
    async with open_store(JournalStore(LAYOUT.root, disk=disk)) as store:
        for _ in range(COMMITS):
            await scribe.append(store, "a", count=1)
            wreck.ends.append(store.statistics().size_bytes)
        wreck.files = disk.files()
    if clean:
        wreck.files = disk.files()
    return wreck


def recover(disk: SimulatedDisk) -> tuple[Recovery, list[int]]:
    """Open and read everything; the seqs that are there. Raises CorruptLog."""
    opened = open_log(disk, LAYOUT, owner="a test", synced=True)
    entry = opened.state.directory.entries.get("a")
    opened.close()
    if entry is None:
        return opened.recovery, []
    view = opened.state.view("a", entry)
    page = Query(view, after=0, before=None, limit=100).run()
    assert [event.data["seq"] for event in page.events] == [event.seq for event in page.events]
    return opened.recovery, [event.seq for event in page.events]


def seqs(commits: int) -> list[int]:
    return list(range(1, commits + 1))


def whole_commits(wreck: Wreck, size: int) -> int:
    """How many commits lie before an offset as a whole."""
    return sum(end <= size for end in wreck.ends)


def offsets(content: bytes) -> Iterator[int]:
    return iter(range(len(content)))


async def test_a_killed_journal_loses_nothing(wreck: Wreck) -> None:
    recovery, found = recover(wreck.disk())

    assert found == seqs(COMMITS)
    assert recovery.cut_bytes == 0
    assert recovery.replayed_frames == COMMITS


async def test_a_flipped_byte_anywhere_is_refused_and_nothing_is_changed(wreck: Wreck) -> None:
    content = wreck.files[SEGMENT]
    for offset in offsets(content):
        damaged = bytearray(content)
        damaged[offset] ^= 0x40
        disk = wreck.disk(**{"00000001": bytes(damaged)})

        with pytest.raises(CorruptLog) as caught:
            recover(disk)

        assert caught.value.file == str(SEGMENT)
        assert caught.value.offset <= offset
        assert disk.files()[SEGMENT] == damaged


async def test_a_log_cut_short_anywhere_below_the_durable_offset_is_refused(
    wreck: Wreck,
) -> None:
    content = wreck.files[SEGMENT]
    for size in offsets(content):
        disk = wreck.disk(**{"00000001": content[:size]})

        with pytest.raises(CorruptLog):
            recover(disk)

        assert disk.files()[SEGMENT] == content[:size]


async def test_without_the_durable_file_only_the_last_commit_can_be_taken_for_a_tail(
    wreck: Wreck,
) -> None:
    content = wreck.files[SEGMENT]
    for offset in offsets(content):
        damaged = bytearray(content)
        damaged[offset] ^= 0x01
        disk = wreck.disk(**{"00000001": bytes(damaged), "DURABLE": None})

        if offset < wreck.ends[-2]:
            with pytest.raises(CorruptLog):
                recover(disk)
            assert disk.files()[SEGMENT] == damaged
        else:
            recovery, found = recover(disk)
            assert found == seqs(COMMITS - 1)
            assert recovery.cut_offset == wreck.ends[-2]
            assert recovery.cut_bytes == len(content) - wreck.ends[-2]


@pytest.mark.parametrize("filler", [b"", b"\0"])
async def test_a_tail_that_nothing_attests_is_cut_to_whole_commits_and_reported(
    wreck: Wreck, filler: bytes
) -> None:
    content = wreck.files[SEGMENT]
    for size in range(SEGMENT_HEADER_SIZE, len(content)):
        torn = content[:size] + filler * (len(content) - size)
        disk = wreck.disk(**{"00000001": torn, "DURABLE": None})

        recovery, found = recover(disk)

        commits = whole_commits(wreck, size)
        end = wreck.ends[commits - 1] if commits else SEGMENT_HEADER_SIZE
        assert found == seqs(commits)
        assert recovery.cut_bytes == len(torn) - end
        assert (recovery.cut_reason is None) == (recovery.cut_bytes == 0)
        assert disk.files()[SEGMENT] == content[:end]


async def test_a_zero_filled_tail_behind_the_durable_offset_is_cut(wreck: Wreck) -> None:
    for zeros in (1, 3, FRAME_HEADER_SIZE, 4096):
        disk = wreck.disk(**{"00000001": wreck.files[SEGMENT] + bytes(zeros)})

        recovery, found = recover(disk)

        assert found == seqs(COMMITS)
        assert (recovery.cut_bytes, recovery.cut_file) == (zeros, str(SEGMENT))


async def test_a_header_alone_attests_what_lies_before_it(wreck: Wreck) -> None:
    content = bytearray(wreck.files[SEGMENT])
    content[wreck.ends[0] + 2 * FRAME_HEADER_SIZE] ^= 1
    torn = bytes(content[: wreck.ends[1] + FRAME_HEADER_SIZE])
    disk = wreck.disk(**{"00000001": torn, "DURABLE": None})

    with pytest.raises(CorruptLog) as caught:
        recover(disk)

    assert caught.value.offset == wreck.ends[0]


@pytest.mark.parametrize("name", ["MANIFEST", "DURABLE"])
async def test_a_flipped_byte_in_a_small_file_is_refused_or_harmless(
    wreck: Wreck, name: str
) -> None:
    content = wreck.files[LAYOUT.root / name]
    for offset in offsets(content):
        damaged = bytearray(content)
        damaged[offset] ^= 0x10
        disk = wreck.disk(**{name: bytes(damaged)})

        if name == "DURABLE":
            assert recover(disk)[1] == seqs(COMMITS)
        else:
            with pytest.raises(Exception, match=r"damaged at offset|format version"):
                recover(disk)
            assert disk.files()[LAYOUT.manifest] == damaged


async def test_after_a_clean_close_every_flipped_byte_is_noticed_when_it_is_read(
    clean_wreck: Wreck,
) -> None:
    wreck = clean_wreck
    (index,) = [path for path in wreck.files if path.suffix == ".index"]
    (directory,) = [path for path in wreck.files if path.parent == LAYOUT.directories]
    for path in (SEGMENT, index, directory):
        for offset in offsets(wreck.files[path]):
            damaged = bytearray(wreck.files[path])
            damaged[offset] ^= 0x04
            disk = wreck.disk()
            disk.put(path, bytes(damaged))

            try:
                found = recover(disk)[1]
            except CorruptLog:
                continue
            # what no reading needs: the frames' headers, and a reserved field
            assert path == SEGMENT
            assert found == seqs(COMMITS)


async def test_a_missing_file_is_named(clean_wreck: Wreck) -> None:
    for path in clean_wreck.files:
        if path.name in ("LOCK", "DURABLE"):
            continue
        disk = clean_wreck.disk()
        disk.unlink(path)

        with pytest.raises(CorruptLog) as caught:
            recover(disk)
        assert caught.value.file == str(path)


async def test_frames_copied_into_data_are_no_frames(scribe: Any, open_store: Any) -> None:
    disk, wreck = SimulatedDisk(), Wreck()
    async with open_store(JournalStore(LAYOUT.root, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        frame = disk.files()[SEGMENT][SEGMENT_HEADER_SIZE:]
        record = encode_event(1, "evil", None, {"frame": frame * 3})
        await store.append(scribe.claims["a"], expected_seq=2, records=[record])
    wreck.files = disk.files()
    content = bytearray(wreck.files[SEGMENT])
    content[SEGMENT_HEADER_SIZE + FRAME_HEADER_SIZE] ^= 1
    # the second frame's own header is gone, its copies of the first frame are all there
    start = SEGMENT_HEADER_SIZE + len(frame)
    content[start : start + FRAME_HEADER_SIZE] = bytes(FRAME_HEADER_SIZE)
    disk.put(SEGMENT, bytes(content))
    file = disk.open(SEGMENT)
    header_id = bytes(content[32:48])
    found = attested_later(
        file, log_id=header_id, number=1, start=SEGMENT_HEADER_SIZE + 1, end=len(content)
    )

    assert found == 0


async def test_a_cut_tail_is_gone_for_good_and_the_log_goes_on(
    wreck: Wreck, scribe: Any, open_store: Any
) -> None:
    torn = wreck.files[SEGMENT] + b"torn"
    disk = wreck.disk(**{"00000001": torn})

    async with open_store(JournalStore(LAYOUT.root, disk=disk)) as store:
        assert store.recovery == Recovery(
            replayed_frames=COMMITS,
            replayed_bytes=wreck.ends[-1] - SEGMENT_HEADER_SIZE,
            cut_file=str(SEGMENT),
            cut_offset=wreck.ends[-1],
            cut_bytes=4,
            cut_reason="only 4 of a frame header's 24 bytes are there",
        )
        assert store.statistics().cut_tail_bytes == 4
        scribe.claims.clear()
        await scribe.append(store, "a", count=2)
    async with open_store(JournalStore(LAYOUT.root, disk=disk)) as store:
        await scribe.check(store)
        assert store.recovery.replayed_frames == 0
        await trio.lowlevel.checkpoint()


async def test_bytes_behind_a_clean_end_are_cut_and_reported(clean_wreck: Wreck) -> None:
    content = clean_wreck.files[SEGMENT]

    recovery, found = recover(clean_wreck.disk(**{"00000001": content + bytes(100)}))

    assert found == seqs(COMMITS)
    assert recovery.cut_bytes == 100


async def test_what_a_crash_left_half_done_is_removed(clean_wreck: Wreck) -> None:
    disk = clean_wreck.disk()
    for path in (LAYOUT.segment(99), LAYOUT.index(99, 1), LAYOUT.directory(98)):
        disk.create(path)

    recovery, found = recover(disk)

    assert recovery.orphans_removed == 3
    assert found == seqs(COMMITS)
    assert LAYOUT.segment(99) not in disk.files()
