from __future__ import annotations

import errno
from pathlib import Path

import pytest
from moorage.stores.journal import format as fmt
from moorage.stores.journal.disk import SyncFailed
from moorage.stores.journal.scan import frames
from moorage.stores.journal.target import Target
from moorage.stores.simulated_disk import SimulatedDisk

LOG_ID = bytes(range(16))
PATH = Path("/segments/1")
START = fmt.SEGMENT_HEADER_SIZE


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(PATH.parent)
    disk.create(PATH).write([bytes(START)], 0, sync=True)
    disk.sync_directory(PATH.parent)
    return disk


def open_target(disk: SimulatedDisk, *, synced: bool = True) -> Target:
    return Target(disk.open(PATH, write=True), log_id=LOG_ID, number=1, end=START, synced=synced)


def read(disk: SimulatedDisk, path: Path = PATH, number: int = 1) -> list[tuple[bytes, int]]:
    """Each frame's blocks, and what it attests."""
    file = disk.open(path)
    found = frames(file, log_id=LOG_ID, number=number, start=START, end=file.size())
    return [(bytes(data[fmt.FRAME_HEADER_SIZE :]), frame.attested) for frame, data in found]


def test_frames_follow_each_other_and_attest_what_was_synced_before_them(
    disk: SimulatedDisk,
) -> None:
    target = open_target(disk)

    target.write([b"one", b"two"])
    second = target.end
    target.write([b"three"])

    assert read(disk) == [(b"onetwo", START), (b"three", second)]
    assert target.end == target.attested == disk.open(PATH).size()


@pytest.mark.parametrize("synced", [True, False])
def test_a_frame_survives_power_loss_only_if_writes_are_synced(
    disk: SimulatedDisk, synced: bool
) -> None:
    open_target(disk, synced=synced).write([b"one"])

    crashed = disk.crashed(lambda choices: 1)

    assert [body for body, _ in read(crashed)] == [b"one"] * synced


def test_without_syncs_nothing_is_attested_until_somebody_syncs(disk: SimulatedDisk) -> None:
    target = open_target(disk, synced=False)
    target.write([b"one"])
    target.write([b"two"])

    target.sync()
    target.write([b"three"])

    assert [attested for _, attested in read(disk)] == [START, START, target.attested]
    assert len(read(disk.crashed(lambda choices: 1))) == 2


def test_a_failed_write_moves_nothing_and_cutting_takes_its_rest_away(
    disk: SimulatedDisk,
) -> None:
    target = open_target(disk)
    target.write([b"one"])
    end = target.end
    disk.fail("write", 1, after_bytes=30)

    with pytest.raises(OSError, match="injected") as failed:
        target.write([b"lost" * 100])
    left = disk.open(PATH).size()
    target.cut()
    target.write([b"two"])

    assert failed.value.errno == errno.ENOSPC
    assert (left, target.attested) == (end + 30, target.end)
    assert read(disk) == [(b"one", START), (b"two", end)]


def test_a_cut_is_durable(disk: SimulatedDisk) -> None:
    target = open_target(disk, synced=False)
    target.write([b"one"])
    target.file.write([b"the rest of a frame"], target.end)

    target.cut()

    assert disk.crashed(lambda choices: 1).open(PATH).size() == target.end


def test_a_failed_sync_is_told_and_attests_nothing(disk: SimulatedDisk) -> None:
    target = open_target(disk)
    disk.fail("sync", 1)

    with pytest.raises(SyncFailed):
        target.write([b"one"])

    assert target.attested == START


def test_frames_go_on_in_another_segment_under_its_number(disk: SimulatedDisk) -> None:
    path = Path("/segments/2")
    target = open_target(disk)
    target.write([b"one"])
    file = disk.create(path)
    file.write([bytes(START)], 0)

    target.switch(file, 2, START)
    target.write([b"two"])

    assert read(disk) == [(b"one", START)]
    assert read(disk, path, number=2) == [(b"two", START)]
