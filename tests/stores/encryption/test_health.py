"""What cannot be opened is told, and keys that should be gone are."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from moorage.stores import SqliteStore
from moorage.stores.encryption import EncryptedStore, FileVault, KeyRing

from tests.stores.inspected import damages, fill, inspected, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RING = KeyRing.generate("one")


@pytest.fixture
async def new_store(tmp_path: Path) -> Callable[..., EncryptedStore]:
    def new(ring: KeyRing = RING, vault: str = "vault") -> EncryptedStore:
        return EncryptedStore(SqliteStore(tmp_path / "a.db"), ring, FileVault(tmp_path / vault))

    await fill(new)
    return new


def do(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


async def test_a_sound_store_is_opened_and_counted(
    new_store: Callable[..., EncryptedStore],
) -> None:
    report = await inspected(new_store())

    assert (report.sessions, report.events, report.findings) == (2, 6, ())
    plain = await inspected(new_store().inner)
    assert (plain.sessions, plain.events, plain.findings) == (2, 6, ())


async def test_what_was_exchanged_inside_is_damage_that_only_keys_show(
    new_store: Callable[..., EncryptedStore], tmp_path: Path
) -> None:
    do(
        tmp_path / "a.db",
        "UPDATE event SET body = (SELECT body FROM event WHERE session = 1 AND seq = 2) "
        "WHERE session = 2 AND seq = 4",
    )

    assert (await inspected(new_store().inner)).sound
    report = await inspected(new_store())
    assert told(report, "session 'b'", "is not available")


async def test_damage_inside_is_told_as_it_is_without_keys(
    new_store: Callable[..., EncryptedStore], tmp_path: Path
) -> None:
    do(tmp_path / "a.db", "DELETE FROM event WHERE seq = 2")

    expected = damages(await inspected(new_store().inner))

    assert expected
    assert expected == damages(await inspected(new_store()))


async def test_keys_that_are_missing_and_keys_that_are_left_are_told(
    new_store: Callable[..., EncryptedStore], tmp_path: Path
) -> None:
    vault = FileVault(tmp_path / "vault")
    (wrapped,) = (await vault.load(["a"]))["a"]
    await vault.add("deleted long ago", wrapped)
    for file in (tmp_path / "vault").glob("??/*"):
        os.utime(file, (0, 0))
    left = await inspected(new_store())
    await vault.remove("a")
    missing = await inspected(new_store())
    elsewhere = await inspected(new_store(vault="elsewhere"))

    assert told(left, "'deleted long ago'", "its key is still there")
    assert left.sound
    assert told(missing, "'a'", "the vault does not have it")
    assert not missing.sound
    assert told(elsewhere, "keys", "is it the right one?")
