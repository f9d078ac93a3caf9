"""Stores that are wrong about what an append does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..memory import MemoryStore
from .flaws import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Claim, Page, Record
    from moorage.runtime.sessions import SessionInfo


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


class MetadataDropped(Reading):
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
