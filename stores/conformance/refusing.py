"""What a store refuses because it makes no sense, or because it cannot hold it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from moorage.runtime.codec import encode_event
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.ports import Snapshot

from .scenario import (
    Author,
    Check,
    OpenStore,
    check,
    listed,
    note,
    notes,
    numbers,
    opened,
    read_all,
    require_equal,
    require_refused,
)

if TYPE_CHECKING:
    from moorage.runtime.ports import Record, Store

_KEY_BYTES = 70_000
_TOO_LARGE = 2**63
"""Nanoseconds in the year 2262, one too many for 64 bits with a sign."""
_NO_TEXT = "a\ud800"
"""A surrogate, which UTF-8 cannot encode."""


@check
async def page_has_room_for_one_event_at_least(open_store: OpenStore) -> None:
    """read() with a limit below 1 raises InvalidArgument: its page could never go on."""
    async with opened(open_store) as store, store.reading() as beside:
        await (await Author.of(store, "a")).write(*notes(1, 3))
        for reader in (store, beside):
            for limit in (0, -1):
                for backwards in (False, True):
                    read = functools.partial(reader.read, "a", limit=limit, backwards=backwards)
                    await require_refused(InvalidArgument, f"read with {limit=}", read)


@check
async def seqs_below_zero_are_refused(open_store: OpenStore) -> None:
    """A cursor or a snapshot at a seq below 0, and a trim before one, raise InvalidArgument and
    change nothing."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        for what, write in (
            ("save_cursor at -1", functools.partial(store.save_cursor, "a", "c", -1)),
            (
                "save_snapshot at -1",
                functools.partial(store.save_snapshot, author.claim, Snapshot(-1, b"")),
            ),
            ("trim before -1", functools.partial(store.trim, author.claim, -1)),
        ):
            await require_refused(InvalidArgument, what, write)
        require_equal(await store.cursor("a", "c"), None, "cursor")
        require_equal(await store.snapshot("a"), None, "snapshot")
        require_equal(await numbers(store, "a"), [(1, 1), (2, 2), (3, 3)], "events")


async def _keep_or_refuse(store: Store, session_id: str, record: Record) -> None:
    """Append a record behind another; it must be there as it was, or neither of them."""
    author = await Author.of(store, session_id)
    try:
        await author.write(note(1), record)
    except InvalidArgument:
        require_equal(await store.info(session_id), None, "info of what was refused")
        require_equal(session_id in await listed(store.sessions()), False, "listed")
        return
    kept = (await read_all(store, session_id))[1]
    require_equal((kept.time_ns, kept.run_id), (record.time_ns, record.run_id), "what was kept")
    if record.key is not None:
        require_equal(await store.find_key(session_id, record.key), record.run_id, "run of a key")


@check
async def what_cannot_be_held_is_refused(open_store: OpenStore) -> None:
    """A value that the store cannot hold raises InvalidArgument and changes nothing of the batch;
    what it takes it keeps as it is. The store goes on."""
    good = note(9, "run_submitted", "r1", key="k")
    async with opened(open_store) as store:
        late = encode_event(_TOO_LARGE, "run_submitted", "r1", {"number": 9}, key="k")
        await _keep_or_refuse(store, "late", late)
        await _keep_or_refuse(store, "long", good._replace(key="k" * _KEY_BYTES))
        await _keep_or_refuse(store, _NO_TEXT, good)
        author = await Author.of(store, "a")
        await author.write(note(1))
        write = functools.partial(author.write, good._replace(run_id=_NO_TEXT))
        await require_refused(InvalidArgument, "a run id that is no text", write)
        write = functools.partial(store.save_cursor, "a", _NO_TEXT, 1)
        await require_refused(InvalidArgument, "a cursor name that is no text", write)
        await author.write(note(2))
    async with opened(open_store) as store:
        require_equal(await numbers(store, "a"), [(1, 1), (2, 2)], "events")
        require_equal(await store.find_run("a", _NO_TEXT), None, "a run id that is no text")
        require_equal(await store.find_key("a", _NO_TEXT), None, "a key that is no text")


REFUSING: tuple[Check, ...] = (
    page_has_room_for_one_event_at_least,
    seqs_below_zero_are_refused,
    what_cannot_be_held_is_refused,
)
