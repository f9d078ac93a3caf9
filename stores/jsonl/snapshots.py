"""Snapshots: a side file for each session, of one line, replaced with each new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog, InvalidArgument
from moorage.runtime.ports import Snapshot
from moorage.runtime.reversible_json import from_json, to_json

from .layout import snapshot_name
from .lines import Damage, close, closing, crc_of, note_line, parse

if TYPE_CHECKING:
    from pathlib import Path

    from ..journal.disk import Disk
    from .layout import Layout
    from .scanning import Facts


def snapshot_content(facts: Facts, snapshot: Snapshot) -> bytes:
    """All of a snapshot's file."""
    line = note_line(
        moorage="snapshot",
        session_id=facts.session_id,
        life=facts.life,
        seq=snapshot.seq,
        body=to_json(snapshot.body),
    )
    return close([line], facts.session_id, 0)


def load_snapshot(disk: Disk, layout: Layout, facts: Facts) -> Snapshot | None:
    """The session's snapshot, None if there is none.

    A damaged one is as none while all events are there; when some were trimmed away it raises
    CorruptLog. Raises OSError.
    """
    path = layout.path(snapshot_name(facts.stem))
    try:
        snapshot = read_snapshot(disk, path, facts)
    except Damage as error:
        if facts.oldest_seq == facts.life + 1:
            return None
        raise CorruptLog(file=str(path), offset=0, reason=f"line 1: {error}") from error
    if snapshot is not None and snapshot.seq > facts.head_seq:
        return None  # of commits that a power loss took
    return snapshot


def read_snapshot(disk: Disk, path: Path, facts: Facts) -> Snapshot | None:
    """What the file has of this life of the session. Raises Damage and OSError."""
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        line = file.read(file.size(), 0).rstrip(b"\r\n")
    finally:
        file.close()
    end = closing(line)
    if end is None or crc_of(line[: end.start], facts.session_id) != end.crc:
        raise Damage("its checksum is wrong")
    value = parse(line)
    try:
        if value["life"] != facts.life:
            return None
        return Snapshot(value["seq"], from_json(value["body"]))
    except (KeyError, TypeError, InvalidArgument) as error:
        raise Damage(f"not a snapshot: {error!r}") from error
