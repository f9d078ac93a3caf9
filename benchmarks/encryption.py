"""What does encryption at rest cost beside the same store without it?

One session, batches of 100 streamed deltas of some 160 bytes, written and then read back a thousand
at a time; in memory, where nothing else takes time, and in a journal, where every batch is synced.
Plain and encrypted alternate in one run, so that a slow minute hits both.

Estimate beforehand: AES-GCM of 200 bytes 1.5 us with its call, the envelope around it 1 us, one
more event decoded for each that is read 5 us. So 4 us for each event written and 8 us for each
read; on a journal that syncs, the writing should hardly be seen.

Reading it: ``reference`` is the plain store's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.sessions import SessionInfo, SessionState
from moorage.stores import JournalStore, MemoryStore

from benchmarks.measuring import Report, directory, in_child, median_round

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Store

EVENTS = 50_000
BATCH = 100
ROUNDS = 5
DATA = {"delta": "a few words that a model says, as they come in one piece of its stream" * 2}


async def _refuse(session_id: str, command: Command, letter: str | None = None) -> Answer:
    raise NotImplementedError


async def _write_and_read(store: Store, events: int) -> tuple[float, float]:
    """Seconds that each took."""
    records = [
        encode_event(time.time_ns(), "message_streamed", "r", DATA, None) for _ in range(BATCH)
    ]
    info = SessionInfo("a", SessionState.OPEN, {"t": "v"}, {}, 1, 1, 0, {"running": 1})
    async with store.opened(owner="the benchmark", deliver=_refuse):
        claim = await store.claim("a")
        begin = time.perf_counter()
        for seq in range(1, events, BATCH):
            await store.append(claim, expected_seq=seq, records=records, info=info)
            info = None  # type: ignore[assignment]
        written = time.perf_counter() - begin
        begin = time.perf_counter()
        after = 0
        while after < events:
            after = (await store.read("a", after=after)).scanned_to
        return written, time.perf_counter() - begin


def rates(path: Path, events: int) -> dict[str, list[float]]:
    """Events per second of each round, by what was done."""
    from moorage.stores.encryption import EncryptedStore, FileVault, KeyRing

    ring = KeyRing.generate("k")
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        where = path / str(number)
        stores: dict[str, Store] = {
            "memory": MemoryStore(),
            "memory encrypted": EncryptedStore(MemoryStore(), ring, FileVault(where / "keys 1")),
            "journal": JournalStore(where / "plain"),
            "journal encrypted": EncryptedStore(
                JournalStore(where / "sealed"), ring, FileVault(where / "keys 2")
            ),
        }
        for name, store in stores.items():
            written, read = trio.run(_write_and_read, store, events)
            found.setdefault(f"{name} write", []).append(events / written)
            found.setdefault(f"{name} read", []).append(events / read)
    return found


def measure(report: Report, quick: bool = False) -> None:
    """Report the medians."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        report.skipped("the extra encryption is not installed")
        return
    with directory() as path:
        found = in_child(rates, path, EVENTS // (10 if quick else 1))
    for store in ("memory", "journal"):
        for what in ("write", "read"):
            plain, sealed = (
                median_round(found[f"{name} {what}"]) for name in (store, f"{store} encrypted")
            )
            more = (1 / sealed - 1 / plain) * 1e6
            report(
                f"{store} {what}",
                sealed,
                "events/s",
                reference=plain,
                us_per_event_more=round(more, 1),
            )
