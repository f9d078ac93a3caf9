"""Notifications are hints: whatever is lost of them, news comes, within two seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from moorage.stores.conformance.scenario import NEWS_SECONDS_MAX, Author, note, opened, stopwatch
from moorage.stores.postgres import telling as telling_module
from moorage.stores.postgres import watch as watch_module

from tests.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    import pytest
    from moorage.runtime.ports import StoreReader
    from moorage.stores import PostgresStore

    from tests.postgres_server import PostgresSchema


async def until_listening(store: PostgresStore, listening: bool = True) -> None:
    with trio.fail_after(60):
        while store.statistics().listening != listening:
            await trio.sleep(0.01)


async def follow(reader: StoreReader, session_id: str, head_seq: int) -> None:
    after = 0
    while after < head_seq:
        await reader.wait_news(session_id, after=after)
        info = await reader.info(session_id)
        after = 0 if info is None else info.head_seq


async def seconds_until_news(reader: StoreReader, author: Author) -> float:
    """How long after a write somebody who waits has it, while the database answered."""
    async with stopwatch(author.store) as watch:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, reader, author.claim.session_id, author.head_seq + 1)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await author.write(note(author.head_seq + 1))
            watch.start("news")
        return watch.late("news")
    raise AssertionError("a nursery swallowed an exception")


async def test_news_comes_without_any_notification(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECONNECT_SECONDS", 1_000)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(second)
        with postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%%' AND application_name = 'moorage'"
            )
        await until_listening(second, False)

        assert await seconds_until_news(second, author) <= NEWS_SECONDS_MAX


async def test_a_listener_that_lost_its_connection_listens_again(postgres: PostgresSchema) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        opened(postgres.store) as first,
        opened(lambda: postgres.store(through=proxy.port)) as second,
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(second)
        proxy.refusing = True
        proxy.cut_all()
        await until_listening(second, False)
        proxy.refusing = False
        await until_listening(second)
        before = second.statistics().notifications

        with trio.fail_after(60):
            while second.statistics().notifications == before:
                await seconds_until_news(second, author)


async def test_a_notice_of_too_many_sessions_is_a_hint_to_look(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling_module, "NOTICE_BYTES_MAX", 1)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(second)

        assert await seconds_until_news(second, author) <= NEWS_SECONDS_MAX


async def test_the_end_of_a_run_and_a_delete_are_told(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as first, postgres.store().reading() as reader:
        author = await Author.of(first, "a")
        await author.write(note(1, "run_submitted", "r"), note(2, "run_submitted", "s"))

        async def wait_for_end() -> None:
            while True:
                run = await reader.find_run("a", "r")
                if run is None or run.ended is not None:
                    return
                await reader.wait_news("a", after=run.head_seq, run_id="r")

        async def wait_for_delete() -> None:
            while await reader.info("a") is not None:
                await reader.wait_news("a", after=99)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_end)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await author.write(note(3, "run_completed", "r"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_delete)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await first.delete(author.claim)


async def test_the_end_of_a_run_is_told_by_notification(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 1_000)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(*(note(n, "run_submitted", f"r{n}") for n in (1, 2, 3)))
        await until_listening(second)

        async def wait_for_end(run_id: str) -> None:
            while True:
                run = await second.find_run("a", run_id)
                assert run is not None
                if run.ended is not None:
                    return
                await second.wait_news("a", after=run.head_seq, run_id=run_id)

        # the session is known to the listener from the second time on
        for number in (1, 2, 3):
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait_for_end, f"r{number}")
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    await author.write(note(3 + number, "run_completed", f"r{number}"))


async def test_nobody_is_told_of_sessions_that_nobody_waits_for(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASK_SECONDS", "WANTED_SECONDS"):
        monkeypatch.setattr(telling_module, name, 1_000)  # who is slow does not ask again
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author, other = await Author.of(first, "a"), await Author.of(first, "b")
        await until_listening(first)
        await until_listening(second)
        for number in range(1, 4):
            await author.write(note(number))
            await other.write(note(number))

        # by what is told last one knows what was not told before
        await seconds_until_news(second, author)

        watch = second._node.watch
        assert set(watch._numbers.values()) == {"a"}
        assert watch.notifications <= 3  # of both: "tell me of a", and a, perhaps twice


async def test_what_was_written_before_the_question_came_is_told(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 1_000)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(first)
        await until_listening(second)
        looked = second._reads.look

        def look_and_miss(connection: Any, *question: Any) -> Any:
            found = looked(connection, *question)
            trio.from_thread.run(author.write, note(author.head_seq + 1))
            monkeypatch.setattr(second, "_reads", reads)
            return found

        reads = second._reads
        slow = type(reads)()
        monkeypatch.setattr(slow, "look", look_and_miss)
        monkeypatch.setattr(second, "_reads", slow)

        with trio.fail_after(60):
            await follow(second, "a", 2)


async def test_who_waits_for_a_session_of_ours_is_woken_when_it_becomes_anothers(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 1_000)
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(first)
        await until_listening(second)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow, first, "a", 2)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await first.release(author.claim)
                await trio.testing.wait_all_tasks_blocked(0.05)
                newer = await Author.of(second, "a")
                await newer.write(note(2))


async def test_words_of_strangers_on_the_channel_are_passed_over(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as first, opened(postgres.store) as second:
        author = await Author.of(first, "a")
        await author.write(note(1))
        await until_listening(second)
        before = second.statistics().notifications
        with postgres.connect() as connection:
            for words in ("", "good morning", "x:? 1:", "12 3:!", "7 :9"):
                values = (second._place.channel, words)
                connection.execute("SELECT pg_notify(%s, %s)", values)

        with trio.fail_after(60):
            while second.statistics().notifications < before + 5:
                await trio.sleep(0.01)
        assert await seconds_until_news(second, author) <= NEWS_SECONDS_MAX


async def test_what_is_untold_when_a_node_leaves_is_told_on_its_way_out(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 1_000)
    async with opened(postgres.store) as second, trio.open_nursery() as nursery:
        with trio.fail_after(60):
            async with opened(postgres.store) as first:
                author = await Author.of(first, "a")
                await author.write(note(1))
                await until_listening(second)
                await until_listening(first)
                nursery.start_soon(follow, second, "a", 2)
                telling = first._node.telling
                while not telling._wanted:
                    await trio.sleep(0.01)
                telling.end()  # as when its connection is lost

                await author.write(note(2))

                assert nursery.child_tasks
            while nursery.child_tasks:
                await trio.sleep(0.01)
