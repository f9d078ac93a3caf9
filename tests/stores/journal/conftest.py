"""A scribe writes to a journal and remembers what it was told is durable; then it checks."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CursorExpired, UnknownSession
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionInfo, SessionState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime.events import Event
    from moorage.runtime.ports import Claim, Record, StoreReader
    from moorage.stores.journal import JournalStore


def make_info(session_id: str, **changes: Any) -> SessionInfo:
    info = SessionInfo(
        id=session_id,
        state=SessionState.OPEN,
        tags={"tenant": "acme"},
        metadata={},
        created_at_ns=1,
        modified_at_ns=1,
        head_seq=0,
        runs={},
    )
    return attrs.evolve(info, **changes)


@attrs.define
class Log:
    """What one session should hold."""

    head: int = 0
    oldest: int = 1
    exists: bool = False
    runs: dict[str, list[int]] = attrs.Factory(dict)
    keys: dict[str, str] = attrs.Factory(dict)
    cursors: dict[str, int] = attrs.Factory(dict)
    snapshot: int = 0


class Scribe:
    """Writes what a seeded dice says, keeps a model of it, and compares readers with it."""

    def __init__(self, seed: int = 0, sessions: int = 8) -> None:
        self.logs: dict[str, Log] = {}
        self.claims: dict[str, Claim] = {}
        self._dice = random.Random(seed)
        self._sessions = sessions

    async def write(self, store: JournalStore, steps: int = 1) -> None:
        self.claims.clear()
        for _ in range(steps):
            await self._step(store)

    async def _step(self, store: JournalStore) -> None:
        dice = self._dice
        session_id = f"session-{dice.randrange(self._sessions)}"
        log = self.logs.setdefault(session_id, Log())
        if session_id not in self.claims:
            self.claims[session_id] = await store.claim(session_id)
        claim = self.claims[session_id]
        choice = dice.random()
        if not log.exists or choice < 0.8:
            await self.append(store, session_id, count=dice.randrange(1, 5))
        elif choice < 0.86:
            await store.save_snapshot(claim, Snapshot(log.head, b"state %d" % log.head))
            log.snapshot = log.head
        elif choice < 0.92:
            await store.save_cursor(session_id, "reader", log.head)
            log.cursors["reader"] = log.head
        elif choice < 0.98:
            log.oldest = dice.randrange(log.oldest, log.head + 2)
            await store.trim(claim, log.oldest)
        else:
            await store.delete(claim)
            del self.claims[session_id]
            self.logs[session_id] = Log(head=log.head, oldest=log.head + 1)

    async def rotated(self, store: JournalStore, times: int) -> None:
        """Wait for a rotation that is due: it happens beside the commits, in threads."""
        with trio.fail_after(60):
            while store.statistics().rotations < times:
                await trio.lowlevel.checkpoint()

    async def fill(self, store: JournalStore, rotations: int = 3) -> None:
        """240 events of three sessions in segments of 4 KiB, sealed so many times."""
        for number in range(60):
            await self.append(store, f"session-{number % 3}", count=4)
            if number % 20 == 19:
                await self.rotated(store, min(number // 20 + 1, rotations))

    async def append(self, store: JournalStore, session_id: str, *, count: int) -> None:
        log = self.logs.setdefault(session_id, Log())
        if session_id not in self.claims:
            self.claims[session_id] = await store.claim(session_id)
        first = log.head + 1
        records = [self._record(log, first + position) for position in range(count)]
        info = make_info(session_id) if not log.exists or self._dice.random() < 0.2 else None
        await store.append(self.claims[session_id], expected_seq=first, records=records, info=info)
        log.exists = True
        log.head += count

    def _record(self, log: Log, seq: int) -> Record:
        choice = self._dice.random()
        open_runs = [run_id for run_id, seqs in log.runs.items() if not seqs[1]]
        data = {"seq": seq}
        if choice < 0.2:
            run_id, key = f"run-{seq}", f"key-{seq}"
            log.runs[run_id] = [seq, 0]
            log.keys[key] = run_id
            return encode_event(seq, "run_submitted", run_id, data, key=key)
        if choice < 0.35 and open_runs:
            log.runs[open_runs[0]][1] = seq
            return encode_event(seq, "run_completed", open_runs[0], data)
        return encode_event(seq, "message_streamed", None, data)

    async def check(self, reader: StoreReader) -> None:
        """Everything is as the model says, and nothing else is there."""
        existing = {session_id for session_id, log in self.logs.items() if log.exists}
        assert {info.id async for info in reader.sessions()} == existing
        for session_id, log in self.logs.items():
            if log.exists:
                await self._check_session(reader, session_id, log)
            else:
                assert await reader.info(session_id) is None
                with pytest.raises(UnknownSession):
                    await reader.read(session_id)

    async def _check_session(self, reader: StoreReader, session_id: str, log: Log) -> None:
        expected = list(range(log.oldest, log.head + 1))
        limit = self._dice.choice([3, 10, 1000])
        forwards = await read_all(reader, session_id, after=log.oldest - 1, limit=limit)
        assert [event.seq for event in forwards] == expected
        assert [event.data["seq"] for event in forwards] == expected
        backwards = await read_backwards(reader, session_id, limit=limit)
        assert [event.seq for event in backwards] == expected
        if log.oldest > 1:
            with pytest.raises(CursorExpired):
                await reader.read(session_id, after=log.oldest - 2)
        for run_id, (submitted, ended) in log.runs.items():
            found = await reader.find_run(session_id, run_id)
            if submitted < log.oldest:
                assert found is None
            else:
                assert found is not None
                assert found.submitted.seq == submitted
                assert (found.ended.seq if found.ended else 0) == ended
        for key, run_id in log.keys.items():
            gone = log.runs[run_id][0] < log.oldest
            assert await reader.find_key(session_id, key) == (None if gone else run_id)
        snapshot = await reader.snapshot(session_id)
        assert (snapshot.seq if snapshot else 0) == log.snapshot
        assert await reader.cursor(session_id, "reader") == log.cursors.get("reader")
        info = await reader.info(session_id)
        assert info is not None
        assert info.head_seq == log.head


async def read_all(
    reader: StoreReader, session_id: str, *, after: int = 0, limit: int = 1000
) -> list[Event]:
    events: list[Event] = []
    while True:
        page = await reader.read(session_id, after=after, limit=limit)
        events += page.events
        after = page.scanned_to
        if after >= page.head_seq:
            return events


async def read_backwards(reader: StoreReader, session_id: str, *, limit: int = 1000) -> list[Event]:
    events: list[Event] = []
    before: int | None = None
    while True:
        page = await reader.read(session_id, before=before, limit=limit, backwards=True)
        events = page.events + events
        before = page.scanned_to
        if before <= page.oldest_seq:
            return events


@contextlib.asynccontextmanager
async def _open_store(store: JournalStore) -> AsyncIterator[JournalStore]:
    async def deliver(session_id: str, command: object, letter: str | None = None) -> object:
        return session_id, command

    async with store.opened(owner="a test", deliver=deliver):
        yield store


@pytest.fixture
def open_store() -> Callable[[JournalStore], AbstractAsyncContextManager[JournalStore]]:
    return _open_store


@pytest.fixture
def scribe() -> Scribe:
    return Scribe()


@pytest.fixture
def new_info() -> Callable[..., SessionInfo]:
    return make_info


@pytest.fixture
def new_log() -> type[Log]:
    return Log
