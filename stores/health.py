"""What is wrong with a store, in one shape for all of them, and the walk through everything that a
reader can read.

Each store has ``inspect()``: it looks at its own tables or files, and walks through every session
as a reader does. It changes nothing and works beside whoever owns the store.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import CorruptLog, CursorExpired, StoreFailed, UnknownSession
from moorage.runtime.events import RUN_TERMINAL_TYPES

from .comparing import first_seq

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.runtime.events import Event
    from moorage.runtime.ports import Store, StoreReader
    from moorage.runtime.sessions import SessionInfo

FINDINGS_MAX = 1_000
"""Findings that are told one by one; the others are counted."""
_PAGE_EVENTS = 1_000
_TRIES_MAX = 3
"""How often a session is looked at again that changed while it was looked at."""
RESTORE = "restore a backup, or copy the sessions that are sound: moorage copy --session ID"


class Severity(str, enum.Enum):
    """DAMAGE: something that was written is gone, or wrong. RISK: nothing is yet, but what the
    store promises does not hold, or something is left over."""

    DAMAGE = "damage"
    RISK = "risk"

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class Finding:
    """``place`` says where: a session and a seq, a file and an offset, a setting; ``remedy`` what
    to do."""

    place: str
    problem: str
    remedy: str
    severity: Severity = Severity.DAMAGE


@attrs.frozen
class HealthReport:
    """What was read, and what was found (the first thousand; ``left_out`` counts the others, and
    ``damages`` those of all that are damage). ``facts`` are a store's own: sizes, versions."""

    sessions: int
    events: int
    findings: tuple[Finding, ...]
    damages: int = 0
    left_out: int = 0
    facts: dict[str, Any] = attrs.Factory(dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged; there may be risks."""
        return self.damages == 0


class Findings:
    """Collects a report."""

    def __init__(self) -> None:
        self.sessions = 0
        self.events = 0
        self.facts: dict[str, Any] = {}
        self._found: dict[Finding, None] = {}
        self._damages = 0
        self._left_out = 0

    @property
    def damaged(self) -> bool:
        return self._damages > 0

    def add(self, finding: Finding) -> None:
        if finding in self._found:
            return
        if finding.severity is Severity.DAMAGE:
            self._damages += 1
        if len(self._found) < FINDINGS_MAX:
            self._found[finding] = None
        else:
            self._left_out += 1

    def add_all(self, report: HealthReport) -> None:
        """What another look has found, with its facts; not its counts."""
        self.facts.update(report.facts)
        for finding in report.findings:
            self.add(finding)
        self._damages = max(self._damages, report.damages)
        self._left_out += report.left_out

    def damage(self, place: str, problem: str, remedy: str = RESTORE) -> None:
        self.add(Finding(place, problem, remedy))

    def risk(self, place: str, problem: str, remedy: str) -> None:
        self.add(Finding(place, problem, remedy, Severity.RISK))

    def corrupt(self, error: CorruptLog, remedy: str = RESTORE) -> None:
        self.damage(f"{error.file}, {error.offset}", error.reason, remedy)

    def report(self) -> HealthReport:
        return HealthReport(
            self.sessions,
            self.events,
            tuple(self._found),
            self._damages,
            self._left_out,
            self.facts,
        )


class RunPlaces:
    """Where a session's runs begin and end, as its events tell."""

    def __init__(self) -> None:
        self.submitted: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.keys: dict[str, str] = {}
        """Idempotency key -> run, as far as it is readable."""

    def see(self, event: Event) -> None:
        if event.run_id is None:
            return
        if event.type == "run_submitted":
            self.submitted[event.run_id] = event.seq
            self.ended.pop(event.run_id, None)
            key = event.data.get("key") if type(event.data) is dict else None
            if type(key) is str:
                self.keys[key] = event.run_id
        elif event.type in RUN_TERMINAL_TYPES:
            self.ended[event.run_id] = event.seq


def place_of(session_id: str, seq: int | None = None) -> str:
    """How a finding names a session, or an event of it."""
    return f"session {session_id!r}" + ("" if seq is None else f", seq {seq}")


async def inspect_store(store: Store) -> HealthReport:
    """The report of the store's own ``inspect``; of one that has none, what a walk finds. Raises
    StoreFailed."""
    own = getattr(store, "inspect", None)
    if own is not None:
        report: HealthReport = await own()
        return report
    findings = Findings()
    async with store.reading() as reader:
        await walk(reader, findings)
    return findings.report()


async def walk(
    reader: StoreReader, findings: Findings, session_ids: Collection[str] | None = None
) -> None:
    """Read everything of these sessions (None: of all) and hold it against each other: seqs without
    gap, runs and keys that are found, snapshots and cursors that are not beyond the head.

    Raises StoreFailed where the store cannot be read at all.
    """
    if session_ids is None:
        try:
            session_ids = [info.id async for info in reader.sessions()]
        except CorruptLog as error:
            findings.corrupt(error)
            return
    for session_id in session_ids:
        await _walk_one(reader, session_id, findings)


async def _walk_one(reader: StoreReader, session_id: str, findings: Findings) -> None:
    for _ in range(_TRIES_MAX):
        found = _Session(reader, session_id)
        try:
            await found.look()
            again = await reader.info(session_id)
        except CorruptLog as error:
            findings.corrupt(error)
            findings.sessions += 1
            return
        except (UnknownSession, CursorExpired):
            continue  # deleted or trimmed meanwhile
        except StoreFailed as error:
            if error.code != "key_unavailable":
                raise
            findings.damage(
                place_of(session_id),
                error.message,
                "give the keys that it was written with; if they are gone for ever, delete it",
            )
            findings.sessions += 1
            return
        if again == found.info or not found.problems:
            break
    for problem in found.problems:
        findings.add(problem)
    if found.info is not None:
        findings.sessions += 1
        findings.events += found.events


class _Session:
    """One look at a session."""

    def __init__(self, reader: StoreReader, session_id: str) -> None:
        self.info: SessionInfo | None = None
        self.events = 0
        self.problems: list[Finding] = []
        self._reader = reader
        self._id = session_id
        self._runs = RunPlaces()

    def _problem(self, text: str, seq: int | None = None) -> None:
        if len(self.problems) < FINDINGS_MAX:
            self.problems.append(Finding(place_of(self._id, seq), text, RESTORE))

    async def look(self) -> None:
        self.info = await self._reader.info(self._id)
        if self.info is None:
            return
        head = self.info.head_seq
        await self._read(head)
        await self._find_runs(head)
        snapshot = await self._reader.snapshot(self._id)
        if snapshot is not None and snapshot.seq > head:
            now = await self._reader.info(self._id)
            if now is not None and snapshot.seq > now.head_seq:
                self._problem(f"its snapshot is of seq {snapshot.seq}, beyond the head, {head}")
        for name, seq in (await self._reader.cursors(self._id)).items():
            if seq > head:
                now = await self._reader.info(self._id)
                if now is not None and seq > now.head_seq:
                    self._problem(f"its cursor {name!r} is at {seq}, beyond the head, {head}")

    async def _read(self, head: int) -> None:
        after = await first_seq(self._reader, self._id) - 1
        while after < head:
            page = await self._reader.read(
                self._id, after=after, before=head + 1, limit=_PAGE_EVENTS
            )
            for expected, event in enumerate(page.events, after + 1):
                if event.seq != expected:
                    self._problem(f"seq {event.seq} stands where {expected} should", expected)
                    return
                self._runs.see(event)
            self.events += len(page.events)
            if not page.events or page.scanned_to != page.events[-1].seq:
                self._problem("the events end here, before the head", after + len(page.events) + 1)
                return
            after = page.scanned_to

    async def _find_runs(self, head: int) -> None:
        for run_id, seq in self._runs.submitted.items():
            run = await self._reader.find_run(self._id, run_id)
            if run is None or run.submitted.seq != seq:
                self._problem(f"run {run_id!r}, submitted here, is not found", seq)
                continue
            ended = self._runs.ended.get(run_id)
            if (run.ended is None) != (ended is None) and run.head_seq == head:
                self._problem(f"the end of run {run_id!r} is not found, or is none", ended or seq)
            elif ended is not None and run.ended is not None and run.ended.seq != ended:
                self._problem(f"the end of run {run_id!r} is found at {run.ended.seq}", ended)
        for key, run_id in self._runs.keys.items():
            if await self._reader.find_key(self._id, key) != run_id:
                self._problem(f"the key {key!r} does not find run {run_id!r}")
