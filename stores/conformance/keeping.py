"""What is kept and what is forgotten: restarts, snapshots, named cursors, trim and delete."""

from __future__ import annotations

import contextlib
import functools

import trio
from moorage.runtime.errors import CursorExpired, MoorageError, StaleOwner, UnknownSession
from moorage.runtime.ports import Snapshot, StoreReader

from .scenario import (
    Author,
    Check,
    OpenStore,
    check,
    facts,
    listed,
    note,
    notes,
    numbers,
    opened,
    read_all,
    require,
    require_equal,
    require_refused,
)


@check
async def everything_is_there_after_a_restart(open_store: OpenStore) -> None:
    """What was acknowledged is there after closing and opening, time and again, and the numbering
    goes on."""
    last = 0
    for _ in range(4):
        async with opened(open_store) as store:
            author = await Author.of(store, "a")
            require_equal(author.head_seq, last, "head_seq in the claim after a restart")
            await author.write(*notes(last + 1, last + 3))
            await author.write(note(last + 4), info=facts("a", summary=f"until {last + 4}"))
            last += 4
    async with opened(open_store) as store:
        require_equal(await numbers(store, "a"), [(n, n) for n in range(1, last + 1)], "events")
        info = await store.info("a")
        assert info is not None
        require_equal((info.summary, info.head_seq), (f"until {last}", last), "info")


@check
async def reader_needs_no_owner(open_store: OpenStore) -> None:
    """reading() works while nobody has the store open, and sees everything that was written."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        await store.save_cursor("a", "c", 2)
        await store.save_snapshot(author.claim, Snapshot(3, b"state"))
    async with open_store().reading() as reader:
        require_equal(await numbers(reader, "a"), [(n, n) for n in (1, 2, 3)], "events")
        require_equal(await reader.cursor("a", "c"), 2, "cursor")
        require_equal(await reader.snapshot("a"), Snapshot(3, b"state"), "snapshot")
        require_equal(await listed(reader.sessions()), ["a"], "sessions")


@check
async def snapshot_is_replaced(open_store: OpenStore) -> None:
    """save_snapshot replaces the snapshot, and the last one is there after a restart."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 5))
        require_equal(await store.snapshot("a"), None, "snapshot before the first")
        await store.save_snapshot(author.claim, Snapshot(3, b"three"))
        require_equal(await store.snapshot("a"), Snapshot(3, b"three"), "snapshot")
        await store.save_snapshot(author.claim, Snapshot(5, b"\x00five" * 100))
        require_equal(await store.snapshot("a"), Snapshot(5, b"\x00five" * 100), "snapshot")
    async with opened(open_store) as store:
        claim = await store.claim("a")
        require_equal(claim.snapshot, Snapshot(5, b"\x00five" * 100), "snapshot after a restart")


@check
async def snapshot_is_never_ahead_of_the_head(open_store: OpenStore) -> None:
    """A snapshot's seq is at most the head: one from the future is not kept."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 2))
        with contextlib.suppress(MoorageError):
            await store.save_snapshot(author.claim, Snapshot(3, b"future"))
        require_equal(await store.snapshot("a"), None, "snapshot from the future")
    async with opened(open_store) as store:
        require_equal((await store.claim("a")).snapshot, None, "snapshot after a restart")


@check
async def named_cursors_are_kept(open_store: OpenStore) -> None:
    """A named cursor is durable when save_cursor returns; names are independent, also between
    sessions; an unknown session raises UnknownSession."""
    async with opened(open_store) as store:
        for session_id in ("a", "b"):
            await (await Author.of(store, session_id)).write(*notes(1, 5))
        await store.save_cursor("a", "one", 1)
        await store.save_cursor("a", "two", 5)
        await store.save_cursor("b", "one", 3)
        await store.save_cursor("a", "one", 4)
        require_equal(await store.cursor("a", "one"), 4, "cursor")
        await require_refused(
            UnknownSession, "a cursor of an unknown session", lambda: store.save_cursor("c", "x", 0)
        )
    async with opened(open_store) as store, store.reading() as beside:
        for reader in (store, beside):
            found = [
                await reader.cursor(*name)
                for name in (("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"), ("c", "x"))
            ]
            require_equal(found, [4, 5, 3, None, None], "cursors")


@check
async def named_cursors_are_listed(open_store: OpenStore) -> None:
    """cursors() gives every named cursor of a session where it is, to readers beside too, none of
    a session that does not exist, and none of a former life."""
    async with opened(open_store) as store:
        for session_id in ("a", "b", "gone", "again"):
            author = await Author.of(store, session_id)
            await author.write(*notes(1, 5))
            if session_id in ("gone", "again"):
                await store.save_cursor(session_id, "former", 1)
                await store.delete(author.claim)
        await (await Author.of(store, "again")).write(note(6))
        require_equal(await store.cursors("a"), {}, "cursors before the first")
        names = [f"name {number} \u00e4:*" for number in range(25)]
        for seq, name in enumerate(names):
            await store.save_cursor("a", name, seq % 6)
        await store.save_cursor("a", names[0], 4)
        expected = {name: seq % 6 for seq, name in enumerate(names)} | {names[0]: 4}
        require_equal(await store.cursors("a"), expected, "cursors")
        require_equal(await store.cursors("again"), {}, "cursors of the second life")
    async with opened(open_store) as store, store.reading() as beside:
        await store.save_cursor("a", "late", 5)
        for reader in (store, beside):
            require_equal(await reader.cursors("a"), {**expected, "late": 5}, "cursors")
            for session_id in ("b", "gone", "again", "unknown"):
                require_equal(await reader.cursors(session_id), {}, f"cursors of {session_id!r}")


async def _buried(reader: StoreReader) -> list[tuple[str, int]]:
    found = [tombstone async for tombstone in reader.tombstones()]
    require(len(found) == len(set(found)), "a tombstone was listed twice")
    return sorted(found)


@check
async def deleted_sessions_are_listed(open_store: OpenStore) -> None:
    """tombstones() gives every session that was deleted, with its last seq, to readers beside and
    after a restart too; none that is there, is there again, or was never written."""
    gone = [f"gone {number:02} \u00e4:*" for number in range(12)]
    async with opened(open_store) as store:
        for seq, session_id in enumerate((*gone, "again", "there"), 1):
            author = await Author.of(store, session_id)
            await author.write(*notes(1, seq))
            if session_id != "there":
                await store.delete(author.claim)
        await (await Author.of(store, "again")).write(note(6))
        await store.release(await store.claim("never written"))
        expected = [(session_id, seq) for seq, session_id in enumerate(gone, 1)]
        require_equal(await _buried(store), expected, "tombstones")
    async with opened(open_store) as store, store.reading() as beside:
        again = await store.claim(gone[0])
        require_equal(await _buried(store), expected, "tombstones while one is claimed")
        await store.release(again)
        late = await Author.of(store, "again")
        await store.delete(late.claim)
        for reader in (store, beside):
            require_equal(
                await _buried(reader), sorted([*expected, ("again", late.head_seq)]), "tombstones"
            )


async def _require_trimmed(reader: StoreReader) -> None:
    for after in (0, 4):
        error = await require_refused(
            CursorExpired,
            f"reading after={after}",
            functools.partial(reader.read, "a", after=after),
        )
        require_equal(getattr(error, "oldest_seq", None), 6, "oldest_seq in the error")
    require_equal(await numbers(reader, "a", after=5), [(n, n) for n in range(6, 11)], "events")
    page = await reader.read("a", after=5)
    require_equal((page.oldest_seq, page.head_seq), (6, 10), "oldest_seq and head_seq")
    backwards = await read_all(reader, "a", limit=2, backwards=True)
    require_equal([event.seq for event in backwards], [6, 7, 8, 9, 10], "events read backwards")
    page = await reader.read("a", before=6, backwards=True)
    require_equal(page.events, [], "events before the oldest, backwards")
    of_run = await read_all(reader, "a", after=5, run_id="kept")
    require_equal([event.seq for event in of_run], [6, 8], "events of a run that is kept")
    require_equal(await reader.find_run("a", "trimmed"), None, "a run that was trimmed away")
    run = await reader.find_run("a", "kept")
    require(run is not None and run.ended is not None, "a run behind the trim was not found")
    require_equal(await reader.find_key("a", "k2"), "kept", "key of a run behind the trim")
    require(
        await reader.find_key("a", "k1") in (None, "trimmed"), "a trimmed key gives another run"
    )


@check
async def trimmed_events_are_gone(open_store: OpenStore) -> None:
    """After trim(before) reading from below raises CursorExpired with the oldest seq; the rest,
    its runs and keys stay; backwards reading ends at the oldest; the numbering goes on. All of it
    after a restart too."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1), note(2, "run_submitted", "trimmed", key="k1"), note(3))
        await author.write(note(4, "run_completed", "trimmed"), note(5))
        await author.write(note(6, "run_submitted", "kept", key="k2"), note(7))
        await author.write(note(8, "run_completed", "kept"), note(9), note(10))
        await store.trim(author.claim, 3)
        await store.trim(author.claim, 6)
        await store.trim(author.claim, 2)  # that is gone already
        await _require_trimmed(store)
    async with opened(open_store) as store, store.reading() as beside:
        require_equal((await store.claim("a")).oldest_seq, 6, "oldest_seq in the claim")
        await _require_trimmed(store)
        await _require_trimmed(beside)


@check
async def run_is_unknown_without_its_request(open_store: OpenStore) -> None:
    """A run whose request was trimmed away is unknown, also when more of its events come."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r1", key="k"))
        await store.trim(author.claim, 2)
        await author.write(note(2, "message_sent", "r1"), note(3, "run_completed", "r1"))
        require_equal(await store.find_run("a", "r1"), None, "a run without its request")
    async with opened(open_store) as store:
        require_equal(await store.find_run("a", "r1"), None, "the same after a restart")


@check
async def trims_at_the_same_time_only_go_up(open_store: OpenStore) -> None:
    """Of trims that are on their way together the one that goes furthest counts, in whatever order
    they come."""
    async with opened(open_store) as store:
        for session_id, trims in (("a", (6, 9)), ("b", (9, 6))):
            author = await Author.of(store, session_id)
            await author.write(*notes(1, 10))
            async with trio.open_nursery() as nursery:
                for before in trims:
                    nursery.start_soon(store.trim, author.claim, before)
    async with opened(open_store) as store:
        for session_id in ("a", "b"):
            page = await store.read(session_id, backwards=True)
            require_equal(page.oldest_seq, 9, "oldest_seq")
            require_equal([event.seq for event in page.events], [9, 10], "events that are left")


@check
async def everything_may_be_trimmed(open_store: OpenStore) -> None:
    """trim(head + 1) leaves an empty session that keeps its head, its info and its numbering."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 4), info=facts("a", summary="kept"))
        await store.trim(author.claim, 5)
        page = await store.read("a", after=4)
        require_equal((page.events, page.head_seq, page.oldest_seq), ([], 4, 5), "empty page")
    async with opened(open_store) as store:
        info = await store.info("a")
        assert info is not None
        require_equal((info.head_seq, info.summary), (4, "kept"), "info")
        author = await Author.of(store, "a")
        require_equal((author.head_seq, author.claim.oldest_seq), (4, 5), "claim")
        await author.write(note(5))
        require_equal(await numbers(store, "a", after=4), [(5, 5)], "events")


async def _write_a_life(author: Author, run_id: str) -> None:
    await author.write(
        note(1, "run_submitted", run_id, key="k"), note(2, "run_completed", run_id), note(3)
    )
    await author.store.save_cursor("a", "c", 2)
    await author.store.save_snapshot(author.claim, Snapshot(author.head_seq, b"state"))


async def _require_unknown(reader: StoreReader) -> None:
    await require_refused(UnknownSession, "reading a deleted session", lambda: reader.read("a"))
    require_equal(await reader.info("a"), None, "info of a deleted session")
    require_equal(await reader.find_run("a", "r1"), None, "a run of a deleted session")
    require_equal(await reader.find_key("a", "k"), None, "a key of a deleted session")
    require_equal(await reader.cursor("a", "c"), None, "a cursor of a deleted session")
    require_equal(await reader.snapshot("a"), None, "the snapshot of a deleted session")
    require_equal(await listed(reader.sessions()), ["b"], "sessions")


@check
async def deleted_session_is_unknown(open_store: OpenStore) -> None:
    """After a delete the session, its events, runs, keys, cursors and snapshot are gone, also
    after a restart; other sessions are untouched and the claim is over."""
    async with opened(open_store) as store:
        await (await Author.of(store, "b")).write(note(1))
        author = await Author.of(store, "a")
        await _write_a_life(author, "r1")
        await store.delete(author.claim)
        await _require_unknown(store)
        append = functools.partial(
            store.append, author.claim, expected_seq=4, records=[note(4)], info=facts("a")
        )
        await require_refused(StaleOwner, "an append after the delete", append)
        await store.delete(await store.claim("a"))  # deleting twice is fine
        await store.delete(await store.claim("never existed"))
    async with opened(open_store) as store, store.reading() as beside:
        await _require_unknown(store)
        await _require_unknown(beside)
        require_equal(await numbers(store, "b"), [(1, 1)], "events of another session")


async def _require_second_life(reader: StoreReader) -> None:
    require_equal(await numbers(reader, "a", after=3), [(4, 14), (5, 15)], "events")
    error = await require_refused(
        CursorExpired, "reading the former life", lambda: reader.read("a", after=0)
    )
    require_equal(getattr(error, "oldest_seq", None), 4, "oldest_seq in the error")
    require_equal(await reader.find_run("a", "r1"), None, "a run of the former life")
    require_equal(await reader.find_key("a", "k"), None, "a key of the former life")
    require_equal(await reader.cursor("a", "c"), None, "a cursor of the former life")
    require_equal(await reader.snapshot("a"), None, "the snapshot of the former life")


@check
async def deleted_id_continues_above_its_last_seq(open_store: OpenStore) -> None:
    """A tombstone keeps the last seq: the id, used again, continues above it, also when there was
    a restart in between, and finds nothing of its former life."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await _write_a_life(author, "r1")
        await store.delete(author.claim)
    async with opened(open_store) as store:
        claim = await store.claim("a")
        require_equal(
            (claim.head_seq, claim.oldest_seq, claim.info, claim.snapshot),
            (3, 4, None, None),
            "claim of a deleted id",
        )
        await Author(store, claim).write(note(14), note(15))
        await _require_second_life(store)
    async with opened(open_store) as store, store.reading() as beside:
        await _require_second_life(store)
        await _require_second_life(beside)


@check
async def tombstone_outlives_a_second_delete(open_store: OpenStore) -> None:
    """Delete, use again, delete again, at once and with a restart: the seq only goes up."""
    async with opened(open_store) as store:
        for last in (2, 4):
            author = await Author.of(store, "a")
            await author.write(note(1), note(2))
            require_equal(author.head_seq, last, "head after writing again")
            await store.delete(author.claim)
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        require_equal(author.head_seq, 4, "head_seq of a twice deleted id")
        await author.write(note(5))
        require_equal(await numbers(store, "a", after=4), [(5, 5)], "events")


KEEPING: tuple[Check, ...] = (
    everything_is_there_after_a_restart,
    reader_needs_no_owner,
    snapshot_is_replaced,
    snapshot_is_never_ahead_of_the_head,
    named_cursors_are_kept,
    named_cursors_are_listed,
    deleted_sessions_are_listed,
    trimmed_events_are_gone,
    run_is_unknown_without_its_request,
    trims_at_the_same_time_only_go_up,
    everything_may_be_trimmed,
    deleted_session_is_unknown,
    deleted_id_continues_above_its_last_seq,
    tombstone_outlives_a_second_delete,
)
