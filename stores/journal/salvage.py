"""Copying what can be read of a damaged journal into a fresh one. The source is never touched.

A session keeps its numbering: an event that cannot be read becomes one of type ``event_lost``, so
that every seq, cursor and run id still means what it meant. A session is there if anything of it
is; what was deleted stays deleted as far as the log still says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog, InvalidArgument, StoreFailed
from moorage.runtime.ports import Record
from moorage.runtime.sessions import SessionInfo, SessionState

from . import format as fmt
from .changes import (
    decode_change,
    encode_cursor,
    encode_events,
    encode_info,
    encode_tombstone,
    info_flags,
)
from .checkpoint import load_directory
from .directory import Directory, Entry
from .disk import OsDisk
from .files import Files
from .manifest import Layout
from .store import JournalStore
from .survey import Problem, manifest_or_guess, problem_of, segment_end, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .changes import Encoded
    from .disk import Disk
    from .manifest import Manifest, Segment
    from .survey import Found

LOST_TYPE = "event_lost"
"""Stands for an event that could not be read; its data is None."""
BATCH_BYTES = 2**20
_LOST_PER_APPEND = 1_000


@attrs.frozen
class SalvageReport:
    """``lost`` names, by session, the ranges (first seq, last seq) that could not be read;
    ``problems`` what was wrong with the source."""

    sessions: int
    events: int
    lost: dict[str, list[tuple[int, int]]]
    problems: tuple[Problem, ...]


def salvage(source: str | Path, target: str | Path, *, disk: Disk | None = None) -> SalvageReport:
    """Copy what is readable of ``source`` into a new journal in ``target``.

    Raises InvalidArgument if ``target`` is there already, and StoreFailed if ``source`` is no
    journal, is of a newer format, or ``target`` cannot be written. Blocks; it may be called from
    a thread, but not from the task of an event loop.
    """
    disk = OsDisk() if disk is None else disk
    target = Path(target).absolute()
    try:
        if disk.list(target):
            raise InvalidArgument(f"{target} is there already: salvage writes a new directory")
    except FileNotFoundError:
        pass
    try:
        wreck = _Wreck(disk, Layout(Path(source).absolute()))
        return trio.run(_copy, wreck, JournalStore(target, disk=disk))
    except OSError as error:
        raise StoreFailed(f"salvage failed: {error}") from error


@attrs.frozen
class _Piece:
    """A good block of events: where it is."""

    first_seq: int
    events: int
    number: int
    offset: int
    length: int


class _Wreck:
    """What is left of the source. Memory grows with its blocks, not with their content."""

    def __init__(self, disk: Disk, layout: Layout) -> None:
        self._disk = disk
        self._layout = layout
        self.problems: list[Problem] = []
        self.directory = Directory()
        self.pieces: dict[str, list[_Piece]] = {}
        self.snapshots: dict[str, tuple[int, bytes]] = {}
        manifest = manifest_or_guess(disk, layout, self.problems)
        self._files = Files(disk, layout, manifest.log_id)
        from_directory = self._load_directory(manifest)
        for segment in manifest.segments:
            known = from_directory and segment.high < manifest.replay_place
            self._survey(manifest, segment, known=known)

    def _load_directory(self, manifest: Manifest) -> bool:
        if not manifest.directory:
            return False
        try:
            load_directory(self._disk, self._layout, manifest, self.directory)
            return True
        except CorruptLog as error:
            self.problems.append(problem_of(error))
            self.directory = Directory()
            return False

    def _survey(self, manifest: Manifest, segment: Segment, *, known: bool) -> None:
        path = self._layout.segment(segment.number)
        try:
            file = self._files.log(segment.number)
        except FileNotFoundError:
            self.problems.append(Problem(str(path), 0, "the file is missing"))
            return
        end = segment_end(self._disk, self._layout, manifest, segment, file.size())
        if segment.end is not None and end < segment.end:
            self.problems.append(Problem(str(path), end, f"{segment.end} bytes were durable"))
        for found in survey(
            file, str(path), log_id=manifest.log_id, number=segment.number, end=end
        ):
            if isinstance(found, Problem):
                self.problems.append(found)
            else:
                self._note(found, segment, known=known)

    def _note(self, found: Found, segment: Segment, *, known: bool) -> None:
        block = found.block
        if block.kind == fmt.EVENTS and block.events:
            piece = _Piece(block.seq, block.events, segment.number, block.offset, block.length)
            self.pieces.setdefault(block.session_id, []).append(piece)
        elif block.kind == fmt.SNAPSHOT:
            self.snapshots[block.session_id] = (block.seq, found.raw)
        if not known:
            # a checkpoint may be newer than the blocks it is for: they end in the same state
            self.directory.apply(decode_change(block), segment.high)

    def read(self, piece: _Piece) -> bytes:
        return self._files.log(piece.number).read(piece.length, piece.offset)


async def _copy(wreck: _Wreck, store: JournalStore) -> SalvageReport:
    lost: dict[str, list[tuple[int, int]]] = {}
    events = sessions = 0

    async def deliver(session_id: str, command: object, letter: object = None) -> object:
        raise StoreFailed("a salvage takes no commands")

    async with store.opened(owner="salvage", deliver=deliver):
        for session_id in wreck.pieces.keys() - wreck.directory.entries.keys():
            wreck.directory.entries[session_id] = Entry()
        for session_id, entry in wreck.directory.entries.items():
            salvaged = _Session(wreck, session_id, entry)
            await _append_all(store, salvaged.blocks())
            events += salvaged.copied
            sessions += salvaged.exists
            if salvaged.lost:
                lost[session_id] = salvaged.lost
    return SalvageReport(sessions, events, lost, tuple(wreck.problems))


async def _append_all(store: JournalStore, blocks: Iterator[Encoded]) -> None:
    changes, batch, size = [], [], 0
    for some_changes, some_blocks in blocks:
        changes += some_changes
        batch += some_blocks
        size += sum(map(len, some_blocks))
        if size >= BATCH_BYTES:
            await store.append_blocks(changes, batch)
            changes, batch, size = [], [], 0
    if batch:
        await store.append_blocks(changes, batch)


class _Session:
    """One session's blocks for the new journal. ``lost`` and ``copied`` are right afterwards."""

    def __init__(self, wreck: _Wreck, session_id: str, entry: Entry) -> None:
        self._wreck = wreck
        self._id = session_id
        self._entry = entry
        self._pieces = sorted(
            wreck.pieces.get(session_id, ()), key=lambda piece: (piece.first_seq, -piece.events)
        )
        self.exists = bool(entry.info) or any(
            piece.first_seq + piece.events > entry.oldest_seq for piece in self._pieces
        )
        self.lost: list[tuple[int, int]] = []
        self.copied = 0

    def blocks(self) -> Iterator[Encoded]:
        entry = self._entry
        if not self.exists:
            if entry.head_seq:
                yield encode_tombstone(self._id, entry.head_seq)
            return
        if entry.oldest_seq > 1:
            yield encode_tombstone(self._id, entry.oldest_seq - 1)
        info, flags = entry.info, entry.flags
        if not info:
            made_up = _made_up_info(self._id)
            info, flags = codec.encode_info(made_up), info_flags(made_up)
        yield encode_info(self._id, entry.oldest_seq, info, flags=flags, time_ns=entry.modified_ns)
        head = entry.oldest_seq - 1
        for part in self._events():
            yield part
            head = part[0][-1].seq + part[0][-1].events - 1
        # an older info may have come along with the events
        yield encode_info(self._id, head + 1, info, flags=flags, time_ns=entry.modified_ns)
        seq, snapshot = self._wreck.snapshots.get(self._id, (0, b""))
        if snapshot and seq == entry.snapshot_seq:
            yield _whole(snapshot)
        for name, value in (entry.cursors or {}).items():
            yield encode_cursor(self._id, name, value)

    def _events(self) -> Iterator[Encoded]:
        expected = self._entry.oldest_seq
        for piece in self._pieces:
            last = piece.first_seq + piece.events - 1
            if last < expected:
                continue
            if piece.first_seq > expected:
                yield from self._lost(expected, piece.first_seq - 1)
                expected = piece.first_seq
            data = self._wreck.read(piece)
            if piece.first_seq == expected:
                yield _whole(data)
            else:
                yield _end_of(data, self._id, expected)
            self.copied += last - expected + 1
            expected = last + 1
        yield from self._lost(expected, self._entry.head_seq)

    def _lost(self, first: int, last: int) -> Iterator[Encoded]:
        if first > last:
            return
        self.lost.append((first, last))
        time_ns = self._entry.modified_ns
        record = codec.encode_event(time_ns, LOST_TYPE, None, None)
        for seq in range(first, last + 1, _LOST_PER_APPEND):
            count = min(_LOST_PER_APPEND, last + 1 - seq)
            yield encode_events(self._id, seq, [record] * count, None)


def _whole(raw: bytes) -> Encoded:
    return [decode_change(fmt.parse_block(raw, 0, 0, check=True))], [raw]


def _end_of(raw: bytes, session_id: str, first_seq: int) -> Encoded:
    """The events of a block from ``first_seq`` on: two segments held some of them."""
    block = fmt.parse_block(raw, 0, 0, check=True)
    keys = {mark.seq: mark.key for mark in decode_change(block).marks}
    records = [
        Record(row[0], row[1], row[2], codec.pack(row), keys.get(seq))
        for seq, row in enumerate(codec.unpack(block.content), block.seq)
        if seq >= first_seq
    ]
    return encode_events(session_id, first_seq, records, None)


def _made_up_info(session_id: str) -> SessionInfo:
    return SessionInfo(
        id=session_id,
        state=SessionState.OPEN,
        tags={},
        metadata={},
        created_at_ns=0,
        modified_at_ns=0,
        head_seq=0,
        runs={},
    )
