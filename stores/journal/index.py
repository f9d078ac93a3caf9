"""The index of the segment that is being written: where each session's blocks are.

A block is three numbers in an ``array('Q')``: first seq, offset, and length + count * 2**32. The
side file of a sealed segment has the same 24 bytes for it.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from . import format as fmt
from .changes import SUBMITTED, Change, name_hash

WIDTH = 3
"""Numbers in an array for one block."""
BLOCK_ENTRY_SIZE = 8 * WIDTH
_LENGTH_MASK = 2**32 - 1
_SEQ_MASK = 2**48 - 1


class Span(NamedTuple):
    """Where a block of events lies in its segment, and which events it holds."""

    first_seq: int
    offset: int
    length: int
    events: int


class SnapshotPlace(NamedTuple):
    seq: int
    offset: int
    length: int


def find_block(blocks: array[int], seq: int) -> int:
    """The position (in blocks) of the last one that starts at or below ``seq``; -1 if none."""
    low, high = 0, len(blocks) // WIDTH
    while low < high:
        middle = (low + high) // 2
        if blocks[middle * WIDTH] <= seq:
            low = middle + 1
        else:
            high = middle
    return low - 1


def span_at(blocks: array[int], position: int) -> Span:
    first_seq, offset, packed = blocks[position * WIDTH : position * WIDTH + WIDTH]
    return Span(first_seq, offset, packed & _LENGTH_MASK, packed >> 32)


def pack_run(submitted: int, ended: int) -> int:
    return submitted | ended << 48


def unpack_run(packed: int) -> tuple[int, int]:
    """(seq of the first event, seq of the last), 0 where it is not in this segment."""
    return packed & _SEQ_MASK, packed >> 48


class MemoryIndex:
    """Blocks by session, and runs and keys by hash, of one segment."""

    def __init__(self) -> None:
        self.blocks: dict[str, array[int]] = {}
        self.snapshots: dict[str, SnapshotPlace] = {}
        self.runs: dict[int, int] = {}
        self.keys: dict[int, int] = {}

    def apply(self, change: Change, offset: int) -> None:
        """Note a durable block that lies at ``offset``."""
        kind = change.kind
        if kind == fmt.EVENTS:
            if change.events:
                packed = change.length | change.events << 32
                blocks = self.blocks.get(change.session_id)
                if blocks is None:
                    self.blocks[change.session_id] = array("Q", (change.seq, offset, packed))
                else:
                    blocks.extend((change.seq, offset, packed))
                if change.marks:
                    self._apply_marks(change)
        elif kind == fmt.SNAPSHOT:
            place = SnapshotPlace(change.seq, offset, change.length)
            self.snapshots[change.session_id] = place
        elif kind == fmt.TOMBSTONE:
            self.blocks.pop(change.session_id, None)
            self.snapshots.pop(change.session_id, None)

    def _apply_marks(self, change: Change) -> None:
        for seq, what, run_id, key in change.marks:
            run = name_hash(change.session_id, "run", run_id)
            known = self.runs.get(run, 0)
            if what == SUBMITTED:
                # a reused session may reuse a run's id: the newest life counts
                self.runs[run] = pack_run(seq, 0)
                if key is not None:
                    self.keys[name_hash(change.session_id, "key", key)] = seq
            else:
                self.runs[run] = pack_run(known & _SEQ_MASK, seq)
