from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.stores.journal import format as fmt
from moorage.stores.journal import scan
from moorage.stores.journal.scan import FrameDamaged, attested_later, frame_headers, frames
from moorage.stores.journal.target import Target
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedFile

LOG_ID = bytes(range(16))
START = fmt.SEGMENT_HEADER_SIZE
SIZES = (1, 1_000, 50_000, 3, 120_000, 7)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> SimulatedFile:
    # frames smaller, as large and larger than what is read in one go
    monkeypatch.setattr(scan, "READ_BYTES", 50_000)
    disk = SimulatedDisk()
    disk.make_directory(Path("/segments"))
    return disk.create(Path("/segments/1"))


def write(file: SimulatedFile, *, synced: bool = True) -> list[int]:
    """Frames of the SIZES; returns where they begin."""
    target = Target(file, log_id=LOG_ID, number=1, end=START, synced=synced)
    offsets = []
    for number, size in enumerate(SIZES):
        offsets.append(target.end)
        target.write([bytes([number]) * (size - size // 2), bytes([number]) * (size // 2)])
    return offsets


def read(file: SimulatedFile, end: int) -> list[bytes]:
    found = frames(file, log_id=LOG_ID, number=1, start=START, end=end)
    return [bytes(data[fmt.FRAME_HEADER_SIZE :]) for _, data in found]


def test_frames_of_all_sizes_are_read(file: SimulatedFile) -> None:
    write(file)

    assert read(file, file.size()) == [bytes([number]) * size for number, size in enumerate(SIZES)]


def test_damage_is_told_at_the_frame_where_it_is(file: SimulatedFile) -> None:
    offsets = write(file)
    file.write([b"!"], offsets[4] + 60_000)

    with pytest.raises(FrameDamaged, match="checksum") as caught:
        read(file, file.size())

    assert caught.value.offset == offsets[4]


def test_headers_are_found_wherever_they_are(file: SimulatedFile) -> None:
    offsets = write(file)

    for start in (START, offsets[2] + 1, offsets[4] + 60_000):
        found = frame_headers(
            file,
            log_id=LOG_ID,
            number=1,
            start=start,
            end=file.size(),
        )
        assert [frame.offset for frame in found] == [
            offset for offset in offsets if offset >= start
        ]


@pytest.mark.parametrize("synced", [True, False])
def test_only_what_was_synced_is_attested(file: SimulatedFile, synced: bool) -> None:
    offsets = write(file, synced=synced)

    found = attested_later(
        file,
        log_id=LOG_ID,
        number=1,
        start=offsets[0] + 1,
        end=file.size(),
    )

    assert found == (offsets[-1] if synced else START)
