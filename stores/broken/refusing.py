"""Stores that are wrong about what makes no sense or cannot be held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import InvalidArgument

from ..memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Claim, Page, Record


class EmptyPages(MemoryStore):
    """A page may be asked to hold nothing."""

    async def read(self, session_id: str, *, limit: int = 1_000, **range: Any) -> Page:
        return await super().read(session_id, limit=max(limit, 1), **range)


class SeqsBelowZero(MemoryStore):
    """A cursor may be anything."""

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        await super().save_cursor(session_id, name, 0)
        self._content.logs[session_id].cursors[name] = seq


class WrittenUpToTheBadOne(MemoryStore):
    """Of a batch with a record that cannot be held those before it are kept."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        try:
            await super().append(claim, records=records, **rest)
        except InvalidArgument:
            await super().append(claim, records=records[:1], **rest)
            raise


class EncodingErrors(MemoryStore):
    """What cannot be encoded is told in the encoder's words."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        for record in records:
            if record.run_id is not None:
                record.run_id.encode()
        await super().append(claim, records=records, **rest)
