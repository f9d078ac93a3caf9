"""Sessions for tests that damage a store and have it inspected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.ports import Snapshot
from moorage.stores.conformance.scenario import Author, note, opened
from moorage.stores.health import HealthReport, Severity

if TYPE_CHECKING:
    from moorage.stores.conformance import OpenStore


async def fill(open_store: OpenStore) -> None:
    """Session a has two runs, one of them with a key and one unfinished, a snapshot and a cursor;
    b is trimmed, c deleted."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        submitted = note(1, "run_submitted", "r1", data={"key": "k1"}, key="k1")
        await author.write(submitted, note(2), note(3, "run_completed", "r1"))
        await author.write(note(4, "run_submitted", "r2"))
        await store.save_snapshot(author.claim, Snapshot(3, b"state"))
        await store.save_cursor("a", "reader", 2)
        trimmed = await Author.of(store, "b")
        await trimmed.write(note(1), note(2, "run_submitted", "r"), note(3, "run_completed", "r"))
        await trimmed.write(note(4))
        await store.trim(trimmed.claim, 3)
        gone = await Author.of(store, "c")
        await gone.write(note(1))
        await store.delete(gone.claim)


async def inspected(store: Any) -> HealthReport:
    """The report, which must be of a sound store, or name a place and a remedy for all it found."""
    report: HealthReport = await store.inspect()
    assert all(one.place and one.problem and one.remedy for one in report.findings)
    assert report.sound == (not damages(report))
    return report


def damages(report: HealthReport) -> list[tuple[str, str]]:
    """Place and problem of each."""
    return [(one.place, one.problem) for one in report.findings if one.severity is Severity.DAMAGE]


def told(report: HealthReport, *words: str) -> bool:
    """Whether one finding has all of these words."""
    texts = [f"{one.place}: {one.problem}" for one in report.findings]
    return any(all(word in text for word in words) for text in texts)
