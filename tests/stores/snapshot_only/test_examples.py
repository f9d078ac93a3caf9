from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.snapshot_only import FileSnapshots, MemorySnapshots

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.snapshot_only import Snapshots


@pytest.fixture(params=["memory", "files"])
def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> Snapshots:
    return MemorySnapshots() if request.param == "memory" else FileSnapshots(tmp_path / "s")


def test_what_was_saved_last_is_loaded_until_it_is_cleared(snapshots: Snapshots) -> None:
    assert snapshots.load("A/../b") is None
    snapshots.clear("A/../b")
    snapshots.save("A/../b", b"one")
    snapshots.save("a", b"other")
    snapshots.save("A/../b", b"two")

    assert (snapshots.load("A/../b"), snapshots.load("a")) == (b"two", b"other")
    snapshots.clear("A/../b")
    assert (snapshots.load("A/../b"), snapshots.load("a")) == (None, b"other")


def test_files_stay_in_their_directory_and_are_private(tmp_path: Path) -> None:
    FileSnapshots(tmp_path / "s").save("../../x", b"one")

    (file,) = (tmp_path / "s").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_of_one_directory_are_equal(tmp_path: Path) -> None:
    assert FileSnapshots(tmp_path) == FileSnapshots(str(tmp_path))
    assert hash(FileSnapshots(tmp_path)) == hash(FileSnapshots(str(tmp_path)))
    assert FileSnapshots(tmp_path) != FileSnapshots(tmp_path / "other")
