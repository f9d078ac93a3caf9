"""A node for tests of faults: it appends to session s whenever it has it, and tells everything.

Lines on standard output: ``opened``, ``claimed EPOCH HEAD TICKS``, ``acknowledged SEQ``, ``stale``,
``failed``. A process id on standard input is that of a node which it kills; ticks count from then
on. They and no clock say for how long it did without the session: what holds this process up is no
delay of its claim's.
"""

from __future__ import annotations

import os
import signal
import sys

import trio
from moorage.runtime.errors import SessionHeld, StaleOwner, StoreFailed
from moorage.runtime.ports import Claim
from moorage.stores import PostgresStore
from moorage.stores.conformance.scenario import Author, note, refuse

PAUSE_SECONDS = 0.005
"""Between two attempts, and between two appends."""
TICK_SECONDS = 0.05


def tell(*words: object) -> None:
    """In one write: a node that is killed leaves no part of a line."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


class Ticks:
    """Since the last kill, or the start."""

    def __init__(self) -> None:
        self.count = 0

    async def keep(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self.count += 1

    async def kill_when_told(self) -> None:
        async with trio.lowlevel.FdStream(os.dup(0)) as told:
            async for line in told:
                os.kill(int(line), signal.SIGKILL)
                self.count = 0


async def serve(store: PostgresStore, ticks: Ticks) -> None:
    """One ownership after the other."""
    while True:
        try:
            author = await Author.of(store, "s")
        except (SessionHeld, StoreFailed):
            await trio.sleep(PAUSE_SECONDS)
            continue
        tell("claimed", author.claim.epoch, author.head_seq, ticks.count)
        try:
            while True:
                number = author.head_seq + 1
                # by what it says an append is known again: no two nodes may say the same
                await author.write(note(number, data={"number": number, "node": os.getpid()}))
                tell("acknowledged", author.head_seq)
                await trio.sleep(PAUSE_SECONDS)
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
    store, ticks = PostgresStore(dsn, schema=schema, lease_seconds=lease_seconds), Ticks()
    async with (
        store.opened(owner="a node of a test", deliver=refuse),
        trio.open_nursery() as nursery,
    ):
        tell("opened")
        nursery.start_soon(ticks.keep)
        nursery.start_soon(ticks.kill_when_told)
        nursery.start_soon(serve, store, ticks)
        nursery.start_soon(renew, store, lease_seconds)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
