"""Finding single things in a view: a run, a key, a snapshot, an event. Everything blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog
from moorage.runtime.ports import Snapshot, StoredRun

from . import format as fmt
from .changes import SUBMITTED, decode_change, name_hash
from .format import Damaged
from .gather import Budget, gather, parts_down, read_block
from .index import SnapshotPlace, unpack_run

if TYPE_CHECKING:
    from moorage.runtime.events import Event

    from .gather import Located
    from .state import View


def find_recent_run(view: View, run_id: str) -> tuple[int, int]:
    """A run's first and last seq as far as memory knows, 0 for what it does not know."""
    hash = name_hash(view.session_id, "run", run_id)
    submitted = ended = 0
    for recent in view.recents:
        submitted, older_ended = unpack_run(recent.index.runs.get(hash, 0))
        ended = ended or older_ended
        if submitted:
            break
    return submitted, ended


def may_have_ended(view: View, run_id: str, *, after: int) -> bool:
    """Whether the run has ended, or may have ended behind ``after`` where only files know."""
    if find_recent_run(view, run_id)[1]:
        return True
    if view.head <= after:
        return False
    parts = view.memory_parts()
    return not parts or parts[-1].first_seq > after + 1


def find_run(view: View, run_id: str) -> tuple[int, int]:
    """A run's first and last seq; (0, ...) if it is unknown, (..., 0) while it is unfinished."""
    submitted, ended = find_recent_run(view, run_id)
    chain = view.chain()
    while not submitted and (found := chain.next()) is not None:
        _, index = found
        row = index.find(view.session_id)
        if row is None:
            break
        submitted, older_ended = index.find_run(view.session_id, run_id)
        ended = ended or older_ended
        chain.follow(row.previous)
    return submitted, ended if ended > submitted else 0


def find_recent_key(view: View, key: str) -> int:
    """The seq of the run_submitted with this key as far as memory knows, or 0."""
    hash = name_hash(view.session_id, "key", key)
    for recent in view.recents:
        seq = recent.index.keys.get(hash)
        if seq is not None:
            return seq
    return 0


def find_key(view: View, key: str) -> int:
    """The seq of the run_submitted event with this key, 0 if there is none."""
    seq = find_recent_key(view, key)
    chain = view.chain()
    while not seq and (found := chain.next()) is not None:
        _, index = found
        row = index.find(view.session_id)
        if row is None:
            break
        seq = index.find_key(view.session_id, key)
        chain.follow(row.previous)
    return seq


def locate_recent(view: View, seq: int) -> Located | None:
    """The block that holds an event, if it was just written."""
    part = view.newest_part()
    if part is None or part.first_seq > seq:
        return None
    located = gather(iter([part]), seq, seq, Budget(1, 1), backwards=False)[0]
    return located if view.is_recent(located.number, located.span.offset) else None


def locate(view: View, seq: int) -> Located:
    """The block that holds an event between oldest and head; raises CorruptLog if none does."""
    parts = parts_down(view.session_id, view.memory_parts(), view.chain())
    located = gather(parts, seq, seq, Budget(1, 1), backwards=False)
    if not located:
        root = str(view.files.layout.root)
        reason = f"seq {seq} of session {view.session_id!r} is missing"
        raise CorruptLog(file=root, offset=0, reason=reason)
    return located[0]


def _read(view: View, located: Located) -> fmt.Block:
    number, span = located
    expected = (fmt.EVENTS, view.session_id, span.first_seq)
    return read_block(view.files, number, span.offset, span.length, expected)


def load_event(view: View, located: Located, seq: int) -> Event:
    first_seq = located.span.first_seq
    content = _read(view, located).content
    return codec.decode_block(view.session_id, first_seq, content)[seq - first_seq]


def _load_of_run(view: View, seq: int, run_id: str) -> Event | None:
    event = load_event(view, locate(view, seq), seq)
    return event if event.run_id == run_id else None  # two ids share a hash once in an age


def load_stored_run(view: View, run_id: str, submitted: int, ended: int) -> StoredRun | None:
    """Both events of a run; None if its first one is trimmed away."""
    if submitted < view.oldest:
        return None
    first = _load_of_run(view, submitted, run_id)
    if first is None:
        return None
    last = _load_of_run(view, ended, run_id) if ended else None
    return StoredRun(first, last, view.head)


def load_key_owner(view: View, key: str, seq: int) -> str | None:
    """The run that was submitted at ``seq`` with this key; None if that is trimmed away."""
    if seq < view.oldest:
        return None
    located = locate(view, seq)
    try:
        marks = decode_change(_read(view, located)).marks
    except Damaged as error:
        file = str(view.files.layout.segment(located.number))
        raise CorruptLog(file=file, offset=located.span.offset, reason=str(error)) from error
    for mark in marks:
        if mark.seq == seq and mark.what == SUBMITTED and mark.key == key:
            return mark.run_id
    return None


class FoundSnapshot(NamedTuple):
    """Where a snapshot lies: in which segment, and in it."""

    number: int
    place: SnapshotPlace


def find_recent_snapshot(view: View, place: int) -> FoundSnapshot | None:
    """The snapshot that the directory says is at ``place``, if memory knows where.

    Not for a thread: the next snapshot, or a delete, takes this one out of the index.
    """
    for recent in view.recents:
        known = recent.index.snapshots.get(view.session_id)
        if recent.segment.high == place and known is not None:
            return FoundSnapshot(recent.segment.number, known)
    return None


def find_sealed_snapshot(view: View, place: int, seq: int) -> FoundSnapshot:
    """The same from a side file. Raises CorruptLog if it is not there."""
    found = view.chain(place).next()
    row = None if found is None else found[1].find(view.session_id)
    if found is None or row is None or row.snapshot_seq != seq:
        root = str(view.files.layout.root)
        reason = f"the snapshot of {view.session_id!r} at {seq} is missing"
        raise CorruptLog(file=root, offset=0, reason=reason)
    place_in_it = SnapshotPlace(seq, row.snapshot_offset, row.snapshot_length)
    return FoundSnapshot(found[0].number, place_in_it)


def load_snapshot(view: View, found: FoundSnapshot) -> Snapshot:
    number, (seq, offset, length) = found
    expected = (fmt.SNAPSHOT, view.session_id, seq)
    block = read_block(view.files, number, offset, length, expected)
    return Snapshot(seq, bytes(block.content))
