"""The writer: fences, makes lines, and puts all that arrived meanwhile into one commit.

It works in the thread of a GroupCommit, which owns all of its state; what it has done is told on
the trio thread when it is durable. In this order: the commit log is written and synced, the files
are written, readers in this process are told, callers are answered. Other processes read the files,
so they see nothing that is not durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import structlog
from moorage.runtime.errors import (
    CorruptLog,
    InvalidArgument,
    MoorageError,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)

from ..bounds import check_seq
from ..group_commit import refuse
from ..journal.disk import SyncFailed
from .batches import WriteCounts, batch, behind, put_together
from .commit_log import FRAME_BYTES_MAX, REMOVE, REPLACE, Change
from .cursors import cursor_line, new_cursors
from .layout import CURSORS, log_name, snapshot_name
from .lines import Damage, close, note_line
from .names import stem_of
from .rewriting import header_line, rewrite, worth_rewriting
from .scanning import EventLine, Facts
from .snapshots import snapshot_content
from .works import (
    Appending,
    Changed,
    Claiming,
    CursorSaved,
    Deleting,
    Releasing,
    Renewing,
    SavingCursor,
    SavingSnapshot,
    Told,
    Trimming,
    Undo,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moorage.runtime.ports import Claim

    from ..group_commit import Job
    from .opening import Opened

COMMIT_LOG_BYTES = 32 * 2**20
"""So much is written twice, and done again after a crash, before the files are synced."""

_log = structlog.get_logger("moorage.jsonl")


class Writer:
    """The executor of a JsonlStore's group commit. ``tell`` gets what is durable, and ``wake`` is
    called when the store is poisoned, on the trio thread; ``tell_later`` is tell from the thread.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        commit_log_bytes: int,
        tell: Callable[[Sequence[Told]], None],
        tell_later: Callable[[Sequence[Told]], None],
        wake: Callable[[], None],
    ) -> None:
        self.counts = WriteCounts()
        self.epochs: dict[str, int] = {}
        self._opened = opened
        self._facts = opened.facts
        self._cursors = opened.cursors
        self._commit_log_bytes = commit_log_bytes
        self._tell = tell
        self._tell_later = tell_later
        self._wake = wake
        self._numbers = {
            "epoch": opened.recovery.generation << 32,
            "file": opened.recovery.generation << 32,
            "commit": max((facts.commit for facts in self._facts.values()), default=0),
        }
        self._due: set[str] = set()
        self._undo = Undo()
        self._changes: dict[str, list[tuple[int, int, bytes]]] = {}
        self._cursor_end = self._cursors.end
        self._told: list[Told] = []
        self._done: list[Told] = []

    # ---- what GroupCommit asks for ----

    def execute(self, jobs: list[Job]) -> StoreFailed | None:
        self._undo, self._changes, self._told = Undo(), {}, []
        self._cursor_end = self._cursors.end
        records = 0
        for job in jobs:
            try:
                job.result = self._do(job.work)
            except MoorageError as error:
                job.error = error
            else:
                records += len(job.work.records) if isinstance(job.work, Appending) else 0
        if self._changes:
            failure = self._write()
            if failure is not None:
                self._undo.take_back()
                self.counts.failed += 1
                refuse(jobs, failure)
                return failure
            self.counts.commits += 1
            self.counts.records += records
        for told in self._told:
            if isinstance(told, CursorSaved):
                self._cursors.put(told.session_id, told.life, told.name, told.seq)
                self._cursors.lines += 1
        self._cursors.end = self._cursor_end
        self._done = self._told
        return None

    def rest(self) -> StoreFailed | None:
        try:
            while self._due:
                self._rewrite(self._due.pop())
            if self._cursors.outdated:
                self._rewrite_cursors()
            if self._opened.commits.end > self._commit_log_bytes:
                self._opened.checkpoint(self._facts)
                self.counts.checkpoints += 1
        except (OSError, CorruptLog) as error:
            return _poison(error)
        return None

    def published(self, batch: list[Job]) -> None:
        done, self._done = self._done, []
        self._tell(done)

    def poisoned(self, failure: StoreFailed) -> None:
        self._wake()

    # ---- one work at a time ----

    def _do(self, work: Any) -> Any:
        if isinstance(work, Appending):
            return self._append(work)
        if isinstance(work, Claiming):
            epoch = self._next("epoch")
            self._undo.set(self.epochs, work.session_id, epoch)
            return epoch
        if isinstance(work, Renewing):
            return [claim for claim in work.claims if not self._owns(claim)]
        if isinstance(work, SavingCursor):
            return self._save_cursor(work)
        if isinstance(work, Releasing):
            if self._owns(work.claim):
                self._undo.remove(self.epochs, work.claim.session_id)
            return None
        self._fence(work.claim)
        if isinstance(work, SavingSnapshot):
            return self._save_snapshot(work)
        if isinstance(work, Trimming):
            return self._trim(work)
        assert isinstance(work, Deleting)
        return self._delete(work)

    def _append(self, work: Appending) -> None:
        claim, session_id = work.claim, work.claim.session_id
        self._fence(claim)
        facts = self._facts.get(session_id)
        head = 0 if facts is None else facts.head_seq
        if work.expected_seq != head + 1:
            raise StaleOwner(
                session_id,
                epoch=claim.epoch,
                current=f"the head is {head} and the append starts at {work.expected_seq}",
            )
        if facts is not None and facts.info is not None:
            if work.records or work.info is not None:
                self._extend(facts, work)
            return
        if work.info is None:
            raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
        self._create(session_id, head, work)

    def _extend(self, facts: Facts, work: Appending) -> None:
        commit = self._next("commit")
        content, events = batch(facts, work.records, work.info, commit)
        self._check_size(content, facts.session_id)
        self._change(log_name(facts.stem), facts.file, facts.end, content)
        self._set(behind(facts, content, work, commit), events)

    def _create(self, session_id: str, head: int, work: Appending) -> None:
        commit = self._next("commit")
        facts = Facts(
            session_id=session_id,
            stem=stem_of(session_id),
            file=self._next("file"),
            life=head,
            after=head,
            head_seq=head,
            oldest_seq=head + 1,
            modified_at_ns=0,
            commit=commit,
            end=0,
            lines=1,
            info=None,
        )
        header = header_line(facts)
        facts = attrs.evolve(facts, end=len(header))
        content, events = batch(facts, work.records, work.info, commit)
        self._check_size(content, session_id)
        self._change(log_name(facts.stem), facts.file, REPLACE, header + content)
        self._set(behind(facts, content, work, commit), events)

    def _check_size(self, content: bytes, session_id: str) -> None:
        if len(content) > FRAME_BYTES_MAX // 2:
            raise InvalidArgument(
                f"an append to session {session_id!r} is {len(content)} bytes as JSON and a commit "
                f"holds {FRAME_BYTES_MAX // 2}: append fewer records at once"
            )

    def _save_snapshot(self, work: SavingSnapshot) -> None:
        facts, snapshot = self._existing(work.claim.session_id), work.snapshot
        check_seq("the seq of a snapshot", snapshot.seq)
        if snapshot.seq > facts.head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {snapshot.seq} is ahead of the head, {facts.head_seq}"
            )
        self._change(snapshot_name(facts.stem), 0, REPLACE, snapshot_content(facts, snapshot))

    def _save_cursor(self, work: SavingCursor) -> None:
        facts = self._existing(work.session_id)
        saved = CursorSaved(work.session_id, facts.life, work.name, work.seq)
        content = cursor_line(saved.session_id, saved.life, saved.name, saved.seq)
        self._change(CURSORS, self._cursors.file, self._cursor_end, content)
        self._cursor_end += len(content)
        self._told.append(saved)

    def _trim(self, work: Trimming) -> None:
        facts = self._existing(work.claim.session_id)
        before = min(work.before, facts.head_seq + 1)
        if before <= facts.oldest_seq:
            return
        content = close([note_line(trim=before)], facts.session_id, facts.commit)
        self._change(log_name(facts.stem), facts.file, facts.end, content)
        end = facts.end + len(content)
        facts = attrs.evolve(facts, oldest_seq=before, end=end, lines=facts.lines + 1)
        self._set(facts)
        if worth_rewriting(facts):
            self._due.add(facts.session_id)

    def _delete(self, work: Deleting) -> None:
        session_id = work.claim.session_id
        self._undo.remove(self.epochs, session_id)
        facts = self._facts.get(session_id)
        if facts is None or facts.info is None:
            return
        head = facts.head_seq
        facts = attrs.evolve(
            facts, file=self._next("file"), life=head, after=head, oldest_seq=head + 1, info=None
        )
        content = header_line(facts)
        self._change(log_name(facts.stem), facts.file, REPLACE, content)
        self._change(snapshot_name(facts.stem), 0, REMOVE, b"")
        self._set(attrs.evolve(facts, end=len(content), lines=1))

    # ---- facts ----

    def _next(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def _owns(self, claim: Claim) -> bool:
        return self.epochs.get(claim.session_id) == claim.epoch

    def _fence(self, claim: Claim) -> None:
        epoch = self.epochs.get(claim.session_id)
        if epoch != claim.epoch:
            current = "nobody" if epoch is None else f"epoch {epoch}"
            raise StaleOwner(
                claim.session_id, epoch=claim.epoch, current=f"{current} owns the session"
            )

    def _existing(self, session_id: str) -> Facts:
        facts = self._facts.get(session_id)
        if facts is None or facts.info is None:
            raise UnknownSession(session_id)
        return facts

    def _set(self, facts: Facts, events: Sequence[EventLine] = ()) -> None:
        self._undo.set(self._facts, facts.session_id, facts)
        self._told.append(Changed(facts, events))

    # ---- files ----

    def _change(self, name: str, file: int, offset: int, content: bytes) -> None:
        self._changes.setdefault(name, []).append((file, offset, content))

    def _write(self) -> StoreFailed | None:
        changes = [
            Change(name, *change)
            for name, parts in self._changes.items()
            for change in put_together(parts)
        ]
        commits = self._opened.commits
        try:
            commits.write(changes)
        except SyncFailed as error:
            return _poison(error)
        except OSError as error:
            try:
                commits.cut()
            except OSError as cut_error:
                return _poison(cut_error)
            failure = StoreFailed(
                f"the store could not be written: {error}; nothing was kept, the same may be tried "
                "again when there is room",
                written=False,
            )
            failure.__cause__ = error
            _log.error("write failed and was undone", error=repr(error))
            return failure
        self.counts.bytes += sum(len(change.content) for change in changes)
        try:
            self._opened.files.make(changes)
        except OSError as error:  # it is durable, and the next opening will do it again
            return _poison(error)
        return None

    def _rewrite(self, session_id: str) -> None:
        facts = self._facts[session_id]
        if facts.info is None or not worth_rewriting(facts):
            return
        disk, layout, files = self._opened.disk, self._opened.layout, self._opened.files
        name = log_name(facts.stem)
        try:
            new = rewrite(disk, layout, facts, self._next("file"))
        except Damage as error:
            raise CorruptLog(file=str(layout.path(name)), offset=0, reason=str(error)) from error
        files.forget(name)
        self._facts[session_id] = new
        self.counts.rewrites += 1
        self._tell_later([Changed(new)])

    def _rewrite_cursors(self) -> None:
        lives = {facts.session_id: facts.life for facts in self._facts.values()}
        opened = self._opened
        new = new_cursors(opened.disk, opened.layout, self._next("file"), self._cursors, lives)
        opened.files.forget(CURSORS)
        opened.cursors = self._cursors = new


def _poison(cause: BaseException) -> StoreFailed:
    failure = StoreFailed(
        f"a write could not be made durable and its outcome is unknown: {cause!r}; everything is "
        "refused until the store is opened again",
        poisoned=True,
    )
    failure.__cause__ = cause
    return failure
