"""Reading beside the owner, through keys that come and go."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores import MemoryStore
from moorage.stores.conformance.scenario import (
    Author,
    facts,
    listed,
    note,
    numbers,
    opened,
)
from moorage.stores.encryption import EncryptedStore, KeyRing, KeyUnavailable, MemoryVault
from moorage.stores.encryption.sealing import new_key


async def test_tags_are_matched_although_the_store_does_not_know_them() -> None:
    ring, vault, inner = KeyRing.generate("k1"), MemoryVault(), MemoryStore()
    async with opened(lambda: EncryptedStore(inner, ring, vault)) as store:
        for index in range(150):  # more than are opened at once
            author = await Author.of(store, f"s{index:03}")
            await author.write(note(1), info=facts(f"s{index:03}", tags={"odd": str(index % 2)}))

        odd = await listed(store.sessions(tags={"odd": "1"}))
        inside = await listed(inner.sessions(tags={"odd": "1"}))

    assert odd == [f"s{index:03}" for index in range(149, 0, -2)]
    assert inside == []


async def test_a_reader_learns_of_keys_that_came_after_it_was_opened() -> None:
    ring, vault, inner = KeyRing.generate("k1"), MemoryVault(), MemoryStore()
    rotated = KeyRing({**ring._keys, "k2": new_key()}, current="k2")
    async with (
        opened(lambda: EncryptedStore(inner.peer(), ring, vault)) as store,
    ):
        await (await Author.of(store, "a")).write(note(1, "run_submitted", "r1", key="key 1"))
    reading = EncryptedStore(inner.peer(), rotated, vault)
    async with reading.reading() as reader:
        assert await numbers(reader, "a") == [(1, 1)]
        async with opened(lambda: EncryptedStore(inner.peer(), rotated, vault)) as store:
            author = await Author.of(store, "a")
            await author.write(note(2, "run_submitted", "r2", key="key 2"))

            assert await reader.find_key("a", "key 2") == "r2"
            assert await reader.find_key("a", "key 1") == "r1"
            assert await numbers(reader, "a") == [(1, 1), (2, 2)]
            assert await reader.find_key("a", "key 3") is None


async def test_a_session_that_was_written_without_encryption_is_refused() -> None:
    ring, vault, inner = KeyRing.generate("k1"), MemoryVault(), MemoryStore()
    async with opened(lambda: EncryptedStore(inner.peer(), ring, vault)):
        pass
    async with opened(inner.peer) as plain:
        await (await Author.of(plain, "a")).write(note(1))

    async with EncryptedStore(inner.peer(), ring, vault).reading() as reader:
        with pytest.raises(CorruptLog, match="not encrypted"):
            await reader.read("a")
        with pytest.raises(CorruptLog, match="not encrypted: open a plain store without keys"):
            await reader.info("a")


async def test_statistics_are_those_of_the_store_inside() -> None:
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), MemoryVault())
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(1))

        assert store.statistics().inner.events == 1


async def test_a_master_key_that_is_missing_is_named_by_whoever_reads() -> None:
    ring, vault, inner = KeyRing.generate("k1"), MemoryVault(), MemoryStore()
    async with opened(lambda: EncryptedStore(inner.peer(), ring, vault)) as store:
        await (await Author.of(store, "a")).write(note(1))

    async with EncryptedStore(inner.peer(), KeyRing.generate("k2"), vault).reading() as reader:
        for read in (reader.info, reader.read):
            with pytest.raises(KeyUnavailable, match="'k1'"):
                await read("a")
        with pytest.raises(KeyUnavailable, match="'k1'"):
            await listed(reader.sessions())
