"""Each question is asked of a connection, and what needs one moment is asked at once."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import trio
from moorage.runtime.errors import InvalidArgument, UnknownSession
from moorage.stores.conformance.scenario import facts
from moorage.stores.relational import reading
from moorage.stores.relational.reading import RelationalReading
from moorage.stores.relational.reads import Reads
from moorage.stores.relational.rows import info_values
from moorage.stores.relational.schema import Dialect, creation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Asking(RelationalReading):
    """Asks a connection in memory, and notes the names of questions."""

    _reads = Reads(Dialect.SQLITE)

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self.asked: list[str] = []
        self.at_once: list[str] = []

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        await trio.lowlevel.checkpoint()
        self.asked.append(question.__name__)
        return question(self._connection, *arguments)

    async def _ask_at_once(self, question: Callable[..., T], *arguments: Any) -> T:
        self.at_once.append(question.__name__)
        return await self._ask(question, *arguments)


@pytest.fixture
def asking() -> Iterator[Asking]:
    connection = sqlite3.connect(":memory:")
    for statement in creation(Dialect.SQLITE):
        connection.execute(statement)
    for number, session_id in enumerate(("a", "b", "c"), 1):
        info = info_values(facts(session_id, tags={"even": str(number % 2 == 0)}))
        values = (number, session_id, 0, 1, 0, number, info.closed, info.needs_worker, info.body)
        connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    yield Asking(connection)
    connection.close()


async def test_what_reads_several_tables_is_asked_at_once(asking: Asking) -> None:
    assert (await asking.read("a")).events == []
    assert await asking.find_run("a", "r") is None
    assert await asking.cursors("a") == {}
    assert [tombstone async for tombstone in asking.tombstones()] == []

    assert asking.at_once == ["read", "find_run"]
    assert asking.asked == ["read", "find_run", "cursors", "tombstones"]
    with pytest.raises(UnknownSession):
        await asking.read("unknown")
    with pytest.raises(InvalidArgument):
        await asking.read("a", limit=0)


async def test_a_listing_is_read_a_slice_at_a_time_and_filtered(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LISTING_SLICE", 2)

    found = [info.id async for info in asking.sessions(tags={"even": "False"})]

    assert found == ["c", "a"]
    assert asking.asked == ["numbers", "infos", "infos"]
