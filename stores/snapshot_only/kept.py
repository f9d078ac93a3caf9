"""What one snapshot holds: a whole session, or the index of all of them. Pure.

::

    magic "MOORSNAP" 8 | checksum 4 | msgpack

A snapshot that is not what was saved is refused with CorruptLog.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import attrs
from moorage.runtime.codec import decode_struct, pack, unpack
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.runtime.ports import Record, Snapshot
from moorage.runtime.sessions import SessionInfo

from ..memory_log import MemoryLog

FORMAT = 1
_MAGIC = b"MOORSNAP"
_HEADER = struct.Struct("<8sI")


@attrs.frozen
class KeptSession:
    """A session that exists. ``records`` are those from ``oldest_seq`` on; ``info`` is encoded;
    ``change`` counts the appends of the whole store."""

    session_id: str
    oldest_seq: int
    records: tuple[Record, ...]
    info: bytes
    modified_at_ns: int
    change: int
    snapshot: Snapshot | None = None
    cursors: dict[str, int] = attrs.Factory(dict)

    @property
    def head_seq(self) -> int:
        return self.oldest_seq - 1 + len(self.records)

    def encode(self) -> bytes:
        snapshot = self.snapshot
        return _seal(
            [
                FORMAT,
                self.oldest_seq,
                [list(record) for record in self.records],
                self.info,
                self.modified_at_ns,
                self.change,
                None if snapshot is None else [snapshot.seq, snapshot.body],
                self.cursors,
            ]
        )

    def log(self) -> MemoryLog:
        """All of it, as it is read."""
        info = decode_struct(self.info, SessionInfo)
        log = MemoryLog(self.session_id, head_seq=self.oldest_seq - 1, info=info)
        log.append(self.records)
        log.modified_at_ns = self.modified_at_ns
        log.change = self.change
        log.snapshot = self.snapshot
        log.cursors = dict(self.cursors)
        return log


def decode_session(session_id: str, body: bytes) -> KeptSession:
    """What ``KeptSession.encode`` made. Raises CorruptLog, StoreFailed for a newer format."""
    fields = _opened(session_id, body)
    try:
        _, oldest_seq, records, info, modified_at_ns, change, snapshot, cursors = fields
        decode_struct(info, SessionInfo)
        return KeptSession(
            session_id,
            oldest_seq,
            tuple(Record(*record) for record in records),
            info,
            modified_at_ns,
            change,
            None if snapshot is None else Snapshot(*snapshot),
            cursors,
        )
    except (TypeError, ValueError) as error:
        raise _damaged(session_id, repr(error)) from error


@attrs.frozen
class KeptIndex:
    """``generation`` counts the openings; ``deleted`` has the heads of sessions that are gone."""

    generation: int = 0
    sessions: frozenset[str] = frozenset()
    deleted: dict[str, int] = attrs.Factory(dict)

    def encode(self) -> bytes:
        return _seal([FORMAT, self.generation, sorted(self.sessions), self.deleted])


def decode_index(name: str, body: bytes) -> KeptIndex:
    """What ``KeptIndex.encode`` made. Raises CorruptLog, StoreFailed for a newer format."""
    fields = _opened(name, body)
    try:
        _, generation, sessions, deleted = fields
        return KeptIndex(generation, frozenset(sessions), deleted)
    except (TypeError, ValueError) as error:
        raise _damaged(name, repr(error)) from error


def _seal(fields: list[Any]) -> bytes:
    body = pack(fields)
    return _HEADER.pack(_MAGIC, zlib.crc32(body, 1)) + body


def _opened(name: str, body: bytes) -> list[Any]:
    try:
        magic, crc = _HEADER.unpack_from(body)
        if magic != _MAGIC or crc != zlib.crc32(body[_HEADER.size :], 1):
            raise ValueError("its checksum is wrong")
        fields = unpack(body[_HEADER.size :])
    except (struct.error, TypeError, ValueError) as error:
        raise _damaged(name, str(error)) from error
    if fields[0] > FORMAT:
        raise StoreFailed(
            f"the snapshot of {name!r} has format {fields[0]} and this version knows {FORMAT}: "
            "use a newer moorage",
            written=False,
        )
    return fields  # type: ignore[no-any-return]


def _damaged(name: str, reason: str) -> CorruptLog:
    return CorruptLog(file=f"the snapshot of {name!r}", offset=0, reason=reason)
