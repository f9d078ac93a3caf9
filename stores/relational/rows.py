"""Rows to port values and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from moorage.runtime.codec import decode_struct, encode_info
from moorage.runtime.errors import CorruptLog
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionInfo, SessionState

from ..bounds import check_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Record

SESSION_COLUMNS = "number, id, head_seq, oldest_seq, modified_ns, closed, info"


class SessionRow(NamedTuple):
    """A row of ``session``, in the order of ``SESSION_COLUMNS``; ``info`` is None in a
    tombstone."""

    number: int
    id: str
    head_seq: int
    oldest_seq: int
    modified_ns: int
    closed: int | bool
    info: bytes | None

    def decoded(self) -> SessionInfo | None:
        """The info as a listing has it. Raises CorruptLog."""
        if self.info is None:
            return None
        try:
            info = decode_struct(self.info, SessionInfo)
        except ValueError as error:
            reason = f"the session's info cannot be decoded: {error}"
            raise CorruptLog(file=f"session {self.id!r}", offset=0, reason=reason) from error
        return attrs.evolve(info, head_seq=self.head_seq, modified_at_ns=self.modified_ns)


class InfoValues(NamedTuple):
    """What of an info has columns of its own."""

    body: bytes
    closed: bool
    needs_worker: bool


def info_values(info: SessionInfo) -> InfoValues:
    return InfoValues(encode_info(info), info.state is SessionState.CLOSED, info.needs_worker)


def checked_info_values(info: SessionInfo) -> InfoValues:
    """Raises InvalidArgument for an info that cannot be kept."""
    return InfoValues(check_info(info), info.state is SessionState.CLOSED, info.needs_worker)


def event_rows(
    number: int, first_seq: int, records: Sequence[Record]
) -> list[tuple[int, int, str, str | None, bytes]]:
    """(session, seq, type, run id, body) of each record."""
    return [
        (number, seq, type_, run_id, body)
        for seq, (_, type_, run_id, body, _) in enumerate(records, first_seq)
    ]


class RunRow(NamedTuple):
    """What an append says of one run. A seq of 0: nothing; ``ended_seq`` behind a new request is
    told as it will be."""

    run_id: str
    submitted_seq: int
    ended_seq: int
    key: str | None


def run_rows(first_seq: int, records: Sequence[Record]) -> tuple[list[RunRow], list[str]]:
    """What changes in ``run``, at most one row per run, and the ids of runs that ended."""
    rows: dict[str, RunRow] = {}
    ended: list[str] = []
    for seq, (_, type_, run_id, _, key) in enumerate(records, first_seq):
        if run_id is None:
            continue
        if type_ == "run_submitted":
            rows[run_id] = RunRow(run_id, seq, 0, key)
        elif type_ in RUN_TERMINAL_TYPES:
            before = rows.get(run_id)
            rows[run_id] = (
                RunRow(run_id, 0, seq, None) if before is None else before._replace(ended_seq=seq)
            )
            ended.append(run_id)
    return list(rows.values()), ended


def snapshot_of(row: Sequence[Any] | None) -> Snapshot | None:
    """From (seq, body)."""
    return None if row is None or row[0] is None else Snapshot(row[0], bytes(row[1]))
