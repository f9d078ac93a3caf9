"""How fast does a new subscriber catch up with a million events, and does its memory stay flat?

The store is built by another process; this one opens it and reads all of the long session's
events through ``subscribe(after=0)``, in batches.

Estimate beforehand: a million bodies of 60 bytes are 60 MB, read in big blocks from the page
cache in 0.05 s; decoding costs 2.2 us each with msgpack and 1 us to make the Event: 3.2 s, so
about 300,000 events/s. 200,000 is the least that will do.

Reading it: ``reference`` is the same number of events decoded from memory with nothing around
them. ``memory`` is what the process grew by while it read, which must not depend on the length.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import open_reader, open_supervisor
from moorage.runtime.codec import decode_events, encode_event
from moorage.stores import JournalStore

from benchmarks.building import LONG, build_store, emitting_agent
from benchmarks.measuring import Report, directory, in_child, resident_bytes

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 1_000_000
BATCH = 1_000


def decoded_per_second(count: int) -> float:
    """Events decoded a second from bodies in memory, in blocks of a thousand."""
    data = {"delta": "some words of an answer ", "i": 500_000}
    bodies = [encode_event(time.time_ns(), "message_streamed", "run_1", data).body] * BATCH
    begin = time.perf_counter()
    for first in range(1, count, BATCH):
        decode_events(LONG, first, bodies)
    return count / (time.perf_counter() - begin)


async def _read_all(path: Path) -> tuple[int, float, float, int]:
    async with open_supervisor(JournalStore(path), emitting_agent) as supervisor:
        session = await supervisor.session(LONG)
        head = (await session.info()).head_seq
        seq, most = 0, 0
        begin = 0.0
        before = 0
        async with session.subscribe(after=0) as events:
            async for batch in events.batches():
                if not seq:  # the first batch brings code and buffers into memory
                    before, begin = resident_bytes(), time.perf_counter()
                    first = len(batch)
                seq += len(batch)
                if seq != batch[-1].seq:
                    raise RuntimeError(f"a gap or a repeat before seq {batch[-1].seq}")
                most = max(most, resident_bytes())
                if seq == head:
                    break
        seconds = time.perf_counter() - begin
        syncs = supervisor.statistics().store.syncs
    return head - first, seconds, (most - before) / 2**20, syncs


def read_all(path: Path) -> tuple[int, float, float, int]:
    """Events read, seconds, megabytes grown, syncs made."""
    return trio.run(_read_all, path)


async def _read_beside(path: Path) -> float:
    async with open_reader(JournalStore(path)) as reader:
        session = reader.session(LONG)
        head = (await session.info()).head_seq
        begin = time.perf_counter()
        seq = 0
        async with session.subscribe(after=0) as events:
            async for batch in events.batches():
                seq += len(batch)
                if seq == head:
                    break
        return head / (time.perf_counter() - begin)


def read_beside(path: Path) -> float:
    """Events a second through ``open_reader``."""
    return trio.run(_read_beside, path)


def measure(report: Report, quick: bool = False) -> None:
    """Report the rate and the growth of memory."""
    events = EVENTS // 10 if quick else EVENTS
    with directory() as path:
        in_child(build, path / "store", events)
        count, seconds, grown, syncs = in_child(read_all, path / "store")
        beside = in_child(read_beside, path / "store")
    report("rate", count / seconds, "events/s", reference=decoded_per_second(events // 10))
    report("rate of a reader beside", beside, "events/s")
    report("memory", grown, "MiB", events=count)
    report("syncs", syncs, "syncs")


def build(path: Path, events: int) -> None:
    build_store(path, events=events)
