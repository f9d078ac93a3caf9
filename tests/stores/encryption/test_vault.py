"""What every vault does: one set of tests over all of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.encryption import FileVault, KeyVault, MemoryVault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["memory", "file"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> KeyVault:
    return MemoryVault() if request.param == "memory" else FileVault(tmp_path / "vault")


async def test_keys_are_kept_per_session_in_the_order_in_which_they_came(vault: KeyVault) -> None:
    await vault.add("a", b"a1")
    await vault.add("b", b"b1")
    await vault.add("a", b"a2")

    assert await vault.load(["a", "b", "c"]) == {"a": [b"a1", b"a2"], "b": [b"b1"]}
    assert sorted([id async for id in vault.sessions()]) == ["a", "b"]


async def test_some_keys_or_all_are_removed_and_unknown_ones_are_no_error(vault: KeyVault) -> None:
    for wrapped in (b"1", b"2", b"3"):
        await vault.add("a", wrapped)

    await vault.remove("a", [b"1", b"3", b"unknown"])
    assert await vault.load(["a"]) == {"a": [b"2"]}
    await vault.remove("a")
    await vault.remove("a")
    await vault.remove("unknown", [b"1"])

    assert await vault.load(["a"]) == {}
    assert [id async for id in vault.sessions()] == []


async def test_any_session_id_has_a_place(vault: KeyVault) -> None:
    ids = ["", "../../etc", "a/b", "ü" * 200, "a\ud800", "."]
    for index, session_id in enumerate(ids):
        await vault.add(session_id, b"%d" % index)

    found = await vault.load(ids)

    assert found == {id: [b"%d" % index] for index, id in enumerate(ids)}


async def test_what_was_changed_just_now_is_not_old(vault: KeyVault) -> None:
    await vault.add("a", b"1")

    assert [id async for id in vault.sessions(older_than_seconds=3600)] == []
