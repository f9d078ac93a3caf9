"""Every store that gives sessions in an order gives those that it lists."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime import InvalidArgument, open_reader
from moorage.stores import JournalStore, MemoryStore, SqliteStore

from tests.runtime.query_content import query_content

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime.ports import Store

    from tests.postgres_server import PostgresSchema

NAMES = ["a", "a-1", "a-2", "aß", "a\U0001f600", "a\ud7ff", "a\ue000", "b", "B", "ab", "\U0010ffff"]


def encrypted(tmp_path: Path) -> Store:
    pytest.importorskip("cryptography")
    from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault

    inner = SqliteStore(tmp_path / "sealed.db")
    return EncryptedStore(inner, KeyRing.generate("k1"), MemoryVault())


@pytest.fixture(params=["journal", "sqlite", "encrypted", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "journal":
        return JournalStore(tmp_path / "journal")
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "store.db")
    if request.param == "encrypted":
        return encrypted(tmp_path)
    schema: PostgresSchema = request.getfixturevalue("postgres")
    return schema.store()


async def all_pages(reader: Any, key: Any, limit: int, **asked: Any) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = await reader.session_page(after=after, limit=limit, **asked)
        if not page:
            return found
        assert len(page) <= limit
        found += page
        after = key(page[-1])


async def test_pages_are_what_is_listed_in_order(store: Store) -> None:
    async with AsyncExitStack() as stack:
        content = await stack.enter_async_context(query_content(store))
        for number, name in enumerate(NAMES):
            await content.session(name, 100 - number // 3)
        await content.session("a-gone", 1)
        await content.delete("a-gone")
        await content.write("a-1", (500, "note", None, 1))
        beside = await stack.enter_async_context(store.reading())
        for reader in (store, beside):
            listed = [info async for info in reader.sessions()]
            assert sorted(info.id for info in listed) == sorted(NAMES)
            for order, key in (
                ("id", lambda info: (info.id,)),
                ("modified", lambda info: (info.modified_at_ns, info.id)),
            ):
                for descending in (False, True):
                    for prefix in ("", "a", "a-", "a\ud7ff", "\U0010ffff", "x", "\0", "\ud800"):
                        expected = sorted(
                            (info for info in listed if info.id.startswith(prefix)),
                            key=key,
                            reverse=descending,
                        )
                        for limit in (3, 50):
                            found = await all_pages(
                                reader,
                                key,
                                limit,
                                order=order,
                                descending=descending,
                                prefix=prefix,
                            )
                            assert found == expected, (order, descending, prefix, limit)
        with pytest.raises(InvalidArgument, match="limit"):
            await beside.session_page(  # type: ignore[attr-defined]
                order="id", descending=False, after=None, prefix="", limit=0
            )


async def test_searches_find_the_same_on_every_store(store: Store) -> None:
    answers = []
    for one in (store, MemoryStore()):
        async with AsyncExitStack() as stack:
            content = await stack.enter_async_context(query_content(one))
            for number in range(15):
                name = f"s{number * 7 % 15:02d}"
                await content.session(name, number, tags={"odd": str(number % 2)})
                usage = {"input_tokens": number, "cost_usd": 0.5}
                await content.run(
                    name, f"r{number}", number + 1, usage=usage, input=f"No {number}."
                )
                await content.run(name, f"q{number}", number + 40, ends=None)
            reader = await stack.enter_async_context(open_reader(one))
            answers.append(
                [
                    await every_item(search, limit=limit, **filters)
                    for search, filters in (
                        (reader.search_sessions, {}),
                        (reader.search_sessions, {"order": "created", "descending": False}),
                        (reader.search_sessions, {"order": "id", "tags": {"odd": "1"}}),
                        (reader.search_runs, {}),
                        (reader.search_runs, {"order": "session", "states": {"running"}}),
                        (reader.search_runs, {"session_id": "s03"}),
                        (reader.search_runs, {"text": "no 7."}),
                        (reader.search_events, {"text": "no 1", "descending": True}),
                    )
                    for limit in (4, 1_000)
                ]
                + [await reader.usage_summary(by="tag:odd")]
            )
    ours, plain = answers

    assert ours == plain
    assert [len(found) for found in ours[:-1:2]] == [15, 15, 7, 30, 15, 2, 1, 6]


async def every_item(search: Any, **asked: Any) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        page = await search(cursor=cursor, **asked)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


async def test_a_store_without_an_order_inside_has_none() -> None:
    pytest.importorskip("cryptography")
    from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault

    sealed = EncryptedStore(MemoryStore(), KeyRing.generate("k1"), MemoryVault())

    assert not hasattr(sealed, "session_page")
