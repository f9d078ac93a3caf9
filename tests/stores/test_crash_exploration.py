"""Power is lost at every operation of a small scenario, with every kind of outcome.

One run of the scenario on a simulated disk is forked before and after each operation into the
disks that could be found then. Each is opened and must hold, session by session, what was
acknowledged, or that and the whole of what was on its way; never a part of it, and never damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.errors import UnknownSession
from moorage.runtime.ports import Snapshot
from moorage.stores import JournalStore, JsonlStore
from moorage.stores.conformance.scenario import Author, facts, note, read_all, refuse
from moorage.stores.simulated_disk import DROPPED, KEPT, TORN, ZEROED, SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from moorage.runtime.ports import Claim, Record, Store
    from moorage.stores.simulated_disk import Choose, Operation

ROOT = Path("/journal")
SEGMENT_BYTES = 4096
SESSIONS = ("a", "b", "c")
SEEDS = 1
AT_ONCE = 8
RECOVERIES = 2

NewStore = Callable[[SimulatedDisk], "Store"]


def journal(disk: SimulatedDisk) -> Store:
    return JournalStore(ROOT, segment_bytes=SEGMENT_BYTES, disk=disk)


def jsonl(disk: SimulatedDisk) -> Store:
    return JsonlStore(ROOT, commit_log_bytes=SEGMENT_BYTES, disk=disk)


every_store = pytest.mark.parametrize("new_store", [journal, jsonl])


@attrs.frozen
class Version:
    """What one session holds: its (seq, number)s, and all else that is kept of it."""

    events: tuple[tuple[int, int], ...] = ()
    head_seq: int = 0
    oldest_seq: int = 1
    summary: str | None = None
    cursor: int | None = None
    snapshot: Snapshot | None = None
    run: tuple[int, int | None] | None = None


Allowed = dict[str, tuple[Version, ...]]
"""Session -> what it may hold."""


@attrs.frozen
class Fork:
    """A disk found after a crash, and for each moment at which it could be found a label and what
    was allowed then."""

    disk: SimulatedDisk
    moments: list[tuple[str, Allowed]]
    new_store: NewStore


class Scenario:
    """Does things to a store, and knows what was begun and what was acknowledged."""

    def __init__(self, disk: SimulatedDisk, new_store: NewStore) -> None:
        self.disk = disk
        self.new_store = new_store
        self.forks: dict[object, Fork] = {}
        self._versions = {name: [Version()] for name in SESSIONS}
        self._acknowledged = dict.fromkeys(SESSIONS, 0)
        self._number = 0
        disk.watch = self._fork

    def _fork(self, disk: SimulatedDisk, operation: Operation, done: bool) -> None:
        # in this order: what is acknowledged is on the disk, what is on the disk was begun
        acknowledged = dict(self._acknowledged)
        found = [(name, disk.crashed(choose)) for name, choose in _outcomes(operation.number, done)]
        allowed = {
            session_id: tuple(versions[acknowledged[session_id] :])
            for session_id, versions in self._versions.items()
        }
        when = f"{'after' if done else 'before'} {operation.kind} {operation.path}"
        for name, crashed in found:
            fork = self.forks.setdefault(
                tuple(crashed.files().items()), Fork(crashed, [], self.new_store)
            )
            if not fork.moments or fork.moments[-1][1] != allowed:
                fork.moments.append((f"{when} (operation {operation.number}), {name}", allowed))

    async def _do(
        self, session_id: str, next: Version, act: Callable[[], Awaitable[object]]
    ) -> None:
        self._versions[session_id].append(next)
        await act()
        self._acknowledged[session_id] = len(self._versions[session_id]) - 1

    def _now(self, session_id: str) -> Version:
        return self._versions[session_id][-1]

    async def write(self, author: Author, *types: str) -> None:
        session_id = author.claim.session_id
        now = self._now(session_id)
        records: list[Record] = []
        events = list(now.events)
        run = now.run
        for seq, type in enumerate(types, now.head_seq + 1):
            self._number += 1
            run_id = "r" if type.startswith("run_") else None
            if run_id is not None:
                run = (seq, None) if run is None else (run[0], seq)
            data = {"number": self._number, "padding": "x" * 200}
            records.append(note(self._number, type, run_id, data=data))
            events.append((seq, self._number))
        summary = f"until {self._number}"
        next = attrs.evolve(
            now, events=tuple(events), head_seq=now.head_seq + len(types), summary=summary, run=run
        )
        info = facts(session_id, summary=summary)
        await self._do(session_id, next, lambda: author.write(*records, info=info))

    async def cursor(self, store: Store, session_id: str, seq: int) -> None:
        next = attrs.evolve(self._now(session_id), cursor=seq)
        await self._do(session_id, next, lambda: store.save_cursor(session_id, "c", seq))

    async def snapshot(self, author: Author) -> None:
        session_id = author.claim.session_id
        snapshot = Snapshot(author.head_seq, b"state" * 20)
        next = attrs.evolve(self._now(session_id), snapshot=snapshot)
        await self._do(session_id, next, lambda: author.store.save_snapshot(author.claim, snapshot))

    async def trim(self, author: Author, before: int) -> None:
        session_id = author.claim.session_id
        now = self._now(session_id)
        next = attrs.evolve(
            now,
            oldest_seq=before,
            events=tuple(event for event in now.events if event[0] >= before),
            run=None if now.run is None or now.run[0] < before else now.run,
        )
        await self._do(session_id, next, lambda: author.store.trim(author.claim, before))

    async def delete(self, author: Author) -> None:
        session_id = author.claim.session_id
        head_seq = self._now(session_id).head_seq
        next = Version(head_seq=head_seq, oldest_seq=head_seq + 1)
        await self._do(session_id, next, lambda: author.store.delete(author.claim))

    async def run(self) -> None:
        await self._first_life()
        await self._second_life()

    async def _first_life(self) -> None:
        store = self.new_store(self.disk)
        async with store.opened(owner="first", deliver=refuse):
            a, b, c = [await Author.of(store, name) for name in SESSIONS]
            await self.write(a, "run_submitted", "message_sent")
            await self.write(b, "message_sent")
            async with trio.open_nursery() as nursery:  # these meet in one commit, or in two
                nursery.start_soon(self.write, a, "message_sent", "message_sent", "message_sent")
                nursery.start_soon(self.write, b, "message_sent", "message_sent")
                nursery.start_soon(self.write, c, "message_sent")
            await self.cursor(store, "a", 2)
            await self.snapshot(a)
            for _ in range(4):  # over the end of a segment, twice
                await self.write(a, "message_sent", "message_sent", "message_sent")
                await self.write(b, "message_sent")
            await self.write(a, "run_completed")
            await self.delete(c)
            await self.trim(b, 3)
            await self.cursor(store, "a", 5)

    async def _second_life(self) -> None:
        store = self.new_store(self.disk)
        async with store.opened(owner="second", deliver=refuse):
            a, b, c = [await Author.of(store, name) for name in SESSIONS]
            await self.write(c, "message_sent")
            await self.trim(a, 5)
            await self.snapshot(a)
            for _ in range(3):
                await self.write(b, "message_sent", "message_sent", "message_sent")
            await self.delete(b)
            await self.write(a, "message_sent")


def _outcomes(number: int, done: bool) -> list[tuple[str, Choose]]:
    """Named ways in which everything that is not durable may turn out."""

    def all_writes(fate: int, *, names_lost: bool = False) -> Choose:
        def choose(count: int) -> int:
            if count == 2:
                return int(names_lost)
            return fate if count == 4 else count // 2

        return choose

    return [
        ("all kept", all_writes(KEPT)),
        ("writes dropped", all_writes(DROPPED)),
        ("writes torn", all_writes(TORN)),
        ("writes zeroed", all_writes(ZEROED)),
        ("names lost", all_writes(KEPT, names_lost=True)),
        ("all lost", all_writes(DROPPED, names_lost=True)),
        *(
            (f"seed {seed}", random.Random(seed).randrange)
            for seed in range(2 * SEEDS * number + done, 2 * SEEDS * (number + 1), 2)
        ),
    ]


async def _find(store: Store, claim: Claim) -> Version:
    session_id = claim.session_id
    info = await store.info(session_id)
    assert info == claim.info
    if info is None:
        with pytest.raises(UnknownSession):
            await store.read(session_id)
        events = []
    else:
        assert info.head_seq == claim.head_seq
        events = await read_all(store, session_id, after=claim.oldest_seq - 1)
    run = await store.find_run(session_id, "r")
    return Version(
        events=tuple((event.seq, event.data["number"]) for event in events),
        head_seq=claim.head_seq,
        oldest_seq=claim.oldest_seq,
        summary=None if info is None else info.summary,
        cursor=await store.cursor(session_id, "c"),
        snapshot=await store.snapshot(session_id),
        run=None if run is None else (run.submitted.seq, run.ended and run.ended.seq),
    )


async def _problem(fork: Fork, *, twice: bool) -> str | None:
    """What is wrong with what is found on a disk after a crash, if anything; ``twice``: also when
    something was written on top of it."""
    try:
        found = await _open_and_find(fork.new_store(fork.disk), write=twice)
        if twice and await _open_and_find(fork.new_store(fork.disk)) != _after_one_more(found):
            return f"{fork.moments[0][0]}: something else was found when it was opened again"
    except Exception as error:  # above all CorruptLog: a crash alone damages nothing
        return f"{fork.moments[0][0]}: {error!r}"
    for label, allowed in fork.moments:
        for session_id, version in found.items():
            if version not in allowed[session_id]:
                expected = "\n  ".join(map(str, allowed[session_id]))
                return f"{label}: {session_id} holds\n  {version}\ninstead of one of\n  {expected}"
    return None


async def _open_and_find(store: Store, *, write: bool = False) -> dict[str, Version]:
    async with store.opened(owner="after the crash", deliver=refuse):
        claims = [await store.claim(session_id) for session_id in SESSIONS]
        found = {claim.session_id: await _find(store, claim) for claim in claims}
        if write:
            await Author(store, claims[0]).write(note(900), info=facts("a", summary="more"))
    return found


def _after_one_more(found: dict[str, Version]) -> dict[str, Version]:
    now = found["a"]
    seq = now.head_seq + 1
    more = attrs.evolve(now, events=(*now.events, (seq, 900)), head_seq=seq, summary="more")
    return {**found, "a": more}


async def _explore(
    disk: SimulatedDisk, new_store: NewStore, *, problems_max: int = 20
) -> tuple[int, list[str]]:
    """How many different disks were found after a crash, and what was wrong with them."""
    scenario = Scenario(disk, new_store)
    await scenario.run()
    disk.watch = None
    forks = list(scenario.forks.values())
    if problems_max == 1:
        forks.reverse()  # what was never synced is most at the end, and one is enough
    return len(forks), await _problems(forks, problems_max)


async def _problems(found: Iterable[Fork], problems_max: int = 20) -> list[str]:
    problems: list[str] = []
    forks = iter(enumerate(found))

    async def look() -> None:
        for index, fork in forks:
            problem = await _problem(fork, twice=index % 8 == 0)
            if problem is not None:
                problems.append(problem)
            if len(problems) >= problems_max:
                return

    async with trio.open_nursery() as nursery:  # most of the time goes into waiting for threads
        for _ in range(AT_ONCE):
            nursery.start_soon(look)
    return problems


@every_store
async def test_a_crash_at_any_operation_keeps_what_was_acknowledged(new_store: NewStore) -> None:
    disk = SimulatedDisk()

    found, problems = await _explore(disk, new_store)

    assert not problems, f"{len(problems)} of {found} disks; the first:\n{problems[0]}"
    assert found > 500
    assert {operation.kind for operation in disk.operations} >= {
        "write",
        "sync",
        "create",
        "rename",
        "sync_directory",
    }
    logs = [
        operation
        for operation in disk.operations
        if operation.kind == "create" and operation.path.parent.name in ("segments", "commits")
    ]
    assert len(logs) > 3, "the scenario is too small to switch segments"


@every_store
async def test_a_crash_while_opening_after_a_crash_loses_nothing_either(
    new_store: NewStore,
) -> None:
    scenario = Scenario(SimulatedDisk(), new_store)
    await scenario.run()
    scenario.disk.watch = None
    sample = random.Random(7).sample(list(scenario.forks.values()), RECOVERIES)
    again: dict[object, Fork] = {}

    for fork in sample:
        told: Allowed = {}

        def watch(
            disk: SimulatedDisk,
            operation: Operation,
            done: bool,
            fork: Fork = fork,
            told: Allowed = told,
        ) -> None:
            # what was found once and told to somebody is what is found from then on
            moments = [("opened before", dict(told))] if told else fork.moments
            for name, choose in _outcomes(operation.number, done):
                crashed = disk.crashed(choose)
                label = f"{moments[0][0]}; {operation.kind} {operation.path} on opening, {name}"
                key = (tuple(crashed.files().items()), bool(told), fork.moments[0][0])
                told_of = [(label, moments[0][1]), *moments[1:]]
                again.setdefault(key, Fork(crashed, told_of, new_store))

        disk = fork.disk.crashed(lambda _: KEPT)
        disk.watch = watch
        store = new_store(disk)
        async with store.opened(owner="after the crash", deliver=refuse):
            claims = [await store.claim(session_id) for session_id in SESSIONS]
            told.update({claim.session_id: (await _find(store, claim),) for claim in claims})
        disk.watch = None

    problems = await _problems(again.values())
    assert not problems, f"{len(problems)} of {len(again)} disks; the first:\n{problems[0]}"
    assert len(again) > 5 * RECOVERIES


class ContentNotSynced(SimulatedDisk):
    """A sync of these files returns at once."""

    def __init__(self, files: str) -> None:
        super().__init__()
        self._files = files

    def make_content_durable(self, path: Path, *writes: Any) -> None:
        if not path.match(self._files):
            super().make_content_durable(path, *writes)


class NamesNotSynced(SimulatedDisk):
    """A sync of this directory returns at once."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory

    def make_names_durable(self, path: Path) -> None:
        if not path.match(self._directory):
            super().make_names_durable(path)


@pytest.mark.parametrize(
    ("new_store", "disk"),
    [
        (journal, ContentNotSynced("*")),
        (journal, ContentNotSynced("segments/*.log")),
        (journal, ContentNotSynced("segments/*.index")),
        (journal, ContentNotSynced("directory/*")),
        (journal, ContentNotSynced("MANIFEST*")),
        (journal, NamesNotSynced("journal")),
        (journal, NamesNotSynced("segments")),
        (jsonl, ContentNotSynced("*")),
        (jsonl, ContentNotSynced("commits/*")),
        (jsonl, ContentNotSynced("sessions/*")),
        (jsonl, ContentNotSynced("snapshots/*")),
        (jsonl, ContentNotSynced("cursors.jsonl*")),
        (jsonl, ContentNotSynced("store.json*")),
        (jsonl, NamesNotSynced("journal")),
        (jsonl, NamesNotSynced("sessions")),
        (jsonl, NamesNotSynced("snapshots")),
        (jsonl, NamesNotSynced("commits")),
    ],
    ids=lambda value: (
        value.__name__
        if callable(value)
        else " ".join(map(str, [type(value).__name__, *list(vars(value).values())[-1:]]))
    ),
)
async def test_with_a_sync_taken_out_the_exploration_fails(
    new_store: NewStore, disk: SimulatedDisk
) -> None:
    _, problems = await _explore(disk, new_store, problems_max=1)

    assert problems
