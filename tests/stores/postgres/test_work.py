"""How a batch becomes statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.ports import Record, Snapshot
from moorage.stores.conformance.scenario import notes
from moorage.stores.group_commit import Job
from moorage.stores.postgres.arrays import bigints, booleans, byteas, texts
from moorage.stores.postgres.work import (
    Append,
    SaveCursor,
    SaveSnapshot,
    append_values,
    demand_values,
    steps,
)
from moorage.stores.relational.rows import InfoValues

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


def append(number: int) -> Append:
    return Append(f"s{number}", number, 1, 1, [], None)


def stepped(*works: Any) -> list[list[Any]]:
    jobs = [Job(work, 0, None) for work in works]
    return [[job.work for job in step] for step in steps(jobs)]


def test_appends_to_different_sessions_are_one_step() -> None:
    a, b, c = append(1), append(2), append(3)

    assert stepped(a, b, c) == [[a, b, c]]
    assert stepped() == []


def test_a_session_has_one_append_in_a_step_and_order_is_kept() -> None:
    a, b, again = append(1), append(2), append(1)
    snapshot, cursor = SaveSnapshot("s1", 1, 1, Snapshot(1, b"")), SaveCursor("s1", "c", 1)

    assert stepped(a, b, again) == [[a, b], [again]]
    assert stepped(a, snapshot, b, again) == [[a], [snapshot], [b, again]]
    assert stepped(cursor, snapshot, a) == [[cursor], [snapshot], [a]]


def test_appends_become_the_columns_of_one_statement() -> None:
    info = InfoValues(b"info", closed=False, needs_worker=True)
    told = Append("s1", 1, 4, 7, notes(7, 8), info, demands=("{a}", "key"))
    ending = Append("s2", 2, 5, 3, [Record(9, "run_completed", "r", b"end", None)], None)
    only_info = Append("s3", 3, 6, 2, [], info, modified_ns=77)
    jobs = [Job(work, 0, None) for work in (told, ending, only_info)]

    values = append_values(jobs, 12)

    assert values[:5] == tuple(
        map(bigints, ([1, 2, 3], [4, 5, 6], [7, 3, 2], [2, 1, 0], [notes(8, 8)[0].time_ns, 9, 77]))
    )
    assert values[8:10] == (texts(["{a}", None, None]), texts(["key", None, None]))
    values = (*values[:8], *values[10:])
    assert values[5:9] == (
        byteas([b"info", None, b"info"]),
        booleans([False, None, False]),
        booleans([True, None, True]),
        12,
    )
    assert values[9:12] == (
        bigints([1, 1, 2]),
        bigints([7, 8, 3]),
        texts([notes(7, 7)[0].type, notes(7, 7)[0].type, "run_completed"]),
    )
    assert values[12:14] == (
        texts([None, None, "r"]),
        byteas([*(record.body for record in notes(7, 8)), b"end"]),
    )
    assert values[14:19] == (
        bigints([2]),
        texts(["r"]),
        bigints([0]),
        bigints([3]),
        texts([None]),
    )
    assert [job.result for job in jobs] == [[], ["r"], []]


def test_demands_are_an_array_and_a_key_whatever_is_in_them(postgres: PostgresSchema) -> None:
    demands = {'tag:a="b\\c,{d}"', "agent:", "tag:ü=x y"}

    array, key = demand_values(frozenset(demands))
    with postgres.connect() as connection:
        row = connection.execute("SELECT %s::text[]", (array,)).fetchone()

    assert row == (sorted(demands),)
    assert key == demand_values(frozenset(demands))[1] != demand_values(frozenset({"agent:"}))[1]
    assert demand_values(frozenset()) == ("{}", "")


def test_answers_go_with_their_appends() -> None:
    answering = Append("s1", 1, 4, 7, notes(7, 7), None, answered=[("l1", b"one"), ("l2", b"two")])
    jobs = [Job(work, 0, None) for work in (Append("s2", 2, 4, 1, notes(1, 1), None), answering)]

    values = append_values(jobs, 12)

    assert values[10:15] == (
        bigints([1, 1]),
        texts(["l1", "l2"]),
        byteas([b"one", b"two"]),
        12,
        12,
    )


def test_an_append_without_records_and_runs_has_empty_columns() -> None:
    values = append_values([Job(Append("s1", 1, 1, 1, [], None), 0, None)], 12)

    assert values[5] == byteas([None])
    assert values[11] == values[16] == bigints([])
    assert values[15] == byteas([])
