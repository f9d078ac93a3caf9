"""Reads: pages from any cursor in both directions, runs and keys, listings."""

from __future__ import annotations

import itertools

import attrs
import trio
from moorage.runtime.errors import UnknownSession
from moorage.runtime.sessions import SessionState

from .scenario import (
    Author,
    Check,
    Follower,
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

_MIXTURE = [
    note(1, "session_opened"),
    note(2, "message_received", "r1"),
    note(3, "message_sent", "r1"),
    note(4, "message_received", "r2"),
    note(5, "message_received", "r1"),
    note(6, "message_sent", "r2"),
    note(7, "message_sent"),
    note(8, "message_received"),
    note(9, "tool_call_started", "r1"),
    note(10, "message_sent", "r1"),
]
"""Types and runs that alternate; the same for each session that is written with it."""


async def _write_mixture(author: Author) -> None:
    await author.write(*_MIXTURE[:1])
    await author.write(*_MIXTURE[1:6])
    await author.write(*_MIXTURE[6:])


@check
async def unknown_session_is_unknown_everywhere(open_store: OpenStore) -> None:
    """Reading a session that does not exist raises UnknownSession; its info, snapshot, runs, keys
    and cursors are None."""
    async with opened(open_store) as store, store.reading() as beside:
        await (await Author.of(store, "b")).write(note(1))
        await store.claim("claimed")
        for reader in (store, beside):
            for session_id in ("a", "claimed"):
                await require_refused(
                    UnknownSession,
                    "reading an unknown session",
                    lambda: reader.read(session_id),  # noqa: B023
                )
                await require_refused(
                    UnknownSession,
                    "reading an unknown session backwards",
                    lambda: reader.read(session_id, backwards=True),  # noqa: B023
                )
                require_equal(await reader.info(session_id), None, "info")
                require_equal(await reader.snapshot(session_id), None, "snapshot")
                require_equal(await reader.find_run(session_id, "r"), None, "run")
                require_equal(await reader.find_key(session_id, "k"), None, "key")
                require_equal(await reader.cursor(session_id, "c"), None, "cursor")
            require_equal(await listed(reader.sessions()), ["b"], "sessions")


@check
async def page_tells_where_it_stands(open_store: OpenStore) -> None:
    """A page has the head, the oldest seq, whether the session is closed, and how far it scanned;
    from the head on it is empty."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 6))
        page = await store.read("a")
        require_equal(
            (len(page.events), page.scanned_to, page.head_seq, page.oldest_seq, page.closed),
            (6, 6, 6, 1, False),
            "page of everything",
        )
        page = await store.read("a", after=1, limit=3)
        require_equal([event.seq for event in page.events], [2, 3, 4], "seqs in a page")
        require_equal((page.scanned_to, page.head_seq), (4, 6), "scanned_to and head_seq")
        page = await store.read("a", before=6, limit=3, backwards=True)
        require_equal([event.seq for event in page.events], [3, 4, 5], "seqs backwards")
        require_equal((page.scanned_to, page.head_seq), (3, 6), "scanned_to and head_seq")
        page = await store.read("a", after=6)
        require_equal((page.events, page.head_seq), ([], 6), "page from the head")
        require(page.scanned_to >= 6, f"from the head scanned_to is {page.scanned_to}")

        await author.write(note(7), info=facts("a", state=SessionState.CLOSED))
        require_equal((await store.read("a")).closed, True, "closed")
        await author.write(note(8), info=facts("a"))
        require_equal((await store.read("a")).closed, False, "closed after reopening")


async def _check_combinations(open_store: OpenStore, *, backwards: bool) -> None:
    async with opened(open_store) as store, store.reading() as beside:
        for session_id in ("a", "b"):
            await _write_mixture(await Author.of(store, session_id))
        for after, before, limit, types, run_id in itertools.product(
            (0, 3, 10),
            (None, 1, 9, 11),
            (2, 1_000),
            (None, frozenset({"message_sent"}), frozenset({"message_received", "session_opened"})),
            (None, "r1", "unknown"),
        ):
            expected = [
                seq
                for seq, record in enumerate(_MIXTURE, 1)
                if after < seq < (before or 11)
                and (types is None or record.type in types)
                and (run_id is None or record.run_id == run_id)
            ]
            reader = beside if limit == 2 else store
            events = await read_all(
                reader,
                "a",
                after=after,
                before=before,
                limit=limit,
                types=types,
                run_id=run_id,
                backwards=backwards,
            )
            what = f"{after=} {before=} {limit=} {types=} {run_id=} {backwards=}"
            require_equal([event.seq for event in events], expected, f"seqs for {what}")
            require_equal([e.data["number"] for e in events], expected, f"numbers for {what}")


@check
async def forward_pages_hold_what_was_asked_for(open_store: OpenStore) -> None:
    """Paging forwards gives, for any after, before, limit, types and run_id, exactly the matching
    events in order."""
    await _check_combinations(open_store, backwards=False)


@check
async def backward_pages_hold_what_was_asked_for(open_store: OpenStore) -> None:
    """Paging backwards gives the last matching events of the range first, each page ascending."""
    await _check_combinations(open_store, backwards=True)


@check
async def backward_page_is_the_end_of_the_range(open_store: OpenStore) -> None:
    """Read backwards, one page has the last matching events, ascending."""
    async with opened(open_store) as store:
        await _write_mixture(await Author.of(store, "a"))
        sent = frozenset({"message_sent"})
        last_three = (await store.read("a", limit=3, backwards=True)).events
        last_two_sent = (await store.read("a", limit=2, types=sent, backwards=True)).events
        of_run = (await store.read("a", limit=2, run_id="r1", before=10, backwards=True)).events

    require_equal([event.seq for event in last_three], [8, 9, 10], "last three")
    require_equal([event.seq for event in last_two_sent], [7, 10], "last two of a type")
    require_equal([event.seq for event in of_run], [5, 9], "last two of a run before 10")


@check
async def reader_beside_sees_every_event_in_order(open_store: OpenStore) -> None:
    """A reader that follows while events are written sees all of them, in order, without gap or
    repeat, from the store itself and from beside it."""
    last = 200
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(note(1))
        seen: dict[str, list[tuple[int, int]]] = {"store": [], "beside": []}

        async def follow(name: str) -> None:
            reader = store if name == "store" else beside
            follower = Follower(reader, "a")
            after = 0
            while after < last:
                page = await reader.read("a", after=after, limit=7)
                seen[name] += [(event.seq, event.data["number"]) for event in page.events]
                after = page.scanned_to
                if after >= page.head_seq and after < last:
                    await follower.wait(after)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, "store")
            nursery.start_soon(follow, "beside")
            for first in range(2, last + 1, 3):
                await author.write(*notes(first, min(first + 2, last)))
        for name, events in seen.items():
            require_equal(events, [(n, n) for n in range(1, last + 1)], f"events seen: {name}")


@check
async def runs_are_found(open_store: OpenStore) -> None:
    """find_run gives a run's first and last event: None if unknown in this session, ended None
    while it is unfinished, also after a restart; for each kind of end."""
    ends = ("run_completed", "run_failed", "run_cancelled", "run_timed_out", "run_interrupted")
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r0"), note(2, "run_started", "r0"))
        await author.write(*(note(3 + i, "run_submitted", f"r_{e}") for i, e in enumerate(ends)))
        await author.write(note(8, "run_submitted", "open"), note(9, "run_started", "r_run_failed"))
        await author.write(*(note(10 + i, end, f"r_{end}") for i, end in enumerate(ends)))
        await (await Author.of(store, "b")).write(note(1, "run_submitted", "of b"))
        run = await store.find_run("a", "r0")
        assert run is not None
        require_equal((run.submitted.seq, run.ended, run.head_seq), (1, None, 14), "a started run")
        await author.write(note(15, "run_requeued", "r0"), note(16, "run_completed", "r0"))
    async with opened(open_store) as store, store.reading() as beside:
        for reader in (store, beside):
            for index, end in enumerate(ends):
                run = await reader.find_run("a", f"r_{end}")
                require(run is not None, f"a run that ended with {end} was not found")
                assert run is not None
                require_equal(run.submitted.data["number"], 3 + index, "its first event")
                require(run.ended is not None, f"a run with {end} is not found to have ended")
                assert run.ended is not None
                require_equal((run.ended.type, run.ended.seq), (end, 10 + index), "its last event")
            run = await reader.find_run("a", "r0")
            assert run is not None
            assert run.ended is not None
            require_equal((run.submitted.seq, run.ended.seq), (1, 16), "first and last event")
            run = await reader.find_run("a", "open")
            assert run is not None
            require_equal((run.submitted.seq, run.ended), (8, None), "an unfinished run")
            require_equal(await reader.find_run("a", "of b"), None, "a run of another session")
            require_equal(await reader.find_run("a", "unknown"), None, "an unknown run")


@check
async def events_of_a_run_are_from_its_request_to_its_end(open_store: OpenStore) -> None:
    """Read by run_id, a run's events are those from its request to its end: what bears its id
    before or after is left out."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1, "message_sent", "r1"), note(2, "run_submitted", "r1"))
        await author.write(note(3, "message_sent", "r1"), note(4, "run_completed", "r1"))
        await author.write(note(5, "error_occurred", "r1"))
        for backwards in (False, True):
            events = await read_all(store, "a", run_id="r1", limit=2, backwards=backwards)
            require_equal([event.seq for event in events], [2, 3, 4], f"events, {backwards=}")


@check
async def keys_are_found(open_store: OpenStore) -> None:
    """find_key gives the run that was submitted with a key in this session, after a restart too."""
    async with opened(open_store) as store:
        a, b = await Author.of(store, "a"), await Author.of(store, "b")
        await a.write(note(1, "run_submitted", "r1", key="k1"), note(2, "run_submitted", "r2"))
        await b.write(note(1, "run_submitted", "r3", key="k1"))
        await a.write(note(3, "run_submitted", "r4", key="k2 \u00fc"))
        require_equal(await store.find_key("a", "k1"), "r1", "run of a key")
    async with opened(open_store) as store, store.reading() as beside:
        for reader in (store, beside):
            require_equal(await reader.find_key("a", "k1"), "r1", "run of a key")
            require_equal(await reader.find_key("b", "k1"), "r3", "same key, another session")
            require_equal(await reader.find_key("a", "k2 \u00fc"), "r4", "run of another key")
            require_equal(await reader.find_key("a", "k3"), None, "an unknown key")
            require_equal(await reader.find_key("a", "r2"), None, "a run id as a key")


@check
async def sessions_are_listed_newest_change_first(open_store: OpenStore) -> None:
    """sessions() gives every session, that of the newest record first, as info() has it."""
    async with opened(open_store) as store:
        authors = {name: await Author.of(store, name) for name in ("a", "b", "c", "d")}
        for number, name in enumerate(("a", "b", "c", "d", "b", "a", "c"), 1):
            await authors[name].write(note(number))
        require_equal(await listed(store.sessions()), ["c", "a", "b", "d"], "order")
        infos = [info async for info in store.sessions()]
        for info in infos:
            require_equal(info, await store.info(info.id), "a listed info")
    async with opened(open_store) as store, store.reading() as beside:
        require_equal(await listed(store.sessions()), ["c", "a", "b", "d"], "order later")
        require_equal(await listed(beside.sessions()), ["c", "a", "b", "d"], "order beside")


@check
async def sessions_are_listed_by_prefix_tags_and_need(open_store: OpenStore) -> None:
    """prefix, tags (all must match) and needs_worker narrow the listing, together too."""
    queued, waiting = {"queued": 1}, {"waiting": 2, "completed": 3}
    async with opened(open_store) as store:
        sessions = [
            facts("user-1", tags={"tenant": "acme", "tier": "1"}, runs=queued),
            facts("user-2", tags={"tenant": "acme", "tier": "2"}, runs=waiting),
            facts("user-3", tags={"tenant": "other", "tier": "1"}, runs={"running": 1}),
            facts("job-1", tags={"tenant": "acme"}, runs={"cancelling": 1}),
            facts("job-2", runs=queued, state=SessionState.QUARANTINED),
            facts("job-3", runs=queued, state=SessionState.PAUSED),
        ]
        for number, info in enumerate(sessions, 1):
            await (await Author.of(store, info.id)).write(note(number), info=info)
    async with opened(open_store) as store:
        acme = {"tenant": "acme"}
        for what, expected, infos in (
            ("prefix", ["user-3", "user-2", "user-1"], store.sessions(prefix="user-")),
            ("tags", ["job-1", "user-2", "user-1"], store.sessions(tags=acme)),
            ("two tags", ["user-1"], store.sessions(tags={**acme, "tier": "1"})),
            ("an unknown tag", [], store.sessions(tags={"nobody": "has"})),
            ("no tags", 6, store.sessions(tags={})),
            (
                "needs_worker",
                ["job-3", "job-1", "user-3", "user-1"],
                store.sessions(needs_worker=True),
            ),
            (
                "all three",
                ["user-1"],
                store.sessions(prefix="user-", tags=acme, needs_worker=True),
            ),
            ("an unknown prefix", [], store.sessions(prefix="x")),
        ):
            found = await listed(infos)
            require_equal(
                found if isinstance(expected, list) else len(found), expected, f"listed by {what}"
            )


@check
async def listing_is_as_of_the_call(open_store: OpenStore) -> None:
    """A listing that is being read neither repeats nor loses a session that changes meanwhile."""
    async with opened(open_store) as store:
        authors = {name: await Author.of(store, name) for name in ("a", "b", "c")}
        for number, name in enumerate(authors, 1):
            await authors[name].write(note(number))
        found: list[str] = []
        async for info in store.sessions():
            found.append(info.id)
            if info.id == "c":
                await authors["a"].write(note(9))
                await (await Author.of(store, "new")).write(note(10))

    require_equal([name for name in found if name != "new"], ["c", "b", "a"], "sessions")


@check
async def sessions_do_not_mix(open_store: OpenStore) -> None:
    """Sessions whose ids look alike keep their own events, cursors and runs."""
    ids = ["a", "A", "a ", "a/b", "a.b", "ä", "a\u0308", "../a", "a" * 256, "con", "a\\b", "%61"]
    async with opened(open_store) as store:
        for index, session_id in enumerate(ids):
            author = await Author.of(store, session_id)
            await author.write(
                note(index), note(100 + index, "run_submitted", f"r{index}", key="k")
            )
            await store.save_cursor(session_id, "c", index)
    async with opened(open_store) as store:
        for index, session_id in enumerate(ids):
            expected = [(1, index), (2, 100 + index)]
            require_equal(await numbers(store, session_id), expected, f"events of {session_id!r}")
            require_equal(await store.find_key(session_id, "k"), f"r{index}", "run of the key")
            require_equal(await store.cursor(session_id, "c"), index, f"cursor of {session_id!r}")
        require_equal(sorted(await listed(store.sessions())), sorted(ids), "sessions")


@check
async def statistics_are_a_frozen_attrs_object(open_store: OpenStore) -> None:
    """statistics() returns a frozen attrs object."""
    async with opened(open_store) as store:
        await (await Author.of(store, "a")).write(note(1))
        found = store.statistics()

        require(attrs.has(type(found)), f"statistics() returned {found!r}")
        name = attrs.fields(type(found))[0].name
        try:
            setattr(found, name, 0)
        except attrs.exceptions.FrozenInstanceError:
            return
        require(False, "the statistics can be assigned to")


READING: tuple[Check, ...] = (
    unknown_session_is_unknown_everywhere,
    page_tells_where_it_stands,
    forward_pages_hold_what_was_asked_for,
    backward_pages_hold_what_was_asked_for,
    backward_page_is_the_end_of_the_range,
    reader_beside_sees_every_event_in_order,
    runs_are_found,
    events_of_a_run_are_from_its_request_to_its_end,
    keys_are_found,
    sessions_are_listed_newest_change_first,
    sessions_are_listed_by_prefix_tags_and_need,
    listing_is_as_of_the_call,
    sessions_do_not_mix,
    statistics_are_a_frozen_attrs_object,
)
