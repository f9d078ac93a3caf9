"""A vault on disk: durable, private, shared by processes, and forgetful on demand."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import CorruptLog, InvalidArgument, StoreFailed
from moorage.stores.encryption import FileVault

if TYPE_CHECKING:
    from pathlib import Path


def files(vault: FileVault) -> list[Path]:
    return [file for file in vault.path.rglob("*") if file.is_file() and file.name != "LOCK"]


async def test_keys_outlive_the_object_and_are_private(tmp_path: Path) -> None:
    await FileVault(tmp_path / "vault").add("a", b"key")

    again = FileVault(tmp_path / "vault")

    assert await again.load(["a"]) == {"a": [b"key"]}
    modes = {path.stat().st_mode & 0o777 for path in files(again)}
    directories = {path.stat().st_mode & 0o777 for path in again.path.rglob("*") if path.is_dir()}
    assert (modes, directories, again.path.stat().st_mode & 0o777) == ({0o600}, {0o700}, 0o700)


async def test_many_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    vaults = [FileVault(tmp_path / "vault") for _ in range(4)]

    async with trio.open_nursery() as nursery:
        for index in range(40):
            nursery.start_soon(vaults[index % 4].add, "a", b"%d" % index)

    assert sorted((await vaults[0].load(["a"]))["a"]) == sorted(b"%d" % i for i in range(40))


async def test_nothing_of_a_removed_key_is_left(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault")
    await vault.add("a", b"first-key")
    await vault.add("a", b"second-key")
    # as whoever has the blocks of the old file
    with open(files(vault)[0], "rb") as opened:  # noqa: ASYNC230
        await vault.remove("a", [b"first-key"])

        assert opened.read().strip(b"\0") == b""
    assert [b"first-key" in file.read_bytes() for file in files(vault)] == [False]
    await vault.remove("a")
    assert files(vault) == []


async def test_a_file_that_is_overwritten_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault")
    await vault.add("a", b"key")
    (file,) = files(vault)
    sound = file.read_bytes()
    file.write_bytes(bytes(len(sound)))

    with pytest.raises(CorruptLog, match="no wrapped keys"):
        await vault.load(["a"])
    file.write_bytes(sound)

    assert await vault.load(["a"]) == {"a": [b"key"]}


async def test_what_a_crash_left_of_a_change_is_in_nobodys_way(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault")
    await vault.add("a", b"1")
    (file,) = files(vault)
    file.with_name(f"{file.name}.new").write_bytes(b"half")
    os.link(file, file.with_name(f"{file.name}.old"))

    await vault.add("a", b"2")
    await vault.remove("a", [b"1"])

    assert await vault.load(["a"]) == {"a": [b"2"]}
    assert [id async for id in vault.sessions()] == ["a"]
    assert len(files(vault)) == 1


async def test_old_files_are_listed_by_age(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault")
    await vault.add("old", b"1")
    (file,) = files(vault)
    os.utime(file, (0, time.time() - 7200))
    await vault.add("new", b"2")

    assert [id async for id in vault.sessions(older_than_seconds=3600)] == ["old"]


async def test_a_directory_that_cannot_be_used_is_a_failure_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file")

    with pytest.raises(StoreFailed, match="key vault"):
        await FileVault(tmp_path / "vault").add("a", b"1")
    with pytest.raises(InvalidArgument, match="directory"):
        FileVault(None)  # type: ignore[arg-type]
