"""Files: private, complete or not there, and nothing left behind."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts import ArtifactsFailed, ArtifactsRefused, FileArtifacts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


def tree(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def modes(path: Path) -> set[int]:
    return {one.stat().st_mode & 0o777 for one in [path, *path.rglob("*")]}


async def test_files_are_under_their_keys_and_private(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path / "deep" / "artifacts", name="disk")

    stored = await artifacts.put("ses-1/ab", b"content")

    assert tree(artifacts.path) == ["ses-1/ab"]
    assert (artifacts.path / "ses-1" / "ab").read_bytes() == b"content"
    assert modes(artifacts.path) == {0o700, 0o600}
    assert stored.where == artifacts.name == "disk"


async def test_what_is_on_its_way_is_not_in_listings_and_goes_when_it_fails(
    tmp_path: Path,
) -> None:
    artifacts = FileArtifacts(tmp_path)
    seen: list[list[str]] = []

    async def source() -> AsyncGenerator[bytes]:
        yield b"x" * 3_000_000
        seen.append([listed.key async for listed in artifacts.contents()])
        seen.append(tree(tmp_path))
        raise KeyError

    with pytest.raises(KeyError):
        await artifacts.put("s/a", source())

    assert seen[0] == []
    assert len(seen[1]) == 1
    assert tree(tmp_path) == []


async def test_what_a_crash_left_is_cleared_when_it_is_old(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)
    await artifacts.put("s/a", b"content")
    for name, age in (("old", 7200), ("new", 0)):
        (tmp_path / ".incoming" / name).write_bytes(b"half")
        os.utime(tmp_path / ".incoming" / name, (0, time.time() - age))

    cleared = await artifacts.clear_incoming(older_than_seconds=3600)

    assert cleared == 1
    assert tree(tmp_path) == [".incoming/new", "s/a"]


async def test_directories_go_with_their_last_file_while_others_come(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)

    async def put_and_delete(number: int) -> None:
        for _ in range(10):
            await artifacts.put(f"s/deep/{number}", b"x")
            await artifacts.delete([f"s/deep/{number}"])

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(put_and_delete, number)

    assert sorted(os.listdir(tmp_path)) == [".incoming"]


async def test_links_are_not_followed_by_listings(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path / "artifacts")
    await artifacts.put("s/a", b"x")
    (tmp_path / "outside").write_text("secret")
    os.symlink(tmp_path / "outside", artifacts.path / "s" / "link")

    assert [listed.key async for listed in artifacts.contents()] == ["s/a"]


async def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ArtifactsFailed, match="artifacts in"):
        await FileArtifacts(tmp_path / "file").put("s/a", b"x")
    with pytest.raises(InvalidArgument, match="directory"):
        FileArtifacts(None)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="not here: for root nothing is forbidden")
async def test_a_directory_that_is_forbidden_is_a_refusal(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)

    with pytest.raises(ArtifactsRefused):
        await FileArtifacts(tmp_path / "artifacts").put("s/a", b"x")
