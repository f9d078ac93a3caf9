"""The directory: one small entry for each session that the log knows, newest change last."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from . import format as fmt

if TYPE_CHECKING:
    from .changes import Change


class Entry:
    """What is known of one session. ``info`` is empty when it does not exist (it was deleted, and
    ``head_seq`` goes on from there). ``segment`` is the place of the newest sealed segment that
    holds events of it (0: none), ``snapshot_place`` that of the segment with its snapshot."""

    __slots__ = (
        "cursors",
        "flags",
        "head_seq",
        "info",
        "modified_ns",
        "oldest_seq",
        "segment",
        "snapshot_place",
        "snapshot_seq",
    )

    def __init__(self) -> None:
        self.info = b""
        self.head_seq = 0
        self.oldest_seq = 1
        self.modified_ns = 0
        self.flags = 0
        self.segment = 0
        self.snapshot_place = 0
        self.snapshot_seq = 0
        self.cursors: dict[str, int] | None = None

    @property
    def exists(self) -> bool:
        return bool(self.info)

    @property
    def closed(self) -> bool:
        return bool(self.flags & fmt.CLOSED)


class Directory:
    """All entries by session id, in order of change."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.needing_worker: OrderedDict[str, Entry] = OrderedDict()
        self.existing = 0

    def apply(self, change: Change, place: int) -> Entry:
        """Take over what a durable block says; ``place`` is that of its segment."""
        session_id = change.session_id
        entry = self.entries.get(session_id)
        if entry is None:
            entry = self.entries[session_id] = Entry()
        kind = change.kind
        if kind == fmt.EVENTS:
            self._apply_events(entry, change)
        elif kind == fmt.TOMBSTONE:
            self._apply_tombstone(entry, change)
        elif not entry.info:
            pass  # a cursor that was on its way while the session was deleted
        elif kind == fmt.SNAPSHOT:
            entry.snapshot_seq = change.seq
            entry.snapshot_place = place
        elif kind == fmt.CURSOR:
            if entry.cursors is None:
                entry.cursors = {}
            entry.cursors[change.name] = change.seq
        elif kind == fmt.TRIM:
            # of two trims in flight the larger may come first, and compaction act on it
            entry.oldest_seq = max(entry.oldest_seq, change.seq)
        return entry

    def put(self, session_id: str, entry: Entry) -> None:
        """Add an entry from a checkpoint, behind all others."""
        self.entries[session_id] = entry
        self.existing += bool(entry.info)
        if entry.flags & fmt.NEEDS_WORKER:
            self.needing_worker[session_id] = entry

    def _apply_events(self, entry: Entry, change: Change) -> None:
        session_id = change.session_id
        if change.events:
            entry.head_seq = change.seq + change.events - 1
            self.entries.move_to_end(session_id)
        if change.events or not entry.info:
            entry.modified_ns = change.time_ns
        if change.info is not None:
            self.existing += not entry.info
            entry.info = change.info
            entry.flags = change.flags
            self.entries.move_to_end(session_id)
        if entry.flags & fmt.NEEDS_WORKER:
            self.needing_worker[session_id] = entry
            self.needing_worker.move_to_end(session_id)
        elif session_id in self.needing_worker:
            del self.needing_worker[session_id]

    def _apply_tombstone(self, entry: Entry, change: Change) -> None:
        self.existing -= bool(entry.info)
        self.needing_worker.pop(change.session_id, None)
        entry.info = b""
        entry.head_seq = change.seq
        entry.oldest_seq = change.seq + 1
        entry.flags = entry.segment = entry.snapshot_place = entry.snapshot_seq = 0
        entry.cursors = None
