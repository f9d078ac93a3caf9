"""Which key is written with, which are read, and when they are forgotten."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.encryption import (
    KeyRing,
    KeyUnavailable,
    MemoryVault,
    session_keys,
    sessions_by_master_key,
)
from moorage.stores.encryption.key_ring import WrappedKey
from moorage.stores.encryption.sealing import new_key
from moorage.stores.encryption.session_keys import SessionKeys


def rotated(ring: KeyRing) -> KeyRing:
    return KeyRing({**ring._keys, "k2": new_key()}, current="k2")


async def test_a_session_without_keys_can_neither_seal_nor_hash_nor_open() -> None:
    cipher = await SessionKeys(KeyRing.generate("k1"), MemoryVault()).of("a")

    assert (cipher.has_keys, cipher.writes_with, cipher.hashed("key")) == (False, None, [])
    with pytest.raises(KeyUnavailable, match=r"'a'.*destroyed"):
        cipher.seal(b"content", b"")


async def test_a_new_key_comes_with_a_new_master_and_the_old_one_still_opens() -> None:
    vault, ring = MemoryVault(), KeyRing.generate("k1")
    old = await SessionKeys(ring, vault).add("a")
    sealed, hashed = old.seal(b"content", b""), old.hashed("key")
    keys = SessionKeys(rotated(ring), vault)

    before = (await keys.load(["a"]))[0]
    after = await keys.add("a")

    assert (before.writes_with, before.open(sealed, b"")) == (None, b"content")
    assert after.open(sealed, b"") == b"content"
    assert after.writes_with not in (None, old.writes_with)
    assert after.hashed("key")[1:] == hashed
    with pytest.raises(KeyUnavailable, match="was destroyed"):
        old.open(after.seal(b"later", b""), b"")


async def test_a_new_life_is_written_with_its_own_key_alone() -> None:
    keys = SessionKeys(KeyRing.generate("k1"), MemoryVault())
    former_life = await keys.add("a")

    cipher, former = await keys.begin("a")

    assert former == former_life.bodies
    assert cipher.writes_with not in map(_key_id, former)
    assert (await keys.of("a")) is cipher


async def test_destroyed_keys_are_gone_from_memory_and_vault() -> None:
    vault = MemoryVault()
    keys = SessionKeys(KeyRing.generate("k1"), vault)
    await keys.add("a")

    await keys.destroy("a")

    assert (keys.cached("a"), await vault.load(["a"])) == (None, {})


async def test_memory_holds_the_keys_that_were_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_keys, "SESSIONS_CACHED_MAX", 2)
    keys = SessionKeys(KeyRing.generate("k1"), MemoryVault())
    for session_id in ("a", "b"):
        await keys.add(session_id)
    keys.cached("a")

    await keys.add("c")

    assert [keys.cached(id) is not None for id in ("a", "b", "c")] == [True, False, True]
    assert (await keys.of("b")).has_keys


async def test_the_proof_of_the_master_key_is_left_once_and_checked() -> None:
    vault, ring = MemoryVault(), KeyRing.generate("k1")

    assert await SessionKeys(ring, vault).check(may_mark=False) is False
    assert await SessionKeys(ring, vault).check(may_mark=True) is False
    assert await SessionKeys(ring, vault).check(may_mark=True) is True
    assert await SessionKeys(rotated(ring), vault).check(may_mark=True) is True
    assert len((await vault.load([""]))[""]) == 2
    with pytest.raises(KeyUnavailable, match="'k1'"):
        await SessionKeys(KeyRing.generate("k1"), vault).check(may_mark=False)


def _key_id(wrapped: bytes) -> bytes:
    return WrappedKey(wrapped).key_id


async def test_sessions_are_counted_by_the_master_keys_that_they_need() -> None:
    vault = MemoryVault()
    ring = KeyRing.generate("one")
    keys = SessionKeys(ring, vault)
    await keys.check(may_mark=True)
    await keys.add("a")
    await keys.add("b")
    rotated = SessionKeys(ring.rotated("two"), vault)
    await rotated.add("a")
    await rotated.add("a")

    assert await sessions_by_master_key(vault) == {"one": 2, "two": 1}
    await vault.add("c", b"no key")
    with pytest.raises(CorruptLog, match="'c'"):
        await sessions_by_master_key(vault)
