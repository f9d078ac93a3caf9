"""Opening for writing: lock, finish what a crash cut short, learn what is there. Blocks.

In this order, so that a crash at any point leaves what the next opening understands: whole commits
are done again and synced; damage is judged before anything is cut; torn tails are cut; the index is
written and a new, empty commit log begins before the old ones go.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import CorruptLog, SessionHeld, StoreFailed

from ..journal.disk import Disk, Lock, Locked
from .commit_log import CommitLog, new_commit_log, read_frames, was_synced
from .cursors import Cursors, load_cursors, new_cursors
from .files import Files
from .index import closed_with, load_index, store_index
from .layout import Layout, load_generation, log_name, store_generation
from .lines import Damage
from .names import SUFFIX
from .scanning import Facts, read_header, scan, whole_batch_follows

if TYPE_CHECKING:
    from ..journal.disk import File

HOLDER_BYTES_MAX = 4096


@attrs.frozen
class TornTail:
    """Bytes behind the last whole batch of a file, which were cut away."""

    file: str
    line: int
    offset: int
    bytes: int
    reason: str


@attrs.frozen
class JsonlRecovery:
    """What an opening found. ``redone`` commits were done again, ``read_bytes`` of sessions were
    read since the index did not tell of them."""

    generation: int
    sessions: int
    redone: int
    read_bytes: int
    cut: tuple[TornTail, ...]


@attrs.define
class Opened:
    """A store that this process owns."""

    disk: Disk
    layout: Layout
    lock: Lock
    files: Files
    commits: CommitLog
    facts: dict[str, Facts]
    cursors: Cursors
    recovery: JsonlRecovery
    synced: bool

    def checkpoint(self, facts: dict[str, Facts]) -> None:
        """Make all files durable by themselves and begin an empty commit log. Raises OSError."""
        self.files.sync()
        write_index(self.disk, self.layout, facts)
        number = self.commits.number
        new = new_commit_log(self.disk, self.layout.commits, number + 1, synced=self.synced)
        self.commits.close()
        self.commits = new
        remove_older(self.disk, self.layout, number + 1)

    def close(self) -> None:
        self.files.close()
        self.commits.close()
        self.lock.release()


def open_store(disk: Disk, layout: Layout, *, owner: str, synced: bool) -> Opened:
    """Raises SessionHeld, CorruptLog and StoreFailed."""
    try:
        load_generation(disk, layout)  # a newer format is refused before anything is written
        _make_directories(disk, layout)
        lock = _take_lock(disk, layout, owner)
        try:
            return _open_locked(disk, layout, lock, synced)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StoreFailed(
            f"the store in {layout.root} cannot be opened for writing: {error}; it needs a "
            "directory that this user may write to, and room (reading needs neither: open_reader)",
            written=False,
        ) from error


def _make_directories(disk: Disk, layout: Layout) -> None:
    missing = []
    for path in (layout.root, *layout.root.parents):
        try:
            disk.list(path)
            break
        except FileNotFoundError:
            missing.append(path)
    for directory in (layout.root, layout.sessions, layout.snapshots, layout.commits):
        disk.make_directory(directory)
    for path in missing:
        disk.sync_directory(path.parent)
    disk.sync_directory(layout.root)


def _take_lock(disk: Disk, layout: Layout, owner: str) -> Lock:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    holder = f"{owner} (process {os.getpid()} on {socket.gethostname()}, since {since})"
    try:
        return disk.lock(layout.lock, holder)
    except Locked:
        file = disk.open(layout.lock)
        try:
            text = file.read(HOLDER_BYTES_MAX, 0).decode(errors="replace")
        finally:
            file.close()
        raise SessionHeld(f"the store in {layout.root}", holder=text or "a process") from None


def _open_locked(disk: Disk, layout: Layout, lock: Lock, synced: bool) -> Opened:
    generation = (load_generation(disk, layout) or 0) + 1
    store_generation(disk, layout, generation)
    files = Files(disk, layout)
    try:
        redone, number, were_synced = _redo(disk, layout, files)
        files.sync()
        survey = survey_sessions(disk, layout, synced=were_synced)
        lives = {facts.session_id: facts.life for facts in survey.facts.values()}
        old = load_cursors(disk, layout, synced=were_synced)
        cursors = new_cursors(disk, layout, generation << 32, old, lives)
        write_index(disk, layout, survey.facts)
        commits = new_commit_log(disk, layout.commits, number + 1, synced=synced)
        remove_older(disk, layout, number + 1)
    except BaseException:
        files.close()
        raise
    recovery = JsonlRecovery(
        generation=generation,
        sessions=sum(facts.info is not None for facts in survey.facts.values()),
        redone=redone,
        read_bytes=survey.read_bytes,
        cut=tuple(survey.cut),
    )
    return Opened(
        disk, layout, lock, files, commits, survey.facts, cursors, recovery, synced
    )  # fmt: skip


def commit_logs(disk: Disk, layout: Layout) -> list[int]:
    """The numbers of those there are, ascending."""
    return sorted(int(name) for name in disk.list(layout.commits) if name.isdecimal())


def logs_to_redo(numbers: list[int]) -> list[int]:
    """Those of these commit logs that may hold what the files lack, ascending.

    A log begins when all before it are done and synced, and these go. A power loss may bring
    back an older one without that which followed: to do it again would undo what is newer.
    """
    whole = 0
    for place in range(1, len(numbers)):
        if numbers[place] != numbers[place - 1] + 1:
            whole = place
    return numbers[whole:]


def _redo(disk: Disk, layout: Layout, files: Files) -> tuple[int, int, bool]:
    """Do again what the commit logs hold; returns how many commits that were, the number of the
    last log, and whether all were synced."""
    redone = number = 0
    synced = True
    for number in logs_to_redo(commit_logs(disk, layout)):
        path = layout.commits / f"{number:08}"
        file = disk.open(path)
        try:
            synced = synced and was_synced(file)
            for changes in read_frames(file, path):
                files.make_again(changes)
                redone += 1
        except FileNotFoundError as error:
            name = str(error.filename or error)
            raise CorruptLog(
                file=name, offset=0, reason="it is gone, and the last commits belong to it"
            ) from error
        finally:
            file.close()
    return redone, number, synced


def remove_older(disk: Disk, layout: Layout, number: int) -> None:
    """Remove commit logs below that number; what is left goes at the next time."""
    for older in commit_logs(disk, layout):
        if older < number:
            with suppress(OSError):
                disk.unlink(layout.commits / f"{older:08}")


@attrs.define
class Survey:
    """What the files of all sessions hold."""

    facts: dict[str, Facts]
    cut: list[TornTail]
    read_bytes: int


def survey_sessions(disk: Disk, layout: Layout, *, synced: bool) -> Survey:
    """Learn from the index and the files what is there, and cut torn tails.

    Without ``synced`` a tail begins at the first batch that is wrong, whatever follows, if it is
    behind what the index tells of, which was synced. Raises CorruptLog and OSError.
    """
    survey = Survey({}, [], 0)
    index = load_index(disk, layout)
    found: list[Facts] = []
    for name in sorted(disk.list(layout.sessions)):
        if not name.endswith(SUFFIX):
            continue  # left by a crash: nothing names it
        file = disk.open(layout.sessions / name, write=True)
        try:
            known = index.get(name.removesuffix(SUFFIX))
            found.append(_survey(file, str(layout.sessions / name), known, survey, synced))
        finally:
            file.close()
    found.sort(key=lambda facts: facts.commit)
    survey.facts.update((facts.session_id, facts) for facts in found)
    return survey


def _survey(
    file: File, path: str, known: tuple[Facts, int] | None, survey: Survey, synced: bool
) -> Facts:
    try:
        facts = read_header(file)
    except Damage as error:
        raise CorruptLog(file=path, offset=0, reason=f"line 1: {error}") from error
    size = file.size()
    if known is not None and _fits(file, facts, size, *known):
        facts = known[0]
    survey.read_bytes += size - facts.end
    found = scan(file, facts, to=size, keep_events=False)
    bad = found.bad
    if bad is not None:
        below = known is not None and known[0].file == facts.file and bad.offset < known[0].end
        if below or (synced and whole_batch_follows(file, facts.session_id, bad.offset, size)):
            raise bad.error(path)
        end = found.facts.end
        survey.cut.append(TornTail(path, bad.line, end, size - end, bad.reason))
        file.truncate(end)
        file.sync()
    return found.facts


def _fits(file: File, found: Facts, size: int, known: Facts, closed: int) -> bool:
    """Whether what the index knows is the beginning of this file."""
    return known.file == found.file and known.end <= size and closed_with(file, known.end) == closed


def write_index(disk: Disk, layout: Layout, facts: dict[str, Facts]) -> None:
    """Write the index of what is durable, and its name too. Raises OSError."""
    ends: dict[str, int] = {}
    for one in facts.values():
        try:
            file = disk.open(layout.path(log_name(one.stem)))
        except FileNotFoundError:
            continue
        try:
            ends[one.stem] = closed_with(file, one.end)
        finally:
            file.close()
    store_index(disk, layout, facts.values(), ends)
    disk.sync_directory(layout.root)
