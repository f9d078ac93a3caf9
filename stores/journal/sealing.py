"""Writing what makes replay unnecessary: side files and directory checkpoints. Blocks."""

from __future__ import annotations

import sys
import zlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

from .changes import session_hash
from .disk import creating
from .format import FORMAT_VERSION
from .index import Span, span_at, unpack_run
from .sealed import (
    CHECKSUM,
    CHUNK_BYTES,
    HEADER,
    HEADER_SIZE,
    KEY,
    MAGIC,
    ROW,
    RUN,
    SEED,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .directory import Directory
    from .disk import File
    from .files import Files
    from .index import MemoryIndex
    from .manifest import Segment
    from .sealed import SealedIndex


class SessionBlocks(NamedTuple):
    """What is to be written of one session."""

    session_id: str
    blocks: array[int]
    snapshot: tuple[int, int, int]
    previous: int


def write_side_file(
    files: Files, segment: Segment, end: int, index: MemoryIndex, directory: Directory
) -> None:
    """Write the side file of a segment up to ``end``, durably: what its older side file covers
    and what ``index`` adds. Raises OSError and CorruptLog."""
    older = files.index(segment) if segment.index_end else None
    disk, layout = files.disk, files.layout
    with creating(disk, layout.index(segment.number, end)) as file:
        writer = SealedWriter(file, log_id=files.log_id, number=segment.number, end=end)
        for session in _merged_sessions(index, older, directory):
            writer.add(session)
        writer.finish(merged_runs(index.runs, older), merged_keys(index.keys, older))
        disk.sync_directory(layout.segments)


def _merged_sessions(
    index: MemoryIndex, older: SealedIndex | None, directory: Directory
) -> Iterator[SessionBlocks]:
    session_ids = index.blocks.keys() | index.snapshots.keys()
    newer = sorted((session_hash(session_id), session_id) for session_id in session_ids)
    position = 0
    for session in _sessions_of(older):
        key = (session_hash(session.session_id), session.session_id)
        while position < len(newer) and newer[position] < key:
            yield _newer_session(index, newer[position][1], directory)
            position += 1
        if position < len(newer) and newer[position] == key:
            yield _joined(index, session)
            position += 1
        else:
            yield session
    for _, session_id in newer[position:]:
        yield _newer_session(index, session_id, directory)


def _sessions_of(index: SealedIndex | None) -> Iterator[SessionBlocks]:
    if index is None:
        return
    for row in index.rows():
        yield SessionBlocks(
            index.session_id(row),
            index.blocks(row, 0, row.blocks_count),
            (row.snapshot_seq, row.snapshot_offset, row.snapshot_length),
            row.previous,
        )


def _newer_session(index: MemoryIndex, session_id: str, directory: Directory) -> SessionBlocks:
    blocks = index.blocks.get(session_id)
    entry = directory.entries.get(session_id)
    return SessionBlocks(
        session_id,
        array("Q") if blocks is None else blocks,
        index.snapshots.get(session_id, (0, 0, 0)),
        0 if entry is None else entry.segment,
    )


def _joined(index: MemoryIndex, older: SessionBlocks) -> SessionBlocks:
    newer = index.blocks.get(older.session_id)
    return older._replace(
        blocks=older.blocks if newer is None else older.blocks + newer,
        snapshot=index.snapshots.get(older.session_id, older.snapshot),
    )


class SealedWriter:
    """Writes a side file front to back with bounded memory (its tables excepted)."""

    def __init__(self, file: File, *, log_id: bytes, number: int, end: int) -> None:
        self._file = file
        self._identity = (end, number, log_id)
        self._position = HEADER_SIZE
        self._flushed = HEADER_SIZE
        self._checksum = SEED
        self._buffer: list[bytes] = []
        self._rows: list[bytes] = []

    def add(self, session: SessionBlocks) -> None:
        """Add a session; they come sorted by hash."""
        session_id = session.session_id.encode()
        blocks = session.blocks
        count = len(blocks) // 3
        size = sum(packed & 0xFFFFFFFF for packed in blocks[2::3])
        last = span_at(blocks, count - 1) if count else Span(0, 0, 0, 0)
        row = Row(
            hash=session_hash(session.session_id),
            first_seq=blocks[0] if count else 0,
            last_seq=last.first_seq + last.events - 1 if count else 0,
            blocks_at=self._position + len(session_id),
            id_at=self._position,
            size=size,
            snapshot_seq=session.snapshot[0],
            snapshot_offset=session.snapshot[1],
            snapshot_length=session.snapshot[2],
            blocks_count=count,
            id_size=len(session_id),
            previous=session.previous,
        )
        self._rows.append(ROW.pack(*row))
        self._put(session_id)
        if sys.byteorder == "big":
            blocks = array("Q", blocks)
            blocks.byteswap()
        self._put(blocks.tobytes())

    def finish(self, runs: Iterable[tuple[int, int, int]], keys: Iterable[tuple[int, int]]) -> None:
        """Write the tables (both sorted) and the header, and sync. Raises OSError."""
        tables_at = self._position
        for row in self._rows:
            self._put(row)
        run_count = self._put_table(RUN.pack, runs)
        key_count = self._put_table(KEY.pack, keys)
        self._flush()
        end, number, log_id = self._identity
        counts = (len(self._rows), run_count, key_count)
        header = HEADER.pack(
            MAGIC, FORMAT_VERSION, *counts, end, number, log_id, tables_at, self._checksum
        )
        self._file.write([header, CHECKSUM.pack(zlib.crc32(header, SEED))], 0)
        self._file.sync()

    def _put_table(self, pack: Callable[..., bytes], rows: Iterable[tuple[int, ...]]) -> int:
        count = 0
        for row in rows:
            self._put(pack(*row))
            count += 1
        return count

    def _put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._position += len(data)
        if self._position - self._flushed >= CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._checksum = zlib.crc32(data, self._checksum)
        self._file.write([data], self._flushed)
        self._flushed += len(data)


def merged_runs(runs: dict[int, int], older: SealedIndex | None) -> list[tuple[int, int, int]]:
    """Run rows of a newer part over those of an older one, sorted."""
    rows = dict(runs)
    if older is not None:
        for hash, submitted, ended in older.run_rows():
            newer_submitted, newer_ended = unpack_run(rows.get(hash, 0))
            if newer_submitted:
                continue  # a new life of a reused id
            rows[hash] = submitted | (newer_ended or ended) << 48
    return [(hash, *unpack_run(rows[hash])) for hash in sorted(rows)]


def merged_keys(keys: dict[int, int], older: SealedIndex | None) -> list[tuple[int, int]]:
    rows = {} if older is None else dict(older.key_rows())
    rows.update(keys)
    return sorted(rows.items())
