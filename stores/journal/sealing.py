"""Writing what makes replay unnecessary: side files and directory checkpoints. Blocks."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from .changes import session_hash
from .sealed import SealedWriter, SessionBlocks, merged_keys, merged_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .directory import Directory
    from .files import Files
    from .index import MemoryIndex
    from .manifest import Segment
    from .sealed import SealedIndex


def write_side_file(
    files: Files, segment: Segment, end: int, index: MemoryIndex, directory: Directory
) -> None:
    """Write the side file of a segment up to ``end``, durably: what its older side file covers
    and what ``index`` adds. Raises OSError and CorruptLog."""
    older = files.index(segment) if segment.index_end else None
    disk, layout = files.disk, files.layout
    file = disk.create(layout.index(segment.number, end))
    try:
        writer = SealedWriter(file, log_id=files.log_id, number=segment.number, end=end)
        for session in _merged_sessions(index, older, directory):
            writer.add(session)
        writer.finish(merged_runs(index.runs, older), merged_keys(index.keys, older))
    finally:
        file.close()
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
