"""An encrypted store keeps every promise of the port, and its content to itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionState
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.broken.flaws import content_of
from moorage.stores.conformance import CHECKS, Content
from moorage.stores.conformance.failing import FAILING
from moorage.stores.conformance.scenario import (
    Author,
    facts,
    listed,
    note,
    numbers,
    opened,
)
from moorage.stores.encryption import (
    EncryptedStore,
    FileVault,
    KeyRing,
    KeyUnavailable,
    MemoryVault,
)
from moorage.stores.encryption.sealing import new_key
from moorage.stores.faults import Fault, FaultyStore
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime import RunContext, RunRequest
    from moorage.stores.conformance import Check, OpenStore
    from trio.testing import MockClock

SECRET = "a secret of somebody"

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def encrypted(content: Content) -> Content:
    """The same content, seen through an encrypted store."""
    ring, vault = KeyRing.generate("k1"), MemoryVault()

    def over(open_store: OpenStore) -> OpenStore:
        return lambda: EncryptedStore(open_store(), ring, vault)

    crash = content.after_crash
    return Content(
        over(content.open_store),
        None if crash is None else lambda: over(crash()),
        content.fail_next,
    )


@every_check
async def test_over_a_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(encrypted(content_of(FaultyStore)))


@every_check
async def test_over_a_memory_store_with_leases(check: Check, autojump_clock: MockClock) -> None:
    await check(encrypted(Content(MemoryStore(lease_seconds=10.0).peer)))


@every_check
async def test_over_a_journal(check: Check, tmp_path: Path) -> None:
    ring, vault = KeyRing.generate("k1"), FileVault(tmp_path / "keys")

    await check(lambda: EncryptedStore(JournalStore(tmp_path / "journal"), ring, vault))


@pytest.mark.parametrize("check", FAILING, ids=lambda check: check.__name__)
async def test_over_a_journal_on_a_disk_that_fails(check: Check) -> None:
    disk = SimulatedDisk()
    operations = {Fault.NOT_WRITTEN: "write", Fault.POISON: "sync"}

    def crashed() -> OpenStore:
        found = disk.crashed(lambda outcomes: min(1, outcomes - 1))
        return partial(JournalStore, Path("/journal"), disk=found)

    journal = Content(
        partial(JournalStore, Path("/journal"), disk=disk),
        crashed,
        lambda fault: disk.fail(operations[fault], 1),
    )
    await check(encrypted(journal))


def written_files(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def test_nothing_that_people_wrote_is_in_the_files(tmp_path: Path) -> None:
    async def agent(request: object, context: RunContext) -> object:
        await context.emit("message_sent", {"text": SECRET}, metadata={"m": SECRET})
        return SECRET

    store = EncryptedStore(
        JournalStore(tmp_path / "journal"), KeyRing.generate("k1"), FileVault(tmp_path / "keys")
    )
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("a", tags={"t": SECRET}, metadata={"m": SECRET})
        run = await session.submit({"text": SECRET}, key=f"key {SECRET}", metadata={"m": SECRET})
        assert (await run.wait()).unwrap() == SECRET
        await session.close(reason=SECRET)

    files = written_files(tmp_path)
    assert sum(map(len, files)) > 1_000
    assert not any(SECRET.encode() in content for content in files)


async def test_a_conversation_goes_on_after_a_restart_and_a_rotation(tmp_path: Path) -> None:
    async def agent(request: RunRequest, context: object) -> object:
        return request.input

    ring = KeyRing.generate("k1")
    rotated = KeyRing({**ring._keys, "k2": new_key()}, current="k2")
    outcomes = []
    for number, keys in enumerate((ring, rotated, rotated)):
        store = EncryptedStore(
            JournalStore(tmp_path / "journal"), keys, FileVault(tmp_path / "keys")
        )
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("a")
            await session.submit(number, key=f"key {number}")
            for again in range(number + 1):
                run = await session.submit(again, key=f"key {again}")
                outcomes.append((await run.wait()).unwrap())
    wrapped = (await FileVault(tmp_path / "keys").load(["a"]))["a"]

    assert outcomes == [0, 0, 1, 0, 1, 2]
    assert len(wrapped) == 2


async def test_a_store_that_is_opened_without_its_keys_refuses_and_harms_nothing() -> None:
    async def agent(request: object, context: object) -> object:
        return "done"

    inner = MemoryStore()
    store = EncryptedStore(inner, KeyRing.generate("k1"), MemoryVault())
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("a")
        await session.pause()
        run = await session.submit("work")

    async with open_supervisor(inner, agent) as supervisor:
        with pytest.raises(StoreFailed, match="'a' is encrypted: open the store with its keys"):
            await supervisor.session("a")
        with pytest.raises(StoreFailed, match="is encrypted"):
            await supervisor.handle("a").submit("more")
        with pytest.raises(StoreFailed, match="is encrypted"):
            await supervisor.handle("a").status()
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("a")
        await session.resume()

        assert (await session.wait(run.id)).unwrap() == "done"


async def test_a_ring_with_another_key_is_refused_at_opening() -> None:
    vault, inner = MemoryVault(), MemoryStore()
    async with opened(lambda: EncryptedStore(inner.peer(), KeyRing.generate("k1"), vault)):
        pass

    wrong = EncryptedStore(inner.peer(), KeyRing.generate("k1"), vault)
    with pytest.raises(KeyUnavailable, match=r"'k1'.*another key"):
        async with opened(lambda: wrong):
            pass
    with pytest.raises(KeyUnavailable, match=r"'k1'.*another key"):
        async with wrong.reading():
            pass


async def test_a_new_vault_beside_a_store_with_sessions_is_refused_at_opening() -> None:
    ring, inner = KeyRing.generate("k1"), MemoryStore()
    async with opened(lambda: EncryptedStore(inner.peer(), ring, MemoryVault())) as store:
        await (await Author.of(store, "a")).write(note(1))

    store = EncryptedStore(inner.peer(), ring, MemoryVault())
    with pytest.raises(KeyUnavailable, match=r"'a' for one.*is it the right one\?"):
        async with opened(lambda: store):
            pass
    with pytest.raises(KeyUnavailable, match="is it the right one"):
        async with store.reading():
            pass


async def test_a_deleted_session_cannot_be_read_in_a_backup() -> None:
    content = content_of(MemoryStore)
    assert content.after_crash is not None
    ring, vault = KeyRing.generate("k1"), MemoryVault()
    async with opened(lambda: EncryptedStore(content(), ring, vault)) as store:
        for session_id in ("a", "b"):
            author = await Author.of(store, session_id)
            await author.write(note(1, "run_submitted", "r1"), info=facts(session_id, summary="s"))
            await store.save_snapshot(author.claim, Snapshot(1, b"state"))
        backup = content.after_crash()
        await store.delete((await Author.of(store, "a")).claim)

    restored = EncryptedStore(backup(), ring, vault)
    async with opened(lambda: restored) as store:
        for read in (
            lambda: store.read("a"),
            lambda: store.find_run("a", "r1"),
            lambda: store.snapshot("a"),
        ):
            with pytest.raises(KeyUnavailable, match=r"of session 'a'.*destroyed"):
                await read()
        assert sorted(await listed(store.sessions())) == ["a", "b"]
        assert await numbers(store, "b") == [(1, 1)]
        author = await Author.of(store, "a")
        assert author.claim.info is not None
        assert author.claim.info.state is SessionState.QUARANTINED
        assert author.claim.snapshot is None
        with pytest.raises(KeyUnavailable):
            await author.write(note(2))
        await store.delete(author.claim)
        assert await listed(store.sessions()) == ["b"]


async def test_a_supervisor_opens_although_the_key_of_a_session_with_work_was_destroyed() -> None:
    async def agent(request: object, context: object) -> object:
        return "done"

    inner = MemoryStore()
    store = EncryptedStore(inner, KeyRing.generate("k1"), MemoryVault())
    async with open_supervisor(store, agent) as supervisor:
        for session_id in ("a", "b"):
            session = await supervisor.session(session_id)
            await session.pause()
            await session.submit("work")
    async with opened(lambda: store):
        await store.destroy_key("a")

    async with open_supervisor(store, agent) as supervisor:
        infos = {info.id: info async for info in supervisor.sessions()}
        with pytest.raises(KeyUnavailable):
            await supervisor.handle("a").events()
        await store.delete(await store.claim("a"))
        left = [info.id async for info in supervisor.sessions()]

    assert infos["a"].state is SessionState.QUARANTINED
    assert infos["b"].state is SessionState.PAUSED
    assert left == ["b"]


async def test_a_destroyed_key_stops_the_session_that_is_written_at_the_time() -> None:
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), MemoryVault())
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        await store.destroy_key("a")

        with pytest.raises(KeyUnavailable, match="'a'"):
            await author.write(note(2))


async def test_a_claim_of_a_deleted_session_is_stale() -> None:
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), MemoryVault())
    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        await store.delete(author.claim)

        with pytest.raises(StaleOwner, match="deleted"):
            await author.write(note(2))


class StuckVault(MemoryVault):
    """Forgets nothing while it is stuck."""

    stuck = False

    async def remove(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        if self.stuck:
            raise StoreFailed("the vault is stuck")
        await super().remove(session_id, wrapped)


class SlowVault(MemoryVault):
    """Gives another owner the time to begin the session anew before it forgets."""

    async def meanwhile(self) -> None: ...

    async def remove(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        await self.meanwhile()
        await super().remove(session_id, wrapped)


async def test_a_deletion_takes_no_key_of_what_begins_anew_meanwhile() -> None:
    vault = SlowVault()
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), vault)

    async def begin_anew() -> None:
        vault.meanwhile = lets_go  # type: ignore[method-assign]
        await (await Author.of(store, "a")).write(note(2))

    async def lets_go() -> None: ...

    async with opened(lambda: store):
        author = await Author.of(store, "a")
        await author.write(note(1))
        vault.meanwhile = begin_anew  # type: ignore[method-assign]
        await store.delete(author.claim)

        assert await numbers(store, "a", after=1) == [(2, 2)]
        assert len((await vault.load(["a"]))["a"]) == 1


async def test_a_key_that_could_not_be_destroyed_is_told_and_swept_later() -> None:
    vault = StuckVault()
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), vault)
    async with opened(lambda: store):
        for session_id in ("a", "b"):
            await (await Author.of(store, session_id)).write(note(1))
        vault.stuck = True
        with pytest.raises(StoreFailed, match="'a' is deleted, and its key is still in the vault"):
            await store.delete(await store.claim("a"))
        vault.stuck = False

        swept = await store.sweep_keys(older_than_seconds=0)

        assert swept == ["a"]
        assert sorted(await vault.load(["a", "b"])) == ["b"]
        assert await store.sweep_keys(older_than_seconds=0) == []


async def test_keys_that_a_crash_left_go_when_the_session_begins_anew() -> None:
    vault = StuckVault()
    store = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), vault)
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(1))
        (former,) = (await vault.load(["a"]))["a"]
        vault.stuck = True
        with pytest.raises(StoreFailed):
            await store.delete(await store.claim("a"))
        vault.stuck = False

        await (await Author.of(store, "a")).write(note(2))

        assert await numbers(store, "a", after=1) == [(2, 2)]
        assert former not in (await vault.load(["a"]))["a"]


async def test_a_claim_that_fails_for_want_of_a_key_leaves_the_session_free() -> None:
    vault, inner = MemoryVault(), MemoryStore(lease_seconds=100)
    ring = KeyRing.generate("k1")
    async with opened(lambda: EncryptedStore(inner.peer(), ring, vault)) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        await store.release(author.claim)
        async with opened(
            lambda: EncryptedStore(inner.peer(), KeyRing.generate("k2"), vault)
        ) as other:
            with pytest.raises(KeyUnavailable, match="'k1'"):
                await other.claim("a")

        with trio.fail_after(60):
            await (await Author.of(store, "a")).write(note(2))


async def test_keys_must_be_a_ring() -> None:
    with pytest.raises(InvalidArgument, match="KeyRing"):
        EncryptedStore(MemoryStore(), {"k": b"x" * 32}, MemoryVault())  # type: ignore[arg-type]
