"""One session's records in memory: their bodies in a list, and the index of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.codec import decode_event, decode_events
from moorage.runtime.ports import Page, Record, Snapshot, StoredRun
from moorage.runtime.sessions import SessionInfo, SessionState

from .log_index import LogIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.events import Event


class MemoryLog(LogIndex):
    """The log of one session that exists. ``bodies[0]`` has seq ``oldest_seq``."""

    __slots__ = (
        "_bodies",
        "_info",
        "change",
        "cursors",
        "modified_at_ns",
        "size_bytes",
        "snapshot",
    )

    def __init__(self, session_id: str, *, head_seq: int, info: SessionInfo) -> None:
        super().__init__(session_id, head_seq=head_seq)
        self.modified_at_ns = info.modified_at_ns
        self.change = 0
        self.size_bytes = 0
        self.cursors: dict[str, int] = {}
        self.snapshot: Snapshot | None = None
        self._info = private_info(info)
        self._bodies: list[bytes] = []

    @property
    def closed(self) -> bool:
        return self._info.state is SessionState.CLOSED

    def replace_info(self, info: SessionInfo) -> None:
        self._info = private_info(info)

    def info(self) -> SessionInfo:
        return attrs.evolve(
            private_info(self._info), head_seq=self.head_seq, modified_at_ns=self.modified_at_ns
        )

    def append(self, records: Sequence[Record]) -> list[str]:
        """Add records behind the head; returns the ids of runs that they end."""
        ended: list[str] = []
        for time_ns, type, run_id, body, key in records:
            self._bodies.append(body)
            self.size_bytes += len(body)
            self.modified_at_ns = time_ns
            if self.add(type, run_id, key):
                assert run_id is not None
                ended.append(run_id)
        return ended

    def trim(self, before: int) -> int:
        count = super().trim(before)
        self.size_bytes -= sum(map(len, self._bodies[:count]))
        del self._bodies[:count]
        return count

    def find_run(self, run_id: str) -> StoredRun | None:
        seqs = self.run_seqs(run_id)
        if seqs is None:
            return None
        submitted, ended = seqs
        return StoredRun(
            submitted=self._event(submitted),
            ended=self._event(ended) if ended else None,
            head_seq=self.head_seq,
        )

    def page(
        self,
        *,
        after: int,
        before: int | None,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> Page:
        """See ``StoreReader.read``. Raises CursorExpired."""
        seqs, scanned_to = self.select(
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )
        return Page(
            events=self._events(seqs),
            scanned_to=scanned_to,
            head_seq=self.head_seq,
            oldest_seq=self.oldest_seq,
            closed=self.closed,
        )

    def _events(self, seqs: Sequence[int]) -> list[Event]:
        if not isinstance(seqs, range):
            return [self._event(seq) for seq in seqs]
        oldest = self.oldest_seq
        bodies = self._bodies[seqs.start - oldest : seqs.stop - oldest]
        return decode_events(self.session_id, seqs.start, bodies)

    def _event(self, seq: int) -> Event:
        return decode_event(self.session_id, seq, self._bodies[seq - self.oldest_seq])


def private_info(info: SessionInfo) -> SessionInfo:
    """A copy that shares nothing mutable with the original."""
    return attrs.evolve(
        info,
        tags=dict(info.tags),
        metadata=copy.deepcopy(info.metadata) if info.metadata else {},
        runs=dict(info.runs),
    )
