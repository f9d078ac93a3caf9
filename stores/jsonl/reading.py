"""A reader beside the owner, in this process or another. It takes no lock and never writes.

The files say everything: what stands in them is durable, and lines behind the last whole batch are
on their way. While somebody waits for news of a session its file is looked at again and again.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import StoreFailed

from .cursors import Cursors, follow_cursors
from .files import file_number
from .layout import CURSORS, load_generation
from .loading import follow_log
from .names import SUFFIX, stem_of
from .reads import Reads, Sessions
from .redone import redone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from ..journal.disk import Disk
    from .layout import Layout
    from .redone import RedoneDisk
    from .scanning import EventLine, Facts

POLL_SECONDS = 0.02
"""How late a waiting reader learns of news."""


@attrs.frozen
class JsonlReaderStatistics:
    """``sessions`` counts those that were looked at, ``waiting`` the tasks that wait for news."""

    sessions: int
    waiting: int


@contextlib.asynccontextmanager
async def open_reader(disk: Disk, layout: Layout) -> AsyncGenerator[JsonlReader]:
    """Raises CorruptLog and StoreFailed."""
    reader = JsonlReader(disk, layout)
    await reader.begin()
    problem: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            try:
                yield reader
            except BaseException as error:  # raised again below, not wrapped in a group
                problem = error
            nursery.cancel_scope.cancel()
    finally:
        reader.close()
    if problem is not None:
        try:
            raise problem
        finally:
            del problem  # its traceback refers to this frame


class JsonlReader(Reads):
    """Reads a store that somebody else owns, or nobody."""

    def __init__(self, disk: Disk, layout: Layout) -> None:
        super().__init__(disk, layout)
        self._cursors = Cursors(-1, 0, 0)
        self._waited: Counter[str] = Counter()
        self._following = trio.Lock()
        self._redone: RedoneDisk | None = None

    async def begin(self) -> None:
        """Raises CorruptLog and StoreFailed."""
        if await self._in_thread(load_generation) is None:
            raise StoreFailed(f"there is no store in {self._layout.root}", written=False)
        self._redone = await self._in_thread(redone)
        if self._redone is not None:
            self._disk = self._redone
        self._sessions = Sessions()
        await self._freshen_all()

    def close(self) -> None:
        self._sessions = None
        self._was_open = True
        self._board.wake_all()

    async def run(self) -> None:
        """Look for news of those that somebody waits for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._board.run)
            while True:
                await trio.sleep(POLL_SECONDS)
                for session_id in list(self._waited):
                    try:
                        await self._freshen(session_id)
                    except StoreFailed:
                        self._board.wake_session(session_id)  # who asks now meets the error

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._open()
        await self._freshen(session_id)
        self._waited[session_id] += 1
        try:
            if not await self._has_news(session_id, after, run_id):
                await self._board.wait(session_id, after=after, run_id=run_id)
        finally:
            self._waited[session_id] -= 1
            if not self._waited[session_id]:
                del self._waited[session_id]

    def statistics(self) -> JsonlReaderStatistics:
        sessions = self._open()
        return JsonlReaderStatistics(
            sessions=sum(entry.facts.info is not None for entry in sessions.entries.values()),
            waiting=self._board.statistics().waiting,
        )

    async def _leave_redone(self) -> None:
        """Look at the files again once an owner has done all commits."""
        found = self._redone
        if found is not None and await self._in_thread(lambda _, layout: found.is_over(layout)):
            self._disk, self._redone = found.disk, None

    async def _freshen(self, session_id: str) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        async with self._following:
            await self._leave_redone()
            try:
                stem = stem_of(session_id)
            except UnicodeEncodeError:
                return  # no session has such an id
            await self._follow(stem, session_id)

    async def _freshen_all(self) -> None:
        async with self._following:
            await self._leave_redone()
            names = await self._in_thread(_names)
            known = {entry.facts.stem: key for key, entry in self._open().entries.items()}
            found = await self._in_thread(
                _follow_all,
                [(stem, self._known(known.get(stem))) for stem in sorted(names | known.keys())],
            )
            for facts in sorted(found, key=lambda facts: facts.commit):
                self._put(facts, None)

    def _known(self, session_id: str | None) -> Facts | None:
        entry = None if session_id is None else self._open().entries.get(session_id)
        return None if entry is None else entry.facts

    async def _follow(self, stem: str, session_id: str) -> None:
        entry = self._open().entries.get(session_id)
        known = None if entry is None else entry.facts
        keep = entry is not None and entry.log is not None
        found = await self._in_thread(_follow_one, stem, known, keep)
        if found is None:
            if self._open().entries.pop(session_id, None) is not None:
                self._board.wake_session(session_id)
        elif found[0] is not known and found[0].session_id == session_id:
            self._put(*found)

    def _put(self, facts: Facts, events: Sequence[EventLine] | None) -> None:
        sessions = self._open()
        entry = sessions.entries.get(facts.session_id)
        if entry is not None and entry.facts is facts:
            return
        ended = sessions.put(facts, events)
        if facts.info is None or events is None:  # whether a run has ended is not known
            self._board.wake_session(facts.session_id)
        else:
            self._board.publish(facts.session_id, facts.head_seq, ended)

    async def cursor(self, session_id: str, name: str) -> int | None:
        await self._freshen_cursors()
        return await super().cursor(session_id, name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        await self._freshen_cursors()
        return await super().cursors(session_id)

    async def _freshen_cursors(self) -> None:
        self._open()
        async with self._following:
            await self._in_thread(_follow_cursors, self._cursors)

    def _cursors_of(self, facts: Facts) -> dict[str, int]:
        return self._cursors.of(facts.session_id, facts.life)


def _names(disk: Disk, layout: Layout) -> set[str]:
    return {
        name.removesuffix(SUFFIX) for name in disk.list(layout.sessions) if name.endswith(SUFFIX)
    }


def _follow_one(
    disk: Disk, layout: Layout, stem: str, known: Facts | None, keep: bool
) -> tuple[Facts, Sequence[EventLine] | None] | None:
    return follow_log(disk, layout, stem, known, keep_events=keep)


def _follow_all(
    disk: Disk, layout: Layout, known: list[tuple[str, Facts | None]]
) -> list[Facts]:  # fmt: skip
    found = [follow_log(disk, layout, stem, facts, keep_events=False) for stem, facts in known]
    return [one[0] for one in found if one is not None]


def _follow_cursors(disk: Disk, layout: Layout, cursors: Cursors) -> None:
    path = layout.path(CURSORS)
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return
    try:
        if file_number(file) != cursors.file:
            cursors.file, cursors.end, cursors.lines = -1, 0, 0
            cursors.saved.clear()
        if file.size() != cursors.end:
            follow_cursors(file, cursors, str(path))
    finally:
        file.close()
