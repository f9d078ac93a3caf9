from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import attrs
import pytest
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores.journal.disk import SyncFailed
from moorage.stores.journal.manifest import (
    Layout,
    Manifest,
    Segment,
    decode_manifest,
    encode_manifest,
    load_manifest,
    store_manifest,
)
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

MANIFEST = Manifest(
    log_id=bytes(range(16)),
    created_ns=1_700_000_000_000_000_000,
    generation=3,
    next_number=12,
    segments=(Segment(9, 1, 4, 5_000, 5_000), Segment(11, 11, 11, None, 700)),
    directory=10,
    replay_place=11,
    replay_offset=700,
    clean=True,
)
LAYOUT = Layout(Path("/journal"))


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(LAYOUT.root)
    return disk


def test_a_manifest_comes_back(disk: SimulatedDisk) -> None:
    assert load_manifest(disk, LAYOUT) is None

    store_manifest(disk, LAYOUT, MANIFEST)

    assert load_manifest(disk, LAYOUT) == MANIFEST
    assert MANIFEST.active.number == 11
    assert load_manifest(disk.crashed(lambda n: n - 1), LAYOUT) == MANIFEST


def test_a_crash_while_it_is_replaced_leaves_the_old_one_or_the_new(disk: SimulatedDisk) -> None:
    store_manifest(disk, LAYOUT, MANIFEST)
    newer = attrs.evolve(MANIFEST, generation=4)
    found = []
    disk.watch = lambda disk, *_: found.extend(
        load_manifest(disk.crashed(lambda n, fate=fate: min(fate, n - 1)), LAYOUT)
        for fate in range(4)
    )

    store_manifest(disk, LAYOUT, newer)

    assert set(found) == {MANIFEST, newer}


def test_every_flipped_byte_and_every_cut_is_refused() -> None:
    data = encode_manifest(MANIFEST)

    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        with pytest.raises(StoreFailed):
            decode_manifest(bytes(damaged), file="MANIFEST")
        with pytest.raises(CorruptLog):
            decode_manifest(data[:offset], file="MANIFEST")


@pytest.mark.parametrize(
    ("kind", "unknown"),
    [("create", False), ("write", False), ("sync", True), ("rename", True)],
)
def test_a_failure_says_whether_the_old_one_is_still_in_force(
    disk: SimulatedDisk, kind: str, unknown: bool
) -> None:
    store_manifest(disk, LAYOUT, MANIFEST)
    disk.fail(kind, 1, error_number=errno.EIO)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="injected") as caught:
        store_manifest(disk, LAYOUT, attrs.evolve(MANIFEST, generation=4))

    assert isinstance(caught.value, SyncFailed) == unknown
    assert load_manifest(disk, LAYOUT) == MANIFEST


def test_one_that_an_older_release_wrote_has_counted_no_rotations() -> None:
    fields = attrs.asdict(MANIFEST, recurse=False)
    fields["segments"] = [list(attrs.astuple(segment)) for segment in MANIFEST.segments]
    del fields["rotations"]
    body = codec.pack(fields, "manifest")
    checked = struct.pack("<II", 1, len(body))
    checksum = zlib.crc32(body, zlib.crc32(checked, 0x6D616E69))

    found = decode_manifest(b"MOORMAN\0" + checked + struct.pack("<I", checksum) + body, file="M")

    assert found == MANIFEST
    assert found.rotations == 0


class SmallReads(SimulatedDisk):
    """Notes how much is asked for in one read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def open(self, path: Path, *, write: bool = False) -> SimulatedFile:
        file, asked = super().open(path, write=write), self.asked

        class Noting(SimulatedFile):
            def read(self, size: int, offset: int) -> bytes:
                asked.append(size)
                return file.read(size, offset)

            def size(self) -> int:
                return file.size()

            def __init__(self) -> None:
                pass

        return Noting()


def test_no_more_is_read_than_there_is() -> None:
    disk = SmallReads()
    disk.make_directory(LAYOUT.root)
    store_manifest(disk, LAYOUT, MANIFEST)

    assert load_manifest(disk, LAYOUT) == MANIFEST
    assert disk.asked == [len(encode_manifest(MANIFEST))]


def test_a_manifest_that_finds_no_room_leaves_nothing_behind(disk: SimulatedDisk) -> None:
    store_manifest(disk, LAYOUT, MANIFEST)
    before = disk.files()
    disk.fail("write", 1, after_bytes=10)

    with pytest.raises(OSError, match="injected"):
        store_manifest(disk, LAYOUT, attrs.evolve(MANIFEST, generation=4))

    assert disk.files() == before
