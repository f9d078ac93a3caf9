"""Sessions in an order, from a point on, of stores that offer it (``ports.OrderedReader``).

All of these pass on a store that does not.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from .scenario import (
    Author,
    Check,
    OpenStore,
    check,
    note,
    opened,
    require,
    require_equal,
)

if TYPE_CHECKING:
    from moorage.runtime.ports import OrderedReader, StoreReader
    from moorage.runtime.sessions import SessionInfo

_NAMES = ("b", "a", "a-2", "a-1", "aß", "a\U0001f600", "a\ue000", "B", "ab")
"""Some compare otherwise by UTF-16, by a dictionary, or without regard to case."""
_PREFIXES = ("", "a", "a-", "a\ue000", "x", "\ud800")
_PAGES_MAX = 100


def _keys(info: SessionInfo, order: str) -> tuple[Any, ...]:
    return (info.id,) if order == "id" else (info.modified_at_ns, info.id)


async def _pages(
    reader: OrderedReader, limit: int, *, order: Any, descending: bool, prefix: str
) -> list[SessionInfo]:
    """All of them, page by page."""
    found: list[SessionInfo] = []
    after = None
    for _ in range(_PAGES_MAX):
        page = await reader.session_page(
            order=order, descending=descending, after=after, prefix=prefix, limit=limit
        )
        if not page:
            return found
        require(len(page) <= limit, f"a page has {len(page)} sessions at limit {limit}")
        found += page
        after = _keys(page[-1], order)
    require(False, f"pages by {order} do not end behind {after!r}")
    return found


@check
async def ordered_pages_hold_what_is_listed(open_store: OpenStore) -> None:
    """session_page gives, page by page, every session that sessions() lists with the prefix, once
    and in the order of its key, in both directions; only an empty page is the end."""
    if not hasattr(open_store(), "session_page"):
        return
    async with opened(open_store) as store, store.reading() as beside:
        for number, name in enumerate(_NAMES):
            # some change at the same time: then the id decides
            await (await Author.of(store, name)).write(note(number // 2))
        for reader in (store, beside):
            await _check_pages(reader)


async def _check_pages(reader: StoreReader) -> None:
    listed = [info async for info in reader.sessions()]
    require_equal(len(listed), len(_NAMES), "sessions listed")
    for order, descending, prefix, limit in itertools.product(
        ("id", "modified"), (False, True), _PREFIXES, (1, 2, 50)
    ):
        expected = sorted(
            (info for info in listed if info.id.startswith(prefix)),
            key=lambda info: _keys(info, order),
            reverse=descending,
        )
        found = await _pages(
            cast("OrderedReader", reader), limit, order=order, descending=descending, prefix=prefix
        )
        asked = f"by {order}, {descending=}, {prefix=}, {limit=}"
        require_equal([i.id for i in found], [i.id for i in expected], f"sessions {asked}")
        require_equal(found, expected, f"infos {asked}")


@check
async def ordered_page_begins_behind_a_key(open_store: OpenStore) -> None:
    """session_page begins behind ``after`` whether or not there is, or was, such a session; what
    was deleted is on no page, and what has changed is where its last change puts it."""
    if not hasattr(open_store(), "session_page"):
        return
    async with opened(open_store) as store:
        authors = {name: await Author.of(store, name) for name in ("a", "c", "e")}
        for number, author in enumerate(authors.values()):
            await author.write(note(number))
        reader = cast("OrderedReader", store)

        async def ids(order: Any, descending: bool, after: tuple[Any, ...] | None) -> list[str]:
            page = await reader.session_page(
                order=order, descending=descending, after=after, prefix="", limit=10
            )
            return [info.id for info in page]

        require_equal(await ids("id", False, ("b",)), ["c", "e"], "behind a key of nobody")
        require_equal(await ids("id", True, ("d",)), ["c", "a"], "the same, descending")
        middle = await store.info("c")
        assert middle is not None, "it was written"
        await authors["a"].write(note(9))
        await store.delete(authors["c"].claim)
        key = _keys(middle, "modified")
        require_equal(await ids("modified", False, key), ["e", "a"], "behind one that is gone")
        require_equal(await ids("modified", True, key), [], "before it all have changed")
        require_equal(await ids("modified", True, None), ["a", "e"], "the newest change first")


ORDERING: tuple[Check, ...] = (
    ordered_pages_hold_what_is_listed,
    ordered_page_begins_behind_a_key,
)
