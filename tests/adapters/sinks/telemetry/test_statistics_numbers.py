from __future__ import annotations

import attrs
import pytest
from moorage.adapters.sinks.telemetry.statistics_numbers import (
    COUNTERS,
    is_counter,
    store_numbers,
    supervisor_gauges,
)
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore, MemoryStore


@attrs.frozen
class Inner:
    commits: int = 3
    poisoned: bool = True


@attrs.frozen
class Outer:
    inner: Inner = attrs.field(factory=Inner)
    cache: Inner = attrs.field(factory=Inner)
    node: int = 12345
    ratio: float = float("nan")
    calls: dict[str, int] = attrs.field(factory=dict)
    name: str = "x"


def test_numbers_have_the_names_of_their_fields() -> None:
    assert store_numbers(Outer()) == {
        "commits": 3,
        "poisoned": 1,
        "cache_commits": 3,
        "cache_poisoned": 1,
    }


@pytest.mark.parametrize("statistics", [None, {"commits": 1}, 5])
def test_what_has_no_fields_has_no_numbers(statistics) -> None:
    assert store_numbers(statistics) == {}


async def test_a_journal_tells_of_its_commits(tmp_path) -> None:
    async def agent(request, context):
        return 1

    async with open_supervisor(JournalStore(tmp_path), agent) as supervisor:
        await (await supervisor.session("a")).execute("x")
        numbers = store_numbers(supervisor.statistics().store)

    assert numbers["commits"] >= numbers["commits_failed"] == 0
    assert numbers["commits"] > 0
    assert {name for name in numbers if is_counter(name)} >= {"commits", "syncs", "bytes"}
    assert numbers.keys() & COUNTERS < numbers.keys()


async def test_a_supervisor_has_gauges(autojump_clock) -> None:
    async def agent(request, context):
        return 1

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        await supervisor.session("a")
        gauges = supervisor_gauges(supervisor.statistics())

    assert gauges["sessions_resident"] == 1
    assert gauges["draining"] == 0
    assert all(type(value) is int for value in gauges.values())
