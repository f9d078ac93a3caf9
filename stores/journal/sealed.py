"""The side file of a segment: what is where in it, readable without reading all of it.

::

    header      magic "MOORIDX\\0" 8 | format version 4 | sessions 4 | runs 8 | keys 8 |
                end 8 | segment number 8 | log id 16 | tables at 8 | checksum of the rest 4 |
                checksum of this header 4                                             80 bytes
    data        for each session: its id, then its blocks (first seq, offset, length, count)
    tables      sessions, runs, keys: rows of fixed size, each table sorted by hash

A session's row links to the segment before that holds the session, so no list of segments is kept
anywhere. ``end`` is the offset up to which the segment is covered. The whole file is checked once,
when it is first used; then a look-up is a binary search by small reads.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime.errors import CorruptLog

from .changes import name_hash, session_hash
from .format import FORMAT_VERSION, check_version
from .index import BLOCK_ENTRY_SIZE, Span, find_block, span_at, unpack_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .disk import File

MAGIC = b"MOORIDX\0"
_HEADER = struct.Struct("<8sIIQQQQ16sQI")
_CHECKSUM = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CHECKSUM.size
_ROW = struct.Struct("<QQQQQQQQIIII")
_RUN = struct.Struct("<QQQ")
_KEY = struct.Struct("<QQ")
_HASH = struct.Struct("<Q")
_SEED = 0x696E6478
_CHUNK_BYTES = 2**20
_WINDOW_ROWS = 32
"""A binary search ends with one read of this many rows."""
_BLOCKS_WHOLE_MAX = 4096
"""A list of blocks up to this long is read in one go, a longer one by halves."""


class Row(NamedTuple):
    """One session in one segment. ``blocks_at`` and ``id_at`` are offsets in the side file,
    ``size`` the bytes of its blocks of events; ``previous`` is the place of the segment before
    that holds the session, 0 if there is none."""

    hash: int
    first_seq: int
    last_seq: int
    blocks_at: int
    id_at: int
    size: int
    snapshot_seq: int
    snapshot_offset: int
    snapshot_length: int
    blocks_count: int
    id_size: int
    previous: int


class SessionBlocks(NamedTuple):
    """What is to be written of one session."""

    session_id: str
    blocks: array[int]
    snapshot: tuple[int, int, int]
    previous: int


class SealedIndex:
    """Look-ups in one side file. Methods block, and may be called from several threads."""

    def __init__(self, file: File, name: str, *, log_id: bytes, number: int, end: int) -> None:
        """Check the file. Raises CorruptLog, StoreFailed (newer format) and OSError."""
        self._file = file
        self._name = name
        header = file.read(HEADER_SIZE, 0)
        if len(header) < HEADER_SIZE:
            raise self.damaged(len(header), "the file ends inside its header")
        fields = header[: _HEADER.size]
        magic, version, *counts, log, self._tables_at, checksum = _HEADER.unpack(fields)
        (header_checksum,) = _CHECKSUM.unpack_from(header, _HEADER.size)
        if magic != MAGIC or header_checksum != zlib.crc32(fields, _SEED):
            raise self.damaged(0, "the header is not that of an index")
        check_version(version, file=name)
        self.sessions, self.runs, self.keys, self.end, in_number = counts
        if (log, in_number, self.end) != (log_id, number, end):
            raise self.damaged(0, f"the index is of another segment or log ({in_number})")
        self._runs_at = self._tables_at + self.sessions * _ROW.size
        self._keys_at = self._runs_at + self.runs * _RUN.size
        self._check_rest(checksum)

    def damaged(self, offset: int, reason: str) -> CorruptLog:
        return CorruptLog(file=self._name, offset=offset, reason=reason)

    def _check_rest(self, checksum: int) -> None:
        size = self._keys_at + self.keys * _KEY.size
        offset, found = HEADER_SIZE, _SEED
        while offset < size:
            data = self._file.read(min(_CHUNK_BYTES, size - offset), offset)
            if not data:
                raise self.damaged(offset, f"the file ends here and {size} bytes were written")
            found = zlib.crc32(data, found)
            offset += len(data)
        if found != checksum:
            raise self.damaged(HEADER_SIZE, "the checksum of the index does not match")

    def find(self, session_id: str) -> Row | None:
        wanted = session_hash(session_id)
        for raw in self._rows_with(wanted, self._tables_at, self.sessions, _ROW.size):
            row = Row(*_ROW.unpack(raw))
            if self.session_id(row) == session_id:
                return row
        return None

    def find_run(self, session_id: str, run_id: str) -> tuple[int, int]:
        """(first seq, last seq) of a run, 0 where it is not in this segment."""
        wanted = name_hash(session_id, "run", run_id)
        for raw in self._rows_with(wanted, self._runs_at, self.runs, _RUN.size):
            return _RUN.unpack(raw)[1:]
        return 0, 0

    def find_key(self, session_id: str, key: str) -> int:
        """The seq of the run_submitted with this key, or 0."""
        wanted = name_hash(session_id, "key", key)
        for raw in self._rows_with(wanted, self._keys_at, self.keys, _KEY.size):
            return int(_KEY.unpack(raw)[1])
        return 0

    def session_id(self, row: Row) -> str:
        return self._file.read(row.id_size, row.id_at).decode()

    def find_block(self, row: Row, seq: int) -> int:
        """The position of the last of the row's blocks that starts at or below ``seq``."""
        if row.blocks_count <= _BLOCKS_WHOLE_MAX:
            return find_block(self.blocks(row, 0, row.blocks_count), seq)
        low, high = 0, row.blocks_count
        while low < high:
            middle = (low + high) // 2
            raw = self._file.read(_HASH.size, row.blocks_at + middle * BLOCK_ENTRY_SIZE)
            if _HASH.unpack(raw)[0] <= seq:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def blocks(self, row: Row, position: int, count: int) -> array[int]:
        """``count`` of the row's blocks from ``position`` on, fewer at the end."""
        count = min(count, row.blocks_count - position)
        at = row.blocks_at + position * BLOCK_ENTRY_SIZE
        found = array("Q")
        found.frombytes(self._file.read(count * BLOCK_ENTRY_SIZE, at))
        return found

    def spans(self, row: Row) -> Iterator[Span]:
        for start in range(0, row.blocks_count, _BLOCKS_WHOLE_MAX):
            blocks = self.blocks(row, start, _BLOCKS_WHOLE_MAX)
            for position in range(min(_BLOCKS_WHOLE_MAX, row.blocks_count - start)):
                yield span_at(blocks, position)

    def rows(self) -> Iterator[Row]:
        """All sessions, sorted by hash."""
        for raw in self._table(self._tables_at, self.sessions, _ROW):
            yield Row(*raw)

    def run_rows(self) -> Iterator[tuple[int, int, int]]:
        return self._table(self._runs_at, self.runs, _RUN)  # type: ignore[return-value]

    def key_rows(self) -> Iterator[tuple[int, int]]:
        return self._table(self._keys_at, self.keys, _KEY)  # type: ignore[return-value]

    def _table(self, at: int, count: int, row: struct.Struct) -> Iterator[tuple[int, ...]]:
        per_read = _CHUNK_BYTES // row.size
        for start in range(0, count, per_read):
            size = min(per_read, count - start) * row.size
            yield from row.iter_unpack(self._file.read(size, at + start * row.size))

    def _rows_with(self, wanted: int, at: int, count: int, size: int) -> Iterator[bytes]:
        low, high = 0, count
        while high - low > _WINDOW_ROWS:
            middle = (low + high) // 2
            (found,) = _HASH.unpack(self._file.read(_HASH.size, at + middle * size))
            if found < wanted:
                low = middle
            else:
                high = middle
        # two rows with one hash are next to each other, maybe behind the window
        data = self._file.read((high - low + _WINDOW_ROWS) * size, at + low * size)
        for position in range(0, min(len(data) // size, count - low) * size, size):
            (found,) = _HASH.unpack_from(data, position)
            if found == wanted:
                yield data[position : position + size]
            elif found > wanted:
                return


class SealedWriter:
    """Writes a side file front to back with bounded memory (its tables excepted)."""

    def __init__(self, file: File, *, log_id: bytes, number: int, end: int) -> None:
        self._file = file
        self._identity = (end, number, log_id)
        self._position = HEADER_SIZE
        self._flushed = HEADER_SIZE
        self._checksum = _SEED
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
        self._rows.append(_ROW.pack(*row))
        self._put(session_id)
        self._put(blocks.tobytes())

    def finish(self, runs: Iterable[tuple[int, int, int]], keys: Iterable[tuple[int, int]]) -> None:
        """Write the tables (both sorted) and the header, and sync. Raises OSError."""
        tables_at = self._position
        for row in self._rows:
            self._put(row)
        run_count = self._put_table(_RUN.pack, runs)
        key_count = self._put_table(_KEY.pack, keys)
        self._flush()
        end, number, log_id = self._identity
        counts = (len(self._rows), run_count, key_count)
        header = _HEADER.pack(
            MAGIC, FORMAT_VERSION, *counts, end, number, log_id, tables_at, self._checksum
        )
        self._file.write([header, _CHECKSUM.pack(zlib.crc32(header, _SEED))], 0)
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
        if self._position - self._flushed >= _CHUNK_BYTES:
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
