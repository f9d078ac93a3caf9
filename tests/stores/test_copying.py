"""A copy has everything in its place, goes on where it was cut off, and overwrites nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument, StoreFailed, UnknownSession
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionInfo, SessionState
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.comparing import difference, first_seq
from moorage.stores.conformance.scenario import Author, facts, note, notes, numbers, opened
from moorage.stores.copying import MARK, copy_sessions, record_of
from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault
from moorage.stores.faults import Fault, FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from moorage.runtime.ports import Store
    from moorage.stores.conformance import OpenStore
    from trio.testing import MockClock

KINDS = ["memory", "journal", "encrypted", "leased"]


@pytest.fixture
def new_store(tmp_path: Path) -> Callable[[str], OpenStore]:
    count = iter(range(100))

    def new(kind: str) -> OpenStore:
        if kind == "journal":
            return partial(JournalStore, tmp_path / f"journal{next(count)}")
        memory = MemoryStore(lease_seconds=30.0 if kind == "leased" else None)
        if kind == "encrypted":
            ring, vault = KeyRing.generate("k"), MemoryVault()
            return lambda: EncryptedStore(memory.peer(), ring, vault)
        return memory.peer

    return new


async def fill(store: Store) -> None:
    """Sessions of every history: short, long, closed, trimmed, wholly trimmed, deleted, anew."""
    author = await Author.of(store, "plain")
    await author.write(
        note(1, "session_opened"),
        note(2, "run_submitted", "r1", key="key 1", data={"key": "key 1", "input": b"\x00"}),
        note(3, "run_completed", "r1", metadata={"m": [None, 1.5]}),
        info=facts("plain", tags={"t": "v"}, metadata={"m": {"x": 1}}, summary="first words"),
    )
    await store.save_cursor("plain", "reader", 2)
    author = await Author.of(store, "long")
    await author.write(*notes(1, 2_500), info=facts("long", runs={"queued": 1}))
    await store.save_snapshot(author.claim, Snapshot(2_000, b"state"))
    author = await Author.of(store, "trimmed")
    await author.write(*notes(1, 50), info=facts("trimmed", state=SessionState.PAUSED))
    await store.save_snapshot(author.claim, Snapshot(45, b"state at 45"))
    await store.trim(author.claim, 40)
    author = await Author.of(store, "empty")
    await author.write(*notes(1, 5), info=facts("empty", state=SessionState.CLOSED, slots=7))
    await store.save_snapshot(author.claim, Snapshot(5, b"all of it"))
    await store.trim(author.claim, 6)
    for session_id in ("deleted", "anew"):
        author = await Author.of(store, session_id)
        await author.write(*notes(1, 7))
        await store.delete(author.claim)
    await (await Author.of(store, "anew")).write(*notes(8, 9))


async def infos(store: Any) -> list[SessionInfo]:
    return [info async for info in store.sessions()]


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("source", ["memory", "journal", "encrypted"])
async def test_everything_is_the_same_afterwards(
    new_store: Callable[[str], OpenStore], source: str, to: str
) -> None:
    open_source, open_target = new_store(source), new_store(to)
    async with opened(open_source) as one:
        await fill(one)
    async with open_source().reading() as one, opened(open_target) as other:
        report = await copy_sessions(one, other)
        again = await copy_sessions(one, other)

        assert report.problems == again.problems == ()
        assert (report.sessions, report.sessions_there) == (5, 0)
        assert (again.sessions, again.sessions_there, again.events) == (0, 5, 0)
        assert (report.cursors, report.tombstones) == (1, 1)
        assert await infos(one) == await infos(other)
        for info in await infos(one):
            assert await difference(one, other, info) is None
        assert await other.find_key("plain", "key 1") == "r1"
        assert [await first_seq(other, id) for id in ("trimmed", "empty", "anew")] == [40, 6, 8]
        assert (await other.claim("deleted")).head_seq == 7
    async with opened(open_target) as other:
        assert [info.id for info in await infos(other)] == [
            "anew",
            "empty",
            "trimmed",
            "long",
            "plain",
        ]


@pytest.mark.parametrize("cut_at", range(1, 14))
async def test_a_copy_that_was_cut_off_goes_on(
    new_store: Callable[[str], OpenStore], cut_at: int
) -> None:
    open_source = new_store("memory")
    target = MemoryStore()
    async with opened(open_source) as one:
        await fill(one)
    async with open_source().reading() as one:
        cut = FaultyStore(target.peer(), {cut_at: Fault.UNKNOWN_WRITTEN})
        async with opened(lambda: cut):
            try:
                await copy_sessions(one, cut)
            except StoreFailed:
                there = await infos(cut)
                half = [info for info in there if MARK in info.metadata]
                assert all(info.state is SessionState.QUARANTINED for info in half)
                assert not any(info.needs_worker for info in half)
                for info in there:
                    assert info in half or info == await one.info(info.id)
        async with opened(target.peer) as other:
            report = await copy_sessions(one, other)

            assert report.problems == ()
            assert report.sessions + report.sessions_there == 5
            for info in await infos(one):
                assert await difference(one, other, info) is None


async def test_a_session_that_has_grown_is_continued(
    new_store: Callable[[str], OpenStore],
) -> None:
    async with opened(new_store("memory")) as one, opened(new_store("journal")) as other:
        author = await Author.of(one, "a")
        await author.write(*notes(1, 10), info=facts("a", summary="before"))
        await copy_sessions(one, other)
        await author.write(*notes(11, 30), info=facts("a", summary="after"))
        await one.trim(author.claim, 5)

        report = await copy_sessions(one, other)

        assert (report.sessions, report.events, report.problems) == (1, 20, ())
        assert await numbers(other, "a", after=4) == [(n, n) for n in range(5, 31)]
        assert await first_seq(other, "a") == 5


@pytest.mark.parametrize("what", ["another event", "more events", "another info", "higher seqs"])
async def test_what_the_target_has_under_the_id_is_left_alone(
    new_store: Callable[[str], OpenStore], what: str
) -> None:
    async with opened(new_store("memory")) as one, opened(new_store("memory")) as other:
        for session_id in ("a", "b"):
            await (await Author.of(one, session_id)).write(*notes(1, 3))
        author = await Author.of(other, "a")
        if what == "another event":
            await author.write(note(1), note(99))
        elif what == "more events":
            await author.write(*notes(1, 4))
        elif what == "another info":
            await author.write(*notes(1, 3), info=facts("a", summary="another"))
        else:
            await author.write(*notes(1, 3))
            await other.delete(author.claim)
        before = await other.info("a")

        report = await copy_sessions(one, other)

        assert [problem.session_id for problem in report.problems] == ["a"]
        assert report.sessions == 1
        assert await other.info("a") == before
        assert await numbers(other, "b") == [(1, 1), (2, 2), (3, 3)]


async def test_named_sessions_or_a_prefix_are_copied_alone(
    new_store: Callable[[str], OpenStore],
) -> None:
    async with opened(new_store("memory")) as one, opened(new_store("memory")) as other:
        for session_id in ("a1", "a2", "b1", "b2"):
            await (await Author.of(one, session_id)).write(note(1))
        told: list[tuple[str, int]] = []

        await copy_sessions(one, other, prefix="a", told=lambda *facts: told.append(facts))
        await copy_sessions(one, other, session_ids=["b2", "b2"])

        assert told == [("a1", 1), ("a2", 1)]
        assert sorted(info.id for info in await infos(other)) == ["a1", "a2", "b2"]
        with pytest.raises(UnknownSession):
            await copy_sessions(one, other, session_ids=["unknown"])
        with pytest.raises(InvalidArgument, match="not both"):
            await copy_sessions(one, other, session_ids=["a1"], prefix="a")


async def test_sessions_without_a_key_are_told_and_the_others_are_copied() -> None:
    store, other = (
        EncryptedStore(MemoryStore(), KeyRing.generate("k"), MemoryVault()),
        MemoryStore(),
    )
    async with opened(lambda: store), opened(lambda: other):
        for session_id in ("a", "b"):
            await (await Author.of(store, session_id)).write(note(1))
        await store.destroy_key("a")

        report = await copy_sessions(store, other)

        assert [problem.session_id for problem in report.problems] == ["a"]
        assert "destroyed" in report.problems[0].reason
        assert [info.id for info in await infos(other)] == ["b"]


async def test_what_is_encrypted_is_not_copied_without_its_keys() -> None:
    inner, other = MemoryStore(), MemoryStore()
    async with opened(lambda: EncryptedStore(inner, KeyRing.generate("k"), MemoryVault())) as store:
        await (await Author.of(store, "a")).write(note(1))
    async with opened(lambda: inner), opened(lambda: other):
        report = await copy_sessions(inner, other)

        assert [problem.reason for problem in report.problems] == [
            "it is encrypted: open the source with its keys"
        ]
        assert await infos(other) == []


async def test_a_tombstone_does_not_delete_what_is_in_the_target(
    new_store: Callable[[str], OpenStore],
) -> None:
    async with opened(new_store("memory")) as one, opened(new_store("memory")) as other:
        author = await Author.of(one, "a")
        await author.write(note(1))
        await one.delete(author.claim)
        await (await Author.of(other, "a")).write(note(5))

        report = await copy_sessions(one, other)

        assert "was deleted in the source" in report.problems[0].reason
        assert await numbers(other, "a") == [(1, 5)]


class Damaging(MemoryStore):
    """Loses what is in an event on the way."""

    async def append(
        self, claim: Any, *, expected_seq: int, records: Any, info: Any = None
    ) -> None:
        records = [note(0) if record.type == "x" else record for record in records]
        await super().append(claim, expected_seq=expected_seq, records=records, info=info)


async def test_what_is_not_the_same_afterwards_is_told() -> None:
    one, other = MemoryStore(), Damaging()
    async with opened(lambda: one), opened(lambda: other):
        await (await Author.of(one, "a")).write(note(1), note(2, "x"), note(3))

        report = await copy_sessions(one, other)

    assert [problem.reason for problem in report.problems] == [
        "after copying, its event at seq 2 is another one"
    ]


class Growing(MemoryStore):
    """Grows whenever it is read from."""

    author: Author | None = None

    async def snapshot(self, session_id: str) -> Snapshot | None:
        if self.author is not None:
            author, self.author = self.author, None
            await author.write(*notes(4, 6))
        return await super().snapshot(session_id)


async def test_a_session_that_grows_meanwhile_is_copied_as_it_was_at_one_moment() -> None:
    one, other = Growing(), MemoryStore()
    async with opened(lambda: one), opened(lambda: other):
        author = await Author.of(one, "a")
        await author.write(*notes(1, 3))
        one.author = author

        report = await copy_sessions(one, other)

        assert report.problems == ()
        assert len(await numbers(other, "a")) in (3, 6)


async def test_work_that_was_queued_in_the_source_is_done_in_the_target() -> None:
    async def agent(request: Any, context: Any) -> object:
        return f"did {request.input}"

    one, other = MemoryStore(), MemoryStore()
    async with open_supervisor(one, agent) as supervisor:
        session = await supervisor.session("a")
        await session.pause()
        run = await session.submit("the work", key="once")
    async with opened(lambda: one), opened(lambda: other):
        assert (await copy_sessions(one, other)).problems == ()
    async with open_supervisor(other, agent) as supervisor:
        session = await supervisor.session("a")
        await session.resume()
        again = await session.submit("the work", key="once")

        assert again.id == run.id
        assert (await again.wait()).unwrap() == "did the work"


@pytest.fixture
async def one_event() -> AsyncIterator[Any]:
    store = MemoryStore()
    async with opened(lambda: store):
        record = note(1, "run_submitted", "r", key="k", data={"key": "k"}, metadata={"m": 1})
        await (await Author.of(store, "a")).write(record)
        yield record, (await store.read("a")).events[0]


async def test_a_record_of_an_event_is_the_record_that_it_was(one_event: Any) -> None:
    record, event = one_event

    assert record_of(event) == record


async def test_what_a_dead_process_holds_in_the_target_is_waited_for_and_no_longer(
    autojump_clock: MockClock,
) -> None:
    one, target = MemoryStore(), MemoryStore(lease_seconds=10)
    dead, live = target.peer(), target.peer()
    async with opened(lambda: one), opened(lambda: target), opened(lambda: dead):
        for session_id in ("a", "b"):
            await (await Author.of(one, session_id)).write(note(1))
        await dead.claim("a")
        async with opened(lambda: live), trio.open_nursery() as nursery:
            claim = await live.claim("b")

            async def renew() -> None:
                while True:
                    await trio.sleep(1)
                    await live.renew([claim])

            nursery.start_soon(renew)
            begin = trio.current_time()
            report = await copy_sessions(one, target)
            nursery.cancel_scope.cancel()

    assert [problem.session_id for problem in report.problems] == ["b"]
    assert "held" in report.problems[0].reason
    assert (report.sessions, trio.current_time() - begin < 15) == (1, True)
