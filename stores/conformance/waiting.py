"""News: a hint that may come early but must come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio
from moorage.runtime.errors import StoreFailed

from .scenario import (
    Author,
    Check,
    Follower,
    OpenStore,
    Stopwatch,
    check,
    let_it_wait,
    note,
    notes,
    numbers,
    opened,
    refuse,
    require_equal,
    stopwatch,
)

if TYPE_CHECKING:
    from moorage.runtime.ports import StoreReader

_MANY = 300
_QUESTIONS = 3


class _Crowd:
    """Those who follow a session by hints alone, and what each of them waits for now."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self._after: dict[object, int] = {}
        self._changed = trio.Event()

    async def follow(self, reader: StoreReader, session_id: str, head_seq: int) -> None:
        """Until the head is there."""
        after = 0
        follower = Follower(reader, session_id)
        while after < head_seq:
            self._begin(follower, after)
            await follower.wait(after)
            self._watch.check(after + 1)
            info = await reader.info(session_id)
            after = 0 if info is None else info.head_seq
        self._begin(follower, after)

    def _begin(self, follower: Follower, after: int) -> None:
        self._after[follower] = after
        self._changed.set()
        self._changed = trio.Event()

    async def let_it_wait(self, count: int, head_seq: int, *readers: StoreReader) -> None:
        """Return when so many wait for what comes behind that head. A store that looks before it
        waits, in a thread or on a server, has had time for that when it answered other questions.
        """
        while [*self._after.values()].count(head_seq) < count:
            await self._changed.wait()
        for _ in range(_QUESTIONS):
            for reader in readers:
                await reader.info("a")
        await let_it_wait()


@check
async def news_that_is_there_returns_at_once(open_store: OpenStore) -> None:
    """wait_news returns at once if the head is past `after`, and if there is no such session."""
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        async with stopwatch(store) as watch:
            for reader in (store, beside):
                for session_id, after in (("a", 0), ("a", 2), ("unknown", 0)):
                    watch.start("old")
                    await reader.wait_news(session_id, after=after)
                    watch.check("old")


@check
async def news_wakes_those_who_wait(open_store: OpenStore) -> None:
    """wait_news returns soon after an append, for many at once, on the store and on a reader, and
    every time again."""
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(note(1))
        async with stopwatch(store) as watch, trio.open_nursery() as nursery:
            crowd = _Crowd(watch)
            watch.start(1)
            for _ in range(_MANY):
                nursery.start_soon(crowd.follow, store, "a", 9)
            nursery.start_soon(crowd.follow, beside, "a", 9)
            for number in range(2, 10):
                await crowd.let_it_wait(_MANY + 1, number - 1, store, beside)
                await author.write(note(number))
                watch.start(number)


@check
async def end_of_a_run_wakes_those_who_wait_for_it(open_store: OpenStore) -> None:
    """With run_id wait_news returns soon after that run's terminal event, or at once if the run
    has ended."""
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r1"), note(2, "run_submitted", "r2"))

        async def wait_for_end(reader: StoreReader, run_id: str) -> None:
            follower = Follower(reader, "a")
            while True:
                run = await reader.find_run("a", run_id)
                assert run is not None
                if run.ended is not None:
                    watch.check(run_id)
                    return
                await follower.wait(run.head_seq, run_id)

        async with stopwatch(store) as watch, trio.open_nursery() as nursery:
            for reader in (store, beside):
                for run_id in ("r1", "r2"):
                    nursery.start_soon(wait_for_end, reader, run_id)
            await let_it_wait()
            await author.write(note(3, "message_sent", "r1"))
            await let_it_wait()
            await author.write(note(4, "run_failed", "r2"), note(5, "message_sent", "r1"))
            watch.start("r2")
            await let_it_wait()
            await author.write(note(6, "run_completed", "r1"))
            watch.start("r1")
        for reader in (store, beside):
            await reader.wait_news("a", after=2, run_id="r1")


@check
async def delete_wakes_those_who_wait(open_store: OpenStore) -> None:
    """wait_news returns, with and without run_id, when the session is deleted."""
    async with opened(open_store) as store, store.reading() as beside:
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r1"))

        async def wait_until_gone(reader: StoreReader, run_id: str | None) -> None:
            follower = Follower(reader, "a")
            while await reader.info("a") is not None:
                await follower.wait(1, run_id)
            watch.check("delete")

        async with stopwatch(store) as watch, trio.open_nursery() as nursery:
            for reader in (store, beside):
                nursery.start_soon(wait_until_gone, reader, None)
                nursery.start_soon(wait_until_gone, reader, "r1")
            await let_it_wait()
            await store.delete(author.claim)
            watch.start("delete")


@check
async def closing_wakes_those_who_wait(open_store: OpenStore) -> None:
    """wait_news returns, or raises StoreFailed, when the store closes."""
    store = open_store()

    async def wait(run_id: str | None) -> None:
        with contextlib.suppress(StoreFailed):
            await store.wait_news("a", after=1, run_id=run_id)
        watch.check("closing")

    async with (
        stopwatch() as watch,
        trio.open_nursery() as nursery,
        store.opened(owner="one that closes", deliver=refuse),
    ):
        await (await Author.of(store, "a")).write(note(1, "run_submitted", "r1"))
        nursery.start_soon(wait, None)
        nursery.start_soon(wait, "r1")
        await let_it_wait()
        watch.start("closing")


@check
async def cancelled_wait_leaves_nothing_behind(open_store: OpenStore) -> None:
    """Cancelling a wait ends it alone; others that wait still get their news, and statistics that
    count who is ``waiting`` count nobody in the end."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1, "run_submitted", "r1"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_Crowd(Stopwatch()).follow, store, "a", 2)
            async with trio.open_nursery() as cancelled:
                for run_id in (None, "r1"):
                    cancelled.start_soon(_wait_for_ever, store, run_id)
                await let_it_wait()
                cancelled.cancel_scope.cancel()
            await author.write(note(2, "run_completed", "r1"))

        require_equal(await numbers(store, "a"), [(1, 1), (2, 2)], "events")
        require_equal(getattr(store.statistics(), "waiting", 0), 0, "tasks that wait")


async def _wait_for_ever(reader: StoreReader, run_id: str | None) -> None:
    follower = Follower(reader, "a")
    while True:
        await follower.wait(1_000, run_id)


WAITING: tuple[Check, ...] = (
    news_that_is_there_returns_at_once,
    news_wakes_those_who_wait,
    end_of_a_run_wakes_those_who_wait_for_it,
    delete_wakes_those_who_wait,
    closing_wakes_those_who_wait,
    cancelled_wait_leaves_nothing_behind,
)
