from __future__ import annotations

import errno
from pathlib import Path

import attrs
import pytest
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
from moorage.stores.simulated_disk import SimulatedDisk

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
