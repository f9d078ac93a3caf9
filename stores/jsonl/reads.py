"""The reading half of the store port: for the owner and for readers beside it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio
from moorage.runtime.codec import decode_struct
from moorage.runtime.errors import StoreFailed, UnknownSession
from moorage.runtime.ports import Page, StoredRun
from moorage.runtime.sessions import SessionInfo, SessionState

from ..bounds import check_limit
from ..news import NewsBoard
from .loading import LoadedLog, Moved, load_events, load_log, spans_of
from .snapshots import load_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.ports import Snapshot

    from ..journal.disk import Disk
    from .layout import Layout
    from .scanning import EventLine, Facts

READ_THREADS_MAX = 4
LOADED_EVENTS_MAX = 4_000_000
"""Events of which it is kept in memory where they are; 40 to 100 bytes for each."""
_TRIES_MAX = 200
_TRY_SECONDS = 0.005
_SESSIONS_PER_CHECKPOINT = 100

T = TypeVar("T")


class _Entry:
    __slots__ = ("facts", "loading", "log")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.log: LoadedLog | None = None
        self.loading = trio.Lock()


class Sessions:
    """All sessions as far as their files were read, the one that changed last at the end."""

    def __init__(self, facts: Iterable[Facts] = ()) -> None:
        self.entries: dict[str, _Entry] = {one.session_id: _Entry(one) for one in facts}

    def put(self, facts: Facts, events: Sequence[EventLine] | None) -> list[str]:
        """Take in a change, with the events that are new, or None if they were not looked at.

        Returns the ids of runs that have ended, as far as that is known.
        """
        entry = self.entries.get(facts.session_id)
        if entry is None:
            entry = self.entries[facts.session_id] = _Entry(facts)
        elif facts.commit != entry.facts.commit:
            del self.entries[facts.session_id]
            self.entries[facts.session_id] = entry
        before, entry.facts = entry.facts, facts
        log = entry.log
        ended: list[str] = []
        known = log is not None and facts.file == log.file and log.end == before.end
        if log is not None and known and events is not None:
            ended = log.extend(events, facts)
        else:
            entry.log = None
        return ended

    def existing(self, session_id: str) -> _Entry | None:
        entry = self.entries.get(session_id)
        return None if entry is None or entry.facts.info is None else entry


class Reads:
    """``sessions`` is None while it is not open. Subclasses say how to learn what is new."""

    def __init__(self, disk: Disk, layout: Layout) -> None:
        self._disk = disk
        self._layout = layout
        self._sessions: Sessions | None = None
        self._was_open = False
        self._board = NewsBoard()
        self._threads = trio.CapacityLimiter(READ_THREADS_MAX)
        self._loaded: OrderedDict[str, _Entry] = OrderedDict()

    def _open(self) -> Sessions:
        if self._sessions is None:
            reason = "closed" if self._was_open else "not open: use it within `async with`"
            raise StoreFailed(f"the store in {self._layout.root} is {reason}", written=False)
        return self._sessions

    async def _freshen(self, session_id: str) -> None:
        """Learn what is new of one session."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _freshen_all(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    def _cursors_of(self, facts: Facts) -> dict[str, int]:
        raise NotImplementedError

    async def info(self, session_id: str) -> SessionInfo | None:
        self._open()
        await self._freshen(session_id)
        entry = self._open().existing(session_id)
        return None if entry is None else info_of(entry.facts)

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncGenerator[SessionInfo]:
        self._open()
        await self._freshen_all()
        listed = [entry.facts for entry in reversed(list(self._open().entries.values()))]
        for number, facts in enumerate(listed):
            if number % _SESSIONS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            if facts.info is None or not facts.session_id.startswith(prefix):
                continue
            info = info_of(facts)
            if needs_worker and not info.needs_worker:
                continue
            if tags and not tags.items() <= info.tags.items():
                continue
            yield info

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        self._open()
        check_limit(limit)
        await self._freshen(session_id)

        async def attempt() -> Page:
            facts, log = await self._log(session_id)
            seqs, scanned_to = log.select(
                after=after,
                before=before,
                limit=limit,
                types=types,
                run_id=run_id,
                backwards=backwards,
            )
            return Page(
                events=await self._events(facts, log, seqs),
                scanned_to=scanned_to,
                head_seq=facts.head_seq,
                oldest_seq=facts.oldest_seq,
                closed=info_of(facts).state is SessionState.CLOSED,
            )

        return await self._trying(session_id, attempt)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        self._open()
        await self._freshen(session_id)

        async def attempt() -> StoredRun | None:
            if self._open().existing(session_id) is None:
                return None
            facts, log = await self._log(session_id)
            seqs = log.run_seqs(run_id)
            if seqs is None:
                return None
            events = await self._events(facts, log, [seq for seq in seqs if seq])
            return StoredRun(events[0], events[1] if seqs[1] else None, facts.head_seq)

        return await self._trying(session_id, attempt)

    async def find_key(self, session_id: str, key: str) -> str | None:
        self._open()
        await self._freshen(session_id)

        async def attempt() -> str | None:
            if self._open().existing(session_id) is None:
                return None
            _, log = await self._log(session_id)
            return log.find_key(key)

        return await self._trying(session_id, attempt)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        self._open()
        await self._freshen(session_id)
        entry = self._open().existing(session_id)
        return None if entry is None else await self._load_snapshot(entry.facts)

    async def _load_snapshot(self, facts: Facts) -> Snapshot | None:
        return await self._in_thread(load_snapshot, facts)

    async def cursor(self, session_id: str, name: str) -> int | None:
        self._open()
        await self._freshen(session_id)
        entry = self._open().existing(session_id)
        return None if entry is None else self._cursors_of(entry.facts).get(name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        self._open()
        await self._freshen(session_id)
        entry = self._open().existing(session_id)
        return {} if entry is None else dict(self._cursors_of(entry.facts))

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        self._open()
        await self._freshen_all()
        entries = [entry.facts for entry in self._open().entries.values()]
        for number, facts in enumerate(entries):
            if number % _SESSIONS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            if facts.info is None and facts.head_seq:
                yield facts.session_id, facts.head_seq

    async def _has_news(self, session_id: str, after: int, run_id: str | None) -> bool:
        """There is no checkpoint between looking for the last time and returning False."""
        entry = self._open().existing(session_id)
        if entry is None:
            return True
        if run_id is None or entry.facts.head_seq <= after:
            return entry.facts.head_seq > after

        async def attempt() -> bool:
            if self._open().existing(session_id) is None:
                return True
            _, log = await self._log(session_id)
            return log.run_ended(run_id)

        return await self._trying(session_id, attempt)

    # ---- from the files ----

    async def _log(self, session_id: str) -> tuple[Facts, LoadedLog]:
        """The facts and the index of the same moment. Raises UnknownSession, Moved."""
        entry = self._open().existing(session_id)
        if entry is None:
            raise UnknownSession(session_id)
        log = entry.log
        if log is None or log.end != entry.facts.end:
            async with entry.loading:
                log = await self._load(session_id, entry)
        if entry.facts.info is None:
            raise UnknownSession(session_id)
        self._keep(session_id, entry)
        return entry.facts, log

    async def _load(self, session_id: str, entry: _Entry) -> LoadedLog:
        while True:
            log, facts = entry.log, entry.facts
            if log is not None and log.end == facts.end:
                return log
            if facts.info is None:
                raise UnknownSession(session_id)
            loaded = await self._in_thread(load_log, facts)
            if entry.facts is facts:
                entry.log = loaded

    def _keep(self, session_id: str, entry: _Entry) -> None:
        """Let go of the indexes that were used the longest ago, when there are too many."""
        loaded = self._loaded
        loaded[session_id] = entry
        loaded.move_to_end(session_id)
        if len(loaded) < 2:
            return
        count = sum(one.log.head_seq for one in loaded.values() if one.log is not None)
        while count > LOADED_EVENTS_MAX and len(loaded) > 1:
            _, oldest = loaded.popitem(last=False)
            if oldest.log is not None:
                count -= oldest.log.head_seq
                oldest.log = None

    async def _events(self, facts: Facts, log: LoadedLog, seqs: Sequence[int]) -> list[Event]:
        if not seqs:
            return []
        return await self._in_thread(load_events, facts, spans_of(log, seqs))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await trio.to_thread.run_sync(
                work, self._disk, self._layout, *arguments, limiter=self._threads
            )
        except OSError as error:
            raise StoreFailed(
                f"the store in {self._layout.root} cannot be read: {error}", written=False
            ) from error

    async def _trying(self, session_id: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Until nobody replaces the file meanwhile, which is told of on the trio thread soon."""
        for _ in range(_TRIES_MAX):
            try:
                return await attempt()
            except Moved:
                await trio.sleep(_TRY_SECONDS)
                await self._freshen(session_id)
        raise StoreFailed(f"the file of session {session_id!r} is gone", written=False)


def info_of(facts: Facts) -> SessionInfo:
    """The listing facts of a session that exists."""
    assert facts.info is not None
    return attrs.evolve(
        decode_struct(facts.info, SessionInfo),
        head_seq=facts.head_seq,
        modified_at_ns=facts.modified_at_ns,
    )
