"""The tail cache: what was fed comes back in order, or the store must be asked."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.tail import TailCache, TailStatistics

if TYPE_CHECKING:
    from moorage.runtime.ports import Record

LIMIT = 1_000


def records(first_seq: int, count: int) -> list[Record]:
    return [
        encode_event(seq, "message_sent", None, seq) for seq in range(first_seq, first_seq + count)
    ]


SIZE = len(records(1, 1)[0].body)


def fed(cache: TailCache, first_seq: int, count: int, *, session: str = "s") -> None:
    cache.feed(session, first_seq, records(first_seq, count), closed=False)


def followed(bytes_max: int = 1_000_000, session: str = "s") -> TailCache:
    cache = TailCache(bytes_max)
    cache.follow(session)
    return cache


def seqs(cache: TailCache, after: int, limit: int = LIMIT, session: str = "s") -> list[int] | None:
    events = cache.read(session, after, limit)
    return None if events is None else [event.seq for event in events]


def test_what_nobody_follows_is_not_kept() -> None:
    cache = TailCache(1_000)

    fed(cache, 1, 3)

    assert cache.statistics() == TailStatistics(sessions=0, bytes=0, bytes_max=1_000)
    assert seqs(cache, 0) is None


def test_a_follower_reads_what_was_fed_from_wherever_it_is() -> None:
    cache = followed()
    fed(cache, 5, 3)
    fed(cache, 8, 1)
    fed(cache, 9, 4)

    assert seqs(cache, 4) == [5, 6, 7, 8, 9, 10, 11, 12]
    assert seqs(cache, 6) == [7, 8, 9, 10, 11, 12]
    assert seqs(cache, 8) == [9, 10, 11, 12]
    assert [event.data for event in cache.read("s", 10, LIMIT) or ()] == [11, 12]


def test_who_has_read_everything_waits() -> None:
    cache = followed()
    fed(cache, 1, 3)

    assert seqs(cache, 3) == []


def test_what_is_older_or_unknown_is_the_stores_to_tell() -> None:
    cache = followed()
    assert seqs(cache, 0) is None

    fed(cache, 5, 3)
    assert seqs(cache, 3) is None
    assert seqs(cache, 9) is None


def test_a_reader_at_the_end_of_a_closed_session_asks_the_store_what_that_means() -> None:
    cache = followed()
    cache.feed("s", 1, records(1, 2), closed=True)

    assert seqs(cache, 0) == [1, 2]
    assert seqs(cache, 2) is None

    fed(cache, 3, 1)
    assert seqs(cache, 3) == []


def test_a_read_stops_at_its_limit() -> None:
    cache = followed()
    for first_seq in (1, 11, 21):
        fed(cache, first_seq, 10)

    assert seqs(cache, 0, 5) == list(range(1, 6))
    assert seqs(cache, 5, 11) == list(range(6, 17))


@pytest.mark.promise(7)
def test_a_reader_may_keep_and_change_the_list_it_was_given() -> None:
    cache = followed()
    fed(cache, 1, 2)
    fed(cache, 3, 2)

    first = cache.read("s", 0, LIMIT)
    assert first is not None
    first.clear()

    assert seqs(cache, 0) == [1, 2, 3, 4]


@pytest.mark.promise(7)
def test_nothing_is_kept_from_before_a_gap() -> None:
    cache = followed()
    fed(cache, 1, 2)

    fed(cache, 6, 2)

    assert seqs(cache, 0) is None
    assert seqs(cache, 5) == [6, 7]
    assert cache.statistics().bytes == 2 * SIZE


@pytest.mark.promise(17)
def test_beyond_the_limit_the_session_fed_longest_ago_loses_its_oldest_events() -> None:
    cache = followed(8 * SIZE, "empty")
    cache.follow("old")
    cache.follow("new")
    for seq in range(1, 5):
        fed(cache, seq, 1, session="old")
    for seq in range(1, 6):
        fed(cache, seq, 1, session="new")

    assert cache.statistics().bytes <= 8 * SIZE
    assert seqs(cache, 1, session="old") is None
    assert seqs(cache, 2, session="old") == [3, 4]
    assert seqs(cache, 0, session="new") == [1, 2, 3, 4, 5]


@pytest.mark.promise(17)
def test_without_room_for_anything_nothing_is_kept() -> None:
    cache = followed(0)

    fed(cache, 1, 3)
    fed(cache, 4, 1)

    assert cache.statistics() == TailStatistics(sessions=1, bytes=0, bytes_max=0)
    assert seqs(cache, 0) is None


def test_events_are_kept_until_the_last_follower_has_gone() -> None:
    cache = followed()
    cache.follow("s")
    fed(cache, 1, 2)

    cache.unfollow("s")
    assert seqs(cache, 0) == [1, 2]

    cache.unfollow("s")
    cache.unfollow("s")
    assert cache.statistics() == TailStatistics(sessions=0, bytes=0, bytes_max=1_000_000)


def test_what_another_owner_may_write_behind_is_dropped() -> None:
    cache = followed()
    fed(cache, 1, 2)

    cache.drop("s")
    cache.drop("unknown")
    assert (seqs(cache, 0), cache.statistics().bytes) == (None, 0)

    fed(cache, 9, 1)
    assert seqs(cache, 8) == [9]


@pytest.mark.promise(7)
@pytest.mark.parametrize("seed", range(5))
def test_a_reader_gets_each_event_once_or_is_sent_to_the_store(seed: int) -> None:
    choice = random.Random(seed)
    cache, head_seq, cursor = followed(20 * SIZE), 0, 0

    for _ in range(300):
        count = choice.randint(1, 6)
        fed(cache, head_seq + 1, count)
        head_seq += count
        if choice.random() < 0.5:
            got = seqs(cache, cursor, choice.randint(1, 10))
            assert got is None or got == list(range(cursor + 1, cursor + 1 + len(got)))
            assert got is None or got or cursor == head_seq
            cursor = head_seq if got is None else cursor + len(got)
        assert cache.statistics().bytes <= 20 * SIZE


def test_what_no_reader_wanted_yet_is_given_up_like_the_rest() -> None:
    cache = followed(bytes_max=6 * SIZE)
    fed(cache, 1, 1)
    fed(cache, 2, 1)
    assert seqs(cache, 0) == [1, 2]

    for seq in range(3, 11):
        fed(cache, seq, 1)

    assert seqs(cache, 0) is None
    kept = seqs(cache, 10 - len(cache_bytes(cache)))
    assert kept == list(range(11 - len(cache_bytes(cache)), 11))


def cache_bytes(cache: TailCache) -> range:
    """As many as there are events in the cache, by its own count of bytes."""
    return range(cache.statistics().bytes // SIZE)
