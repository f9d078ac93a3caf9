"""Pages stay within their bounds; the conformance suite asks everything else."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import CorruptLog, UnknownSession
from moorage.stores.conformance.scenario import facts, note
from moorage.stores.relational import reads as module
from moorage.stores.relational.reads import Question, Reads
from moorage.stores.relational.rows import event_rows, info_values
from moorage.stores.relational.schema import Dialect, creation

if TYPE_CHECKING:
    from collections.abc import Iterator

READS = Reads(Dialect.SQLITE)
EVENTS = 100


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Session a has events 1 to 100; each tenth is of run r and of a type of its own."""
    connection = sqlite3.connect(":memory:")
    for statement in creation(Dialect.SQLITE):
        connection.execute(statement)
    values = (1, "a", EVENTS, 1, 0, 0, *info_values(facts("a")))
    connection.execute(
        "INSERT INTO session (number, id, head_seq, oldest_seq, modified_ns, change, info, closed,"
        " needs_worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    records = [
        note(n, "tool_call_started", "r") if n % 10 == 0 else note(n) for n in range(1, EVENTS + 1)
    ]
    connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", event_rows(1, 1, records))
    yield connection
    connection.close()


def ask(**changes: object) -> Question:
    values = {
        "session_id": "a",
        "after": 0,
        "before": None,
        "limit": 1_000,
        "types": None,
        "run_id": None,
        "backwards": False,
    }
    return Question(**{**values, **changes})


@pytest.mark.parametrize("backwards", [False, True])
def test_a_filtered_page_looks_at_a_bounded_number_of_events(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    monkeypatch.setattr(module, "SCAN_EVENTS_MAX", 35)

    page = READS.read(connection, ask(types=frozenset({"tool_call_started"}), backwards=backwards))

    expected = ([70, 80, 90, 100], 66) if backwards else ([10, 20, 30], 35)
    assert ([event.seq for event in page.events], page.scanned_to) == expected


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("filters", [{}, {"types": frozenset({"message_sent"})}])
def test_a_page_has_a_bounded_number_of_bytes(
    connection: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    backwards: bool,
    filters: dict[str, object],
) -> None:
    size = len(note(1).body)
    monkeypatch.setattr(module, "PAGE_BYTES_MAX", 5 * size + size // 2)

    page = READS.read(connection, ask(backwards=backwards, before=10, **filters))

    expected = ([5, 6, 7, 8, 9], 5) if backwards else ([1, 2, 3, 4, 5], 5)
    assert ([event.seq for event in page.events], page.scanned_to) == expected


def test_one_event_is_a_page_however_large(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES_MAX", 1)

    page = READS.read(connection, ask())

    assert ([event.seq for event in page.events], page.scanned_to) == ([1], 1)


def test_a_limit_of_a_million_is_read_in_parts(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCAN_EVENTS_MAX", 30)

    page = READS.read(connection, ask(limit=10**6))

    assert (len(page.events), page.scanned_to, page.head_seq) == (30, 30, 100)


@pytest.mark.parametrize("missing", [1, 50, 100])
def test_a_gap_is_damage(connection: sqlite3.Connection, missing: int) -> None:
    connection.execute("DELETE FROM event WHERE seq = ?", (missing,))

    with pytest.raises(CorruptLog, match="missing"):
        READS.read(connection, ask())


def test_a_run_whose_request_is_missing_is_damage(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO run VALUES (1, 'r', 10, 0, NULL)")
    connection.execute("DELETE FROM event WHERE seq = 10")

    with pytest.raises(CorruptLog, match="missing"):
        READS.find_run(connection, "a", "r")


def test_many_names_are_asked_for_in_several_statements(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NAMES_PER_STATEMENT", 2)
    connection.execute("INSERT INTO run VALUES (1, 'r', 10, 20, NULL)")

    assert list(READS.rows(connection, ["x", "y", "a", "z", "\0"])) == ["a"]
    assert READS.ended(connection, "a", ["x", "y", "r"]) == ["r"]


def test_names_that_no_database_can_hold_are_not_there(connection: sqlite3.Connection) -> None:
    for name in ("\ud800", "a\0"):
        assert READS.session(connection, name) is None
        assert READS.snapshot(connection, name) is None
        assert READS.cursor(connection, name, "c") is None
        assert READS.find_key(connection, "a", name) is None
        assert READS.find_run(connection, "a", name) is None
        assert READS.numbers(connection, name, False) == []
        assert READS.read(connection, ask(run_id=name)).events == []
        assert READS.read(connection, ask(types=frozenset({name}))).events == []
        with pytest.raises(UnknownSession):
            READS.read(connection, ask(session_id=name))
