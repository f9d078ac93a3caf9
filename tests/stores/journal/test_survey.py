from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores.journal import JournalStore
from moorage.stores.journal import format as fmt
from moorage.stores.journal.durable import DurableEnd, pack_durable
from moorage.stores.journal.manifest import Layout, Manifest, Segment, load_manifest
from moorage.stores.journal.survey import (
    Found,
    Problem,
    manifest_or_guess,
    segment_end,
    survey,
)
from moorage.stores.journal.target import Target
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUT = Layout(Path("/journal"))
LOG_ID = bytes(16)
PATH = LAYOUT.segment(1)
START = fmt.SEGMENT_HEADER_SIZE
BLOCK = fmt.BLOCK_HEADER_SIZE + 1 + 20
"""Size of each block below: a session id of one letter, and its content."""


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(LAYOUT.segments)
    return disk


def write(disk: SimulatedDisk, *frames: str) -> list[int]:
    """Frames with a block for each letter of a text; returns where they begin."""
    target = Target(disk.create(PATH), log_id=LOG_ID, number=1, end=START, synced=True)
    offsets = []
    for text in frames:
        offsets.append(target.end)
        target.write([fmt.pack_block(fmt.EVENTS, c.encode(), 1, content=bytes(20)) for c in text])
    return offsets


def damage(disk: SimulatedDisk, *offsets: int) -> None:
    content = bytearray(disk.files()[PATH])
    for offset in offsets:
        content[offset] ^= 1
    disk.put(PATH, bytes(content))


def surveyed(disk: SimulatedDisk, end: int | None = None) -> tuple[str, str, Sequence[Problem]]:
    """The sessions of blocks of whole frames, those of others, and the problems."""
    file = disk.open(PATH)
    found = list(
        survey(file, str(PATH), log_id=LOG_ID, number=1, end=file.size() if end is None else end)
    )
    good = [one for one in found if isinstance(one, Found)]
    content = disk.files()[PATH]
    assert all(content[at.block.offset :].startswith(at.raw) for at in good)
    whole = "".join(one.block.session_id for one in good if one.whole)
    rest = "".join(one.block.session_id for one in good if not one.whole)
    return whole, rest, [one for one in found if isinstance(one, Problem)]


def test_a_sound_segment_has_all_its_blocks_and_no_problem(disk: SimulatedDisk) -> None:
    write(disk, "ab", "c", "de")

    assert surveyed(disk) == ("abcde", "", [])


def test_of_a_damaged_frame_the_blocks_before_the_damage_are_found(disk: SimulatedDisk) -> None:
    offsets = write(disk, "ab", "cdef", "g")
    damage(disk, offsets[1] + fmt.FRAME_HEADER_SIZE + 2 * BLOCK + BLOCK // 2)

    whole, rest, problems = surveyed(disk)

    assert (whole, rest) == ("abg", "cd")
    assert [(at.file, at.offset) for at in problems] == [(str(PATH), offsets[1])]
    assert str(problems[0]).startswith(f"{PATH} at {offsets[1]}: ")


def test_behind_a_frame_whose_header_is_damaged_the_next_one_is_found(disk: SimulatedDisk) -> None:
    offsets = write(disk, "ab", "cd", "ef", "g")
    damage(disk, offsets[1], offsets[2])

    whole, rest, problems = surveyed(disk)

    assert (whole, rest) == ("abg", "")
    assert [at.offset for at in problems] == [offsets[1]]


def test_two_places_of_damage_are_two_problems(disk: SimulatedDisk) -> None:
    offsets = write(disk, "a", "b", "c", "d")
    damage(disk, offsets[0], offsets[2] + fmt.FRAME_HEADER_SIZE)

    whole, rest, problems = surveyed(disk)

    assert (whole, rest) == ("bd", "")
    assert [at.offset for at in problems] == [offsets[0], offsets[2]]


def test_nothing_is_taken_of_a_last_frame_that_was_never_whole(disk: SimulatedDisk) -> None:
    offsets = write(disk, "ab", "cdef")
    disk.put(PATH, disk.files()[PATH][:-1])

    whole, rest, problems = surveyed(disk)

    assert (whole, rest) == ("ab", "")
    assert [at.offset for at in problems] == [offsets[1]]


def test_what_lies_behind_the_end_is_not_looked_at(disk: SimulatedDisk) -> None:
    offsets = write(disk, "ab", "cd")
    damage(disk, offsets[1])

    assert surveyed(disk, end=offsets[1]) == ("ab", "", [])


def manifest_of(*segments: Segment) -> Manifest:
    return Manifest(
        log_id=LOG_ID,
        created_ns=1,
        generation=1,
        next_number=9,
        segments=segments,
        directory=0,
        replay_place=1,
        replay_offset=START,
        clean=False,
    )


def test_a_segment_is_surveyed_to_its_durable_end_only_while_an_owner_lives(
    disk: SimulatedDisk,
) -> None:
    sealed, active = Segment(1, 1, 1, end=500), Segment(2, 2, 2)
    manifest = manifest_of(sealed, active)
    disk.create(LAYOUT.durable).write([pack_durable(DurableEnd(1, 2, 300, True))], 0)

    def end_of(segment: Segment, size: int) -> int:
        return segment_end(disk, LAYOUT, manifest, segment, size)

    ownerless = [end_of(sealed, 600), end_of(sealed, 400), end_of(active, 600)]
    disk.lock(LAYOUT.lock, "somebody")
    owned = [end_of(active, 600), end_of(active, 200), end_of(Segment(3, 3, 3), 600)]
    disk.unlink(LAYOUT.durable)

    assert ownerless == [500, 400, 600]
    assert owned == [300, 200, 600]
    assert end_of(active, 600) == 600


@pytest.mark.parametrize("left", ["whole", "damaged", "missing"])
async def test_a_manifest_is_guessed_from_the_segments_when_it_cannot_be_read(
    scribe: Any, open_store: Any, left: str
) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(LAYOUT.root, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
    truth = load_manifest(disk, LAYOUT)
    assert truth is not None
    if left == "damaged":
        disk.put(LAYOUT.manifest, disk.files()[LAYOUT.manifest][:-1])
    elif left == "missing":
        disk.unlink(LAYOUT.manifest)
    problems: list[Problem] = []

    manifest = manifest_or_guess(disk, LAYOUT, problems)

    assert len(truth.segments) > 2
    assert [at.file for at in problems] == [str(LAYOUT.manifest)] * (left != "whole")
    assert manifest.log_id == truth.log_id
    assert [(at.number, at.low) for at in manifest.segments] == [
        (at.number, at.low) for at in truth.segments
    ]
    assert manifest.next_number > max(at.number for at in truth.segments)
    if left != "whole":
        assert (manifest.directory, manifest.replay_place) == (0, truth.segments[0].low)


def test_a_segment_whose_header_is_damaged_is_a_problem_and_left_out_of_the_guess(
    disk: SimulatedDisk,
) -> None:
    for number in (1, 2, 3):
        header = fmt.SegmentHeader(LOG_ID, number, 5, low=10 - number)
        disk.create(LAYOUT.segment(number)).write([fmt.pack_segment_header(header)], 0)
    disk.create(LAYOUT.index(1, 64)).write([b"not a log"], 0)
    damage_at = LAYOUT.segment(2)
    disk.put(damage_at, b"!" + disk.files()[damage_at][1:])
    problems: list[Problem] = []

    manifest = manifest_or_guess(disk, LAYOUT, problems)

    assert [at.number for at in manifest.segments] == [3, 1]  # by place, not by number
    assert [at.file for at in problems] == [str(LAYOUT.manifest), str(damage_at)]


def test_where_no_segments_are_there_is_no_journal(disk: SimulatedDisk) -> None:
    for layout in (LAYOUT, Layout(Path("/elsewhere"))):
        disk.make_directory(layout.root)
        with pytest.raises(StoreFailed, match=f"there is no journal in {layout.root}"):
            manifest_or_guess(disk, layout, [])
