"""Whether all files are whole: each line's checksum, the side files, and then what a reader
reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from moorage.runtime.errors import CorruptLog, StoreFailed

from ..health import Findings, walk
from .commit_log import read_frames
from .cursors import load_cursors
from .index import closed_with, load_index
from .layout import load_generation, log_name, snapshot_name
from .lines import Damage
from .names import SUFFIX
from .opening import commit_logs
from .redone import redone
from .scanning import read_header, scan, whole_batch_follows
from .snapshots import read_snapshot

if TYPE_CHECKING:
    from ..health import HealthReport
    from ..journal.disk import Disk, File
    from .layout import Layout
    from .scanning import Facts
    from .store import JsonlStore

_MADE_AGAIN = "delete it when no process has the store: it is made again from the sessions' files"
_CUT = (
    "restore the file from a backup, or delete all lines from there on, and copy the store: "
    "moorage copy"
)


async def inspect(store: JsonlStore) -> HealthReport:
    """Read and check everything, beside an owner. Raises StoreFailed where there is no store."""
    findings = Findings()
    await trio.to_thread.run_sync(
        _check_files, store._disk, store._layout, findings, abandon_on_cancel=True
    )
    if not findings.damaged:
        async with store.reading() as reader:
            await walk(reader, findings)
    return findings.report()


def _check_files(disk: Disk, layout: Layout, findings: Findings) -> None:
    try:
        generation = load_generation(disk, layout)
        if generation is None:
            raise StoreFailed(f"there is no store in {layout.root}", written=False)
        findings.facts.update(openings=generation, bytes=0, tail_bytes=0)
        _check_commits(disk, layout, findings)
        now = redone(disk, layout) or disk
        _check_cursors(now, layout, findings)
        _Sessions(now, layout, findings).check()
    except CorruptLog as error:
        findings.corrupt(error)
    except OSError as error:
        raise StoreFailed(f"the store in {layout.root} cannot be read: {error}") from error


def _check_commits(disk: Disk, layout: Layout, findings: Findings) -> None:
    for number in commit_logs(disk, layout):
        path = layout.commits / f"{number:08}"
        try:
            file = disk.open(path)
        except FileNotFoundError:
            continue  # an owner needs it no more
        try:
            findings.facts["bytes"] += file.size()
            for _ in read_frames(file, path):
                pass
        finally:
            file.close()


def _check_cursors(disk: Disk, layout: Layout, findings: Findings) -> None:
    try:
        load_cursors(disk, layout)
    except CorruptLog as error:
        findings.corrupt(error, "delete the line, or the file: named subscribers begin again then")


class _Sessions:
    """The files of all sessions, with what is beside them."""

    def __init__(self, disk: Disk, layout: Layout, findings: Findings) -> None:
        self._disk = disk
        self._layout = layout
        self._findings = findings
        self._index = load_index(disk, layout)

    def check(self) -> None:
        for name in sorted(self._disk.list(self._layout.sessions)):
            stem = name.removesuffix(SUFFIX)
            if stem == name:
                continue
            path = self._layout.path(log_name(stem))
            try:
                file = self._disk.open(path)
            except FileNotFoundError:
                continue  # replaced by an owner
            try:
                facts = self._check_log(file, stem, str(path))
            finally:
                file.close()
            if facts is not None and facts.info is not None:
                self._check_snapshot(facts)

    def _check_log(self, file: File, stem: str, path: str) -> Facts | None:
        findings, size = self._findings, file.size()
        findings.facts["bytes"] += size
        try:
            start = read_header(file)
        except Damage as error:
            findings.damage(f"{path}, line 1", str(error))
            return None
        if start.stem != stem:
            findings.damage(path, f"it is the file of session {start.session_id!r}", "rename it")
        found = scan(file, start, to=size, keep_events=False)
        if found.bad is not None:
            bad = found.bad
            if whole_batch_follows(file, start.session_id, bad.offset, size):
                findings.damage(f"{path}, line {bad.line}", bad.reason, _CUT)
                return None
            findings.facts["tail_bytes"] += size - found.facts.end
        self._check_index(file, start, size, path)
        return found.facts

    def _check_index(self, file: File, start: Facts, size: int, path: str) -> None:
        """What it tells of the file's beginning is what stands there."""
        known, closed = self._index.get(start.stem, (None, -1))
        if known is None or known.file != start.file or known.end > size:
            return  # the file is newer
        if closed_with(file, known.end) != closed:
            self._findings.damage(
                str(self._layout.index), f"it tells of another {path}", _MADE_AGAIN
            )
        elif scan(file, start, to=known.end, keep_events=False).facts != known:
            reason = f"what it tells of session {start.session_id!r} is not what {path} has"
            self._findings.damage(str(self._layout.index), reason, _MADE_AGAIN)

    def _check_snapshot(self, facts: Facts) -> None:
        path = self._layout.path(snapshot_name(facts.stem))
        try:
            snapshot = read_snapshot(self._disk, path, facts)
        except Damage as error:
            trimmed = facts.oldest_seq > facts.life + 1
            self._findings.damage(
                f"{path}, line 1",
                str(error),
                "restore it from a backup: events before it are trimmed away"
                if trimmed
                else "delete it: the next one takes its place",
            )
            return
        if snapshot is not None and snapshot.seq > facts.head_seq:
            reason = f"it is of seq {snapshot.seq}, beyond the head, {facts.head_seq}"
            self._findings.damage(str(path), reason, "delete it: the next one takes its place")
