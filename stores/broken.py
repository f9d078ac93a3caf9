"""Stores that are wrong on purpose, each in one way: they prove that the conformance suite sees it.

Every class is a MemoryStore with one flaw, named by its docstring, and must fail the check of the
same meaning in ``moorage.stores.conformance``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import MoorageError
from moorage.runtime.ports import Record

from .memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Claim, Deliver, Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

    from .memory_log import MemoryLog


class _Reopening(MemoryStore):
    """Does something to the content whenever it is opened."""

    def on_open(self) -> None:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        async with super().opened(owner=owner, deliver=deliver):
            self.on_open()
            yield

    def _logs(self) -> list[MemoryLog]:
        return list(self._content.logs.values())


class _Reading(MemoryStore):
    """Changes what is read."""

    async def read(self, session_id: str, **range: Any) -> Page:
        return self.change(await super().read(session_id, **range), **range)

    def change(self, page: Page, **range: Any) -> Page:
        raise NotImplementedError


# -- ownership ---------------------------------------------------------------------------------


class StaleEpochAccepted(MemoryStore):
    """A claim that is over may go on writing."""

    async def _begin_write(self, claim: Claim) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()


class StaleEpochWritten(MemoryStore):
    """A stale append is refused, after it was written."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        lease = self._content.leases.get(claim.session_id)
        if log is not None and lease is not None and lease.epoch != claim.epoch:
            log.append(records)
        await super().append(claim, records=records, **rest)


class AnyStartAccepted(MemoryStore):
    """An append may start anywhere; it is put behind the head."""

    async def append(self, claim: Claim, *, expected_seq: int, **rest: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        if log is not None:
            expected_seq = log.head_seq + 1
        await super().append(claim, expected_seq=expected_seq, **rest)


class EpochsStartAgain(_Reopening):
    """After a restart epochs are counted from 1 again."""

    def on_open(self) -> None:
        self._content.last_epoch = 0


class StaleReleaseHonoured(MemoryStore):
    """Releasing an old claim ends the current one."""

    async def release(self, claim: Claim) -> None:
        self._content.leases.pop(claim.session_id, None)


class SecondOpenerAdmitted(MemoryStore):
    """Two processes may have it open at once."""

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        nodes = self._content.nodes
        others, nodes[:] = list(nodes), []
        async with super().opened(owner=owner, deliver=deliver):
            nodes.extend(others)
            yield


class CommandLost(MemoryStore):
    """A command is answered without asking the owner."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        return {"answer": 7}


class RefusalSwallowed(MemoryStore):
    """A command that was refused looks like one that was answered."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        try:
            return await super().hand_over(session_id, command)
        except MoorageError as error:
            return error


class LostClaimsRenewed(MemoryStore):
    """renew says that every claim was kept."""

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        await super().renew(claims)
        return []


class LeaseNeverEnds(MemoryStore):
    """A lease that is not renewed still keeps others out."""

    def _expiry(self) -> float:
        return super()._expiry() * 1e9


class LeaseIgnored(MemoryStore):
    """A session that another owner holds is given to whoever asks."""

    async def claim(self, session_id: str) -> Claim:
        self._content.leases.pop(session_id, None)
        return await super().claim(session_id)


class CommandsStayHere(MemoryStore):
    """A command goes to this node's supervisor, whoever holds the session."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        assert self._deliver is not None
        return await self._deliver(session_id, command)


# -- appending ---------------------------------------------------------------------------------


class TornBatch(MemoryStore):
    """A batch is written record by record."""

    async def append(
        self, claim: Claim, *, expected_seq: int, records: Sequence[Record], **rest: Any
    ) -> None:
        for seq, record in enumerate(records, expected_seq):
            await super().append(claim, expected_seq=seq, records=[record], **rest)


class InfoBehindRecords(MemoryStore):
    """The info comes a moment after its records."""

    async def append(self, claim: Claim, *, info: SessionInfo | None = None, **rest: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        await super().append(claim, info=info if log is None else None, **rest)
        if log is not None and info is not None:
            log.replace_info(info)


class InfoBelieved(MemoryStore):
    """The head and the time of change are what the writer says."""

    async def info(self, session_id: str) -> SessionInfo | None:
        log = self._content.logs.get(session_id)
        return None if log is None else log._info


class WrongOrder(MemoryStore):
    """A batch is written back to front."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        await super().append(claim, records=records[::-1], **rest)


class RecordDropped(MemoryStore):
    """A record that equals the one before it is taken for a repetition."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        kept = [r for i, r in enumerate(records) if i == 0 or r.type != records[i - 1].type]
        await super().append(claim, records=kept, **rest)


class LargeBatchCut(MemoryStore):
    """A batch has at most 1,000 records, and what is more is not written."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        await super().append(claim, records=records[:1_000], **rest)


class BigRecordCut(MemoryStore):
    """A large record is replaced by a small one."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        small = next((r for r in records if len(r.body) < 2**20), records[0])
        kept = [r if len(r.body) < 2**20 else small for r in records]
        await super().append(claim, records=kept, **rest)


class MetadataDropped(_Reading):
    """Events come back without their metadata."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(
            page, events=[attrs.evolve(event, metadata=None) for event in page.events]
        )


class AppendAbandoned(MemoryStore):
    """A cancelled append raises Cancelled although it was written."""

    async def append(self, claim: Claim, **rest: Any) -> None:
        await super().append(claim, **rest)
        await trio.lowlevel.checkpoint()


class OneAppendAtATime(MemoryStore):
    """Appends of different sessions that meet are written to one of them."""

    _session_id: str | None = None

    async def append(self, claim: Claim, **rest: Any) -> None:
        if self._session_id is None:
            self._session_id = claim.session_id
            await super().append(claim, **rest)
            self._session_id = None
            return
        await trio.lowlevel.checkpoint()


# -- reading -----------------------------------------------------------------------------------


class Gap(_Reading):
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


class BackwardsDescending(_Reading):
    """A page that is read backwards has its events newest first."""

    def change(self, page: Page, *, backwards: bool = False, **range: Any) -> Page:
        return attrs.evolve(page, events=page.events[::-1]) if backwards else page


class BackwardsFromTheStart(MemoryStore):
    """Reading backwards gives the first events of the range."""

    async def read(self, session_id: str, *, backwards: bool = False, **rest: Any) -> Page:
        return await super().read(session_id, **rest)


class ScannedTooFar(_Reading):
    """A page says that it has seen everything."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(page, scanned_to=page.head_seq)


class ClosedUnknown(_Reading):
    """A page never says that the session is closed."""

    def change(self, page: Page, **range: Any) -> Page:
        return attrs.evolve(page, closed=False)


class UnknownSessionEmpty(MemoryStore):
    """Reading a session that does not exist gives an empty page."""

    async def read(self, session_id: str, **range: Any) -> Page:
        if session_id in self._content.logs:
            return await super().read(session_id, **range)
        from moorage.runtime.ports import Page

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


class ListingNotKept(_Reopening):
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


# -- keeping -----------------------------------------------------------------------------------


class LastRecordLost(_Reopening):
    """The last record of each session is lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            if log.head_seq > log.oldest_seq:
                log._bodies.pop()
                log._types.pop()
                log.head_seq -= 1


class KeysForgotten(_Reopening):
    """Keys are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log._keys.clear()


class RunsForgotten(_Reopening):
    """Runs are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log._runs.clear()


class CursorsForgotten(_Reopening):
    """Cursors are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log.cursors.clear()


class FirstSnapshotKept(MemoryStore):
    """A snapshot is not replaced by a newer one."""

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await super().save_snapshot(claim, await self.snapshot(claim.session_id) or snapshot)


class FutureSnapshotKept(MemoryStore):
    """A snapshot ahead of the head is kept."""

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await self._begin_write(claim)
        self._content.logs[claim.session_id].snapshot = snapshot


class TrimmedStillReadable(MemoryStore):
    """trim does nothing."""

    async def trim(self, claim: Claim, before: int) -> None:
        await self._begin_write(claim)


class TrimForgotten(_Reopening):
    """After a restart trimmed events seem to be there, empty."""

    def on_open(self) -> None:
        for log in self._logs():
            missing = log.oldest_seq - 1
            filler = Record(0, "message_sent", None, b"\x96\x00\xa1x\xc0\xc0\xc0\x01")
            log._bodies[:0] = [filler.body] * missing
            log._types[:0] = [filler.type] * missing
            log.oldest_seq = 1


class TombstoneForgotten(MemoryStore):
    """A deleted id starts again from 1."""

    async def delete(self, claim: Claim) -> None:
        await super().delete(claim)
        self._content.tombstones.pop(claim.session_id, None)


class TombstoneForgottenLater(_Reopening):
    """A deleted id starts again from 1 after a restart."""

    def on_open(self) -> None:
        self._content.tombstones.clear()


class CursorsOutliveDelete(MemoryStore):
    """A deleted session's cursors are found by the next of that id."""

    async def delete(self, claim: Claim) -> None:
        log = self._content.logs.get(claim.session_id)
        await super().delete(claim)
        self._kept = {} if log is None else dict(log.cursors)

    async def cursor(self, session_id: str, name: str) -> int | None:
        found = await super().cursor(session_id, name)
        return getattr(self, "_kept", {}).get(name) if found is None else found


# -- waiting -----------------------------------------------------------------------------------


class NewsNeverComes(MemoryStore):
    """Nobody who waits is ever woken."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        log = self._content.logs.get(session_id)
        if log is None or (log.head_seq > after if run_id is None else log.run_ended(run_id)):
            return
        await trio.sleep_forever()


class OldNewsIgnored(MemoryStore):
    """Only what comes later is news."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await self._board.wait(session_id, after=after, run_id=run_id)


class OneIsWoken(MemoryStore):
    """News wakes one of those who wait."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        if self._board.statistics().waiting:
            await trio.sleep_forever()
        await super().wait_news(session_id, after=after, run_id=run_id)


class RunEndIsNoNews(MemoryStore):
    """Those who wait for a run are not woken by its end."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        unknown = None if run_id is None else f"not {run_id}"
        await super().wait_news(session_id, after=after, run_id=unknown)


class DeleteIsNoNews(MemoryStore):
    """A delete wakes nobody."""

    async def delete(self, claim: Claim) -> None:
        boards, self._content.boards = self._content.boards, []
        await super().delete(claim)
        self._content.boards = boards


class CloseIsNoNews(MemoryStore):
    """Closing the store wakes nobody."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await super().wait_news(session_id, after=after, run_id=run_id)
        if not self._is_open:
            await trio.sleep_forever()


class CancelEndsAllWaits(MemoryStore):
    """When one wait is cancelled the others of that session are never woken."""

    _deaf = False

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        try:
            await super().wait_news(session_id, after=after, run_id=run_id)
        except trio.Cancelled:
            self._deaf = True
            raise
        if self._deaf:
            await trio.sleep_forever()


def _flawed() -> tuple[type[MemoryStore], ...]:
    return tuple(
        value
        for name, value in globals().items()
        if isinstance(value, type)
        and issubclass(value, MemoryStore)
        and value is not MemoryStore
        and not name.startswith("_")
    )


BROKEN_STORES: tuple[type[MemoryStore], ...] = _flawed()
"""All of them, in the order above."""

__all__ = ["BROKEN_STORES", *(store.__name__ for store in BROKEN_STORES)]
