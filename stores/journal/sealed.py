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
import sys
import zlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime.errors import CorruptLog

from .changes import name_hash, session_hash
from .format import check_version
from .index import BLOCK_ENTRY_SIZE, Span, find_block, span_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .disk import File

MAGIC = b"MOORIDX\0"
HEADER = struct.Struct("<8sIIQQQQ16sQI")
CHECKSUM = struct.Struct("<I")
HEADER_SIZE = HEADER.size + CHECKSUM.size
ROW = struct.Struct("<QQQQQQQQIIII")
RUN = struct.Struct("<QQQ")
KEY = struct.Struct("<QQ")
_HASH = struct.Struct("<Q")
SEED = 0x696E6478
CHUNK_BYTES = 2**20
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


class SealedIndex:
    """Look-ups in one side file. Methods block, and may be called from several threads."""

    def __init__(
        self, file: File, name: str, *, log_id: bytes, number: int, end: int, checked: bool = False
    ) -> None:
        """Check the file, only its header if all of it was ``checked`` before. Raises CorruptLog,
        StoreFailed (newer format) and OSError."""
        self._file = file
        self._name = name
        header = file.read(HEADER_SIZE, 0)
        if len(header) < HEADER_SIZE:
            raise self.damaged(len(header), "the file ends inside its header")
        fields = header[: HEADER.size]
        magic, version, *counts, log, self._tables_at, checksum = HEADER.unpack(fields)
        (header_checksum,) = CHECKSUM.unpack_from(header, HEADER.size)
        if magic != MAGIC or header_checksum != zlib.crc32(fields, SEED):
            raise self.damaged(0, "the header is not that of an index")
        check_version(version, file=name)
        self.sessions, self.runs, self.keys, self.end, in_number = counts
        if (log, in_number, self.end) != (log_id, number, end):
            raise self.damaged(0, f"the index is of another segment or log ({in_number})")
        self._runs_at = self._tables_at + self.sessions * ROW.size
        self._keys_at = self._runs_at + self.runs * RUN.size
        if not checked:
            self._check_rest(checksum)

    def damaged(self, offset: int, reason: str) -> CorruptLog:
        return CorruptLog(file=self._name, offset=offset, reason=reason)

    def _check_rest(self, checksum: int) -> None:
        size = self._keys_at + self.keys * KEY.size
        offset, found = HEADER_SIZE, SEED
        while offset < size:
            data = self._file.read(min(CHUNK_BYTES, size - offset), offset)
            if not data:
                raise self.damaged(offset, f"the file ends here and {size} bytes were written")
            found = zlib.crc32(data, found)
            offset += len(data)
        if found != checksum:
            raise self.damaged(HEADER_SIZE, "the checksum of the index does not match")

    def find(self, session_id: str) -> Row | None:
        wanted = session_hash(session_id)
        for raw in self._rows_with(wanted, self._tables_at, self.sessions, ROW.size):
            row = Row(*ROW.unpack(raw))
            if self.session_id(row) == session_id:
                return row
        return None

    def find_run(self, session_id: str, run_id: str) -> tuple[int, int]:
        """(first seq, last seq) of a run, 0 where it is not in this segment."""
        wanted = name_hash(session_id, "run", run_id)
        for raw in self._rows_with(wanted, self._runs_at, self.runs, RUN.size):
            return RUN.unpack(raw)[1:]
        return 0, 0

    def find_key(self, session_id: str, key: str) -> int:
        """The seq of the run_submitted with this key, or 0."""
        wanted = name_hash(session_id, "key", key)
        for raw in self._rows_with(wanted, self._keys_at, self.keys, KEY.size):
            return int(KEY.unpack(raw)[1])
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
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def spans(self, row: Row) -> Iterator[Span]:
        for start in range(0, row.blocks_count, _BLOCKS_WHOLE_MAX):
            blocks = self.blocks(row, start, _BLOCKS_WHOLE_MAX)
            for position in range(min(_BLOCKS_WHOLE_MAX, row.blocks_count - start)):
                yield span_at(blocks, position)

    def rows(self) -> Iterator[Row]:
        """All sessions, sorted by hash."""
        for raw in self._table(self._tables_at, self.sessions, ROW):
            yield Row(*raw)

    def run_rows(self) -> Iterator[tuple[int, int, int]]:
        return self._table(self._runs_at, self.runs, RUN)  # type: ignore[return-value]

    def key_rows(self) -> Iterator[tuple[int, int]]:
        return self._table(self._keys_at, self.keys, KEY)  # type: ignore[return-value]

    def _table(self, at: int, count: int, row: struct.Struct) -> Iterator[tuple[int, ...]]:
        per_read = CHUNK_BYTES // row.size
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
