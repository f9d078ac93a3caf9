"""A node for tests of faults: it appends to session s whenever it has it, and tells everything.

Lines on standard output: ``opened``, ``claimed EPOCH HEAD``, ``acknowledged SEQ``, ``stale``,
``failed``.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio
from moorage.runtime.errors import SessionHeld, StaleOwner, StoreFailed
from moorage.runtime.ports import Claim
from moorage.stores import PostgresStore
from moorage.stores.conformance.scenario import Author, note, refuse

tell = partial(print, flush=True)


async def serve(store: PostgresStore, pause: float) -> None:
    """One ownership after the other."""
    while True:
        try:
            author = await Author.of(store, "s")
        except (SessionHeld, StoreFailed):
            await trio.sleep(pause)
            continue
        tell("claimed", author.claim.epoch, author.head_seq)
        try:
            while True:
                number = author.head_seq + 1
                # by what it says an append is known again: no two nodes may say the same
                await author.write(note(number, data={"number": number, "node": os.getpid()}))
                tell("acknowledged", author.head_seq)
                await trio.sleep(pause)
        except StaleOwner:
            tell("stale")
        except StoreFailed:
            tell("failed")


async def renew(store: PostgresStore, lease_seconds: float) -> None:
    while True:
        await trio.sleep(lease_seconds / 4)
        held = [
            Claim(session_id, held.epoch, 0, 1, None, None)
            for session_id, held in store._held.items()
        ]
        try:
            await store.renew(held)
        except StoreFailed:
            continue


async def main(dsn: str, schema: str, lease_seconds: float) -> None:
    store = PostgresStore(dsn, schema=schema, lease_seconds=lease_seconds)
    async with (
        store.opened(owner="a node of a test", deliver=refuse),
        trio.open_nursery() as nursery,
    ):
        tell("opened")
        nursery.start_soon(serve, store, 0.005)
        nursery.start_soon(renew, store, lease_seconds)


trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
