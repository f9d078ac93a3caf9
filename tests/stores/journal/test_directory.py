from __future__ import annotations

import tracemalloc
from typing import Any

from moorage.stores.journal.changes import (
    encode_cursor,
    encode_events,
    encode_tombstone,
    encode_trim,
)
from moorage.stores.journal.directory import Directory

SESSIONS = 20_000


def test_a_known_session_costs_less_than_a_kilobyte(new_info: Any) -> None:
    info = new_info("", tags={"tenant": "acme"}, summary="a summary of sixty characters or so" * 2)
    changes = [encode_events(f"user-{number:08d}", 1, [], info)[0][0] for number in range(SESSIONS)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    directory = Directory()
    for change in changes:
        directory.apply(change, place=1)

    spent = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # the id and the info were made above and are shared here
    shared = sum(len(change.session_id) + 49 + len(change.info or b"") + 33 for change in changes)
    assert (spent + shared) / SESSIONS < 1_000


def test_sessions_are_in_order_of_their_last_change(new_info: Any) -> None:
    directory = Directory()
    for session_id in ("a", "b", "c", "a"):
        directory.apply(encode_events(session_id, 1, [], new_info(session_id))[0][0], place=1)

    assert list(directory.entries) == ["b", "c", "a"]


def test_those_that_need_a_worker_are_known_apart(new_info: Any) -> None:
    directory = Directory()
    busy = new_info("a", runs={"queued": 1})
    directory.apply(encode_events("a", 1, [], busy)[0][0], place=1)
    directory.apply(encode_events("b", 1, [], new_info("b"))[0][0], place=1)
    assert list(directory.needing_worker) == ["a"]

    directory.apply(encode_events("a", 1, [], new_info("a"))[0][0], place=1)
    assert list(directory.needing_worker) == []


def test_of_two_trims_the_one_that_goes_further_counts_in_whatever_order(new_info: Any) -> None:
    directory = Directory()
    directory.apply(encode_events("a", 1, [], new_info("a"))[0][0], place=1)

    for oldest_seq in (9, 6):
        directory.apply(encode_trim("a", oldest_seq)[0][0], place=1)

    assert directory.entries["a"].oldest_seq == 9


def test_a_cursor_that_comes_after_the_tombstone_leaves_no_trace(new_info: Any) -> None:
    directory = Directory()
    directory.apply(encode_events("a", 1, [], new_info("a"))[0][0], place=1)
    directory.apply(encode_tombstone("a", 7)[0][0], place=1)
    directory.apply(encode_cursor("a", "reader", 3)[0][0], place=1)

    entry = directory.entries["a"]
    assert (entry.exists, entry.head_seq, entry.oldest_seq) == (False, 7, 8)
    assert entry.cursors is None
    assert directory.existing == 0
