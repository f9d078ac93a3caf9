"""The walk finds what does not agree, through the port alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.runtime.ports import Page, Snapshot, StoredRun
from moorage.stores import MemoryStore, SnapshotOnlyStore
from moorage.stores.conformance.scenario import Author, note, opened
from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault
from moorage.stores.health import (
    FINDINGS_MAX,
    Finding,
    Findings,
    HealthReport,
    Severity,
    inspect_store,
    walk,
)
from moorage.stores.snapshot_only.examples import FileSnapshots

from tests.stores.inspected import damages, fill, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.runtime.sessions import SessionInfo
    from moorage.stores.conformance import OpenStore


class Odd(MemoryStore):
    """Tells something else of a session than there is."""

    def __init__(self, **changes: Callable[[Any], Any]) -> None:
        super().__init__()
        self._changes = changes

    def _changed(self, name: str, value: Any) -> Any:
        return self._changes.get(name, lambda same: same)(value)

    async def read(self, session_id: str, **range: Any) -> Page:
        found: Page = self._changed("read", await super().read(session_id, **range))
        return found

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        found: StoredRun | None = self._changed("run", await super().find_run(session_id, run_id))
        return found

    async def find_key(self, session_id: str, key: str) -> str | None:
        found: str | None = self._changed("key", await super().find_key(session_id, key))
        return found

    async def snapshot(self, session_id: str) -> Snapshot | None:
        found: Snapshot | None = self._changed("snapshot", await super().snapshot(session_id))
        return found

    async def cursors(self, session_id: str) -> dict[str, int]:
        found: dict[str, int] = self._changed("cursors", await super().cursors(session_id))
        return found


async def walked(store: MemoryStore) -> HealthReport:
    await fill(store.peer)
    findings = Findings()
    async with opened(lambda: store):
        await walk(store, findings)
    return findings.report()


def corrupt(_: Any) -> Any:
    raise CorruptLog(file="here", offset=5, reason="a reason")


def without(page: Page, seq: int) -> Page:
    return attrs.evolve(page, events=[event for event in page.events if event.seq != seq])


async def test_a_sound_store_is_counted_and_nothing_is_found() -> None:
    report = await walked(MemoryStore())

    assert report == HealthReport(sessions=2, events=6, findings=())
    assert report.sound


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("read", lambda page: without(page, 3), ("seq 3", "seq 4 stands where 3 should")),
        ("read", lambda page: without(page, 4), ("seq 4", "the events end here")),
        ("read", corrupt, ("here, 5", "a reason")),
        ("run", lambda run: None, ("'a', seq 1", "run 'r1', submitted here, is not found")),
        ("run", lambda run: attrs.evolve(run, ended=None), ("the end of run 'r1' is not found",)),
        (
            "run",
            lambda run: attrs.evolve(run, ended=run.submitted),
            ("the end of run 'r2' is not found, or is none",),
        ),
        (
            "run",
            lambda run: run and attrs.evolve(run, ended=run.ended and run.submitted),
            ("at 1",),
        ),
        ("key", lambda run: "other", ("the key 'k1' does not find run 'r1'",)),
        ("snapshot", lambda _: Snapshot(9, b""), ("'a'", "its snapshot is of seq 9, beyond")),
        ("cursors", lambda _: {"reader": 9}, ("'a'", "its cursor 'reader' is at 9, beyond")),
    ],
)
async def test_what_does_not_agree_is_told_with_its_place(
    name: str, change: Callable[[Any], Any], words: tuple[str, ...]
) -> None:
    report = await walked(Odd(**{name: change}))

    assert told(report, *words), report.findings
    assert not report.sound
    assert report.sessions == 2


async def test_a_listing_that_cannot_be_read_is_a_finding_and_other_failures_pass() -> None:
    class Unlisted(MemoryStore):
        async def sessions(self, **filter: Any) -> Any:
            corrupt(None)
            yield

    class Lost(MemoryStore):
        async def info(self, session_id: str) -> SessionInfo | None:
            raise StoreFailed("the connection is lost")

    assert damages(await walked(Unlisted())) == [("here, 5", "a reason")]
    with pytest.raises(StoreFailed, match="connection is lost"):
        await walked(Lost())


async def test_what_changes_meanwhile_is_no_damage() -> None:
    """The session goes on between two looks, so that the first does not agree with itself."""
    store = MemoryStore()
    await fill(store.peer)

    class Busy(Odd):
        looks = 0

        async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
            self.looks += 1
            if self.looks == 1:
                await author.write(note(5))
                return None
            return await super().find_run(session_id, run_id)

    busy = Busy()
    busy._content = store._content
    findings = Findings()
    async with opened(lambda: busy):
        author = await Author.of(busy, "a")
        await walk(busy, findings)

    assert findings.report() == HealthReport(sessions=2, events=7, findings=())


async def test_a_store_without_an_inspection_of_its_own_is_walked_through(tmp_path: Path) -> None:
    memory = MemoryStore()
    files = partial(SnapshotOnlyStore, FileSnapshots(tmp_path))
    ring, vault = KeyRing.generate("k"), MemoryVault()
    stores: list[OpenStore] = [
        memory.peer,
        files,
        lambda: EncryptedStore(sealed.peer(), ring, vault),
    ]
    sealed = MemoryStore()

    for new in stores:
        await fill(new)

        assert await inspect_store(new()) == HealthReport(sessions=2, events=6, findings=())


def test_findings_are_told_once_and_up_to_a_limit() -> None:
    findings = Findings()
    for number in range(FINDINGS_MAX + 5):
        for _ in range(2):
            findings.risk(f"place {number}", "problem", "remedy")
    findings.damage("behind the limit", "problem")

    report = findings.report()

    assert findings.damaged
    assert len(report.findings) == FINDINGS_MAX
    assert (report.damages, report.sound) == (1, False)
    assert report.left_out > 0
    assert report.findings[0] == Finding("place 0", "problem", "remedy", Severity.RISK)
    assert str(Severity.RISK) == "risk"
