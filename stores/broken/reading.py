"""Stores that are wrong about what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.ports import Page

from ..memory import MemoryStore
from .flaws import Reading, Reopening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.ports import Claim, StoredRun
    from moorage.runtime.sessions import SessionInfo


class Gap(Reading):
    """A seq is left out."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(
            page,
            events=[attrs.evolve(event, seq=event.seq + (event.seq > 2)) for event in page.events],
        )


class RepeatedEvent(MemoryStore):
    """`after` is inclusive: each page begins with the last event of the one before."""

    async def read(self, session_id: str, *, after: int = 0, **rest: Any) -> Page:
        return await super().read(session_id, after=max(after - 1, 0), **rest)


class LimitIgnored(MemoryStore):
    """A page has everything, however small the limit."""

    async def read(self, session_id: str, *, limit: int = 1_000, **rest: Any) -> Page:
        return await super().read(session_id, limit=1_000_000, **rest)


class TypesIgnored(MemoryStore):
    """Events of all types are given."""

    async def read(
        self, session_id: str, *, types: frozenset[str] | None = None, **rest: Any
    ) -> Page:
        return await super().read(session_id, **rest)


class RunIgnored(MemoryStore):
    """Events of all runs are given."""

    async def read(self, session_id: str, *, run_id: str | None = None, **rest: Any) -> Page:
        return await super().read(session_id, **rest)


class BeforeIncluded(MemoryStore):
    """`before` is inclusive."""

    async def read(self, session_id: str, *, before: int | None = None, **rest: Any) -> Page:
        return await super().read(session_id, before=before and before + 1, **rest)


class BackwardsDescending(Reading):
    """A page that is read backwards has its events newest first."""

    def change(self, page: Page, *, backwards: bool = False, **range: Any) -> Page:
        return attrs.evolve(page, events=page.events[::-1]) if backwards else page


class BackwardsFromTheStart(MemoryStore):
    """Reading backwards gives the first events of the range."""

    async def read(self, session_id: str, *, backwards: bool = False, **rest: Any) -> Page:
        return await super().read(session_id, **rest)


class ScannedTooFar(Reading):
    """A page says that it has seen everything."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(page, scanned_to=page.head_seq)


class ClosedUnknown(Reading):
    """A page never says that the session is closed."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(page, closed=False)


class UnknownSessionEmpty(MemoryStore):
    """Reading a session that does not exist gives an empty page."""

    async def read(self, session_id: str, **range: Any) -> Page:
        if session_id in self._content.logs:
            return await super().read(session_id, **range)
        return Page(events=[], scanned_to=0, head_seq=0, oldest_seq=1, closed=False)


class EndNotFound(MemoryStore):
    """A run that ended is found unfinished."""

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        run = await super().find_run(session_id, run_id)
        return None if run is None else attrs.evolve(run, ended=None)


class KeysOfAllSessions(MemoryStore):
    """A key is looked up in all sessions."""

    async def find_key(self, session_id: str, key: str) -> str | None:
        found = [log.find_key(key) for log in self._content.logs.values()]
        return next((run_id for run_id in found if run_id is not None), None)


class OldestFirst(MemoryStore):
    """Sessions are listed by their oldest change."""

    async def sessions(self, **wanted: Any) -> AsyncIterator[SessionInfo]:
        for info in reversed([info async for info in super().sessions(**wanted)]):
            yield info


class ListingNotKept(Reopening):
    """After a restart sessions are listed in the order in which they were made."""

    def on_open(self) -> None:
        for index, log in enumerate(reversed(self._logs())):
            log.change = index


class AnyTagMatches(MemoryStore):
    """A session with one of the tags is listed."""

    async def sessions(
        self, *, tags: dict[str, str] | None = None, **wanted: Any
    ) -> AsyncIterator[SessionInfo]:
        async for info in super().sessions(**wanted):
            if not tags or tags.items() & info.tags.items():
                yield info


class ListingRestarted(MemoryStore):
    """A listing is made anew after each session that it gave."""

    async def sessions(self, **wanted: Any) -> AsyncIterator[SessionInfo]:
        index = 0
        while index < len(found := [info async for info in super().sessions(**wanted)]):
            yield found[index]
            index += 1


class CaseFolded(MemoryStore):
    """Session ids that differ in case are the same session."""

    async def claim(self, session_id: str) -> Claim:
        return await super().claim(session_id.casefold())


class StatisticsDict(MemoryStore):
    """Statistics are a dict."""

    def statistics(self) -> Any:
        return attrs.asdict(super().statistics())


class RunWithoutBounds(MemoryStore):
    """Whatever bears a run's id is an event of the run."""

    async def read(self, session_id: str, *, run_id: str | None = None, **range: Any) -> Page:
        page = await super().read(session_id, **range)
        if run_id is None:
            return page
        events = [event for event in page.events if event.run_id == run_id]
        return attrs.evolve(page, events=events)
