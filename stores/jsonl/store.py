"""JsonlStore: sessions that people read with cat and jq."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import structlog
import trio
from moorage.runtime.codec import encode_info
from moorage.runtime.errors import CorruptLog, InvalidArgument
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.ports import Claim

from ..bounds import check_append, check_info, check_name, check_seq
from ..durability import Durability
from ..group_commit import GroupCommit
from ..journal.disk import OsDisk
from .cursors import Cursors
from .health import inspect
from .layout import Layout
from .opening import open_store
from .reading import open_reader
from .reads import Reads, Sessions, info_of
from .works import (
    Appending,
    Changed,
    Claiming,
    Deleting,
    Releasing,
    Renewing,
    SavingCursor,
    SavingSnapshot,
    Trimming,
)
from .writing import COMMIT_LOG_BYTES, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Deliver, Record, Snapshot, StoreReader
    from moorage.runtime.sessions import SessionInfo

    from ..health import HealthReport
    from ..journal.disk import Disk
    from .opening import JsonlRecovery, Opened
    from .scanning import Facts
    from .works import Told

COMMIT_LOG_BYTES_MIN = 4096

_log = structlog.get_logger("moorage.jsonl")


@attrs.frozen
class JsonlStatistics:
    """Counts since the store was opened, and sizes. ``bytes`` were written, each twice;
    ``checkpoints`` made the files durable by themselves, ``rewrites`` freed what was trimmed;
    ``waiting`` tasks wait for news."""

    sessions: int
    tombstones: int
    size_bytes: int
    claims: int
    pending: int
    waiting: int
    commits: int
    commits_failed: int
    syncs: int
    records: int
    bytes: int
    checkpoints: int
    rewrites: int
    redone_commits: int
    cut_tails: int
    poisoned: bool


class JsonlStore(Reads):
    """One file of JSON lines for each session, in a directory that one process at a time owns.

    ``sessions/user-1.jsonl`` has the events of session user-1, only ever appended to; messages have
    ``role`` and ``content`` at the top level::

        jq -r 'select(.role) | "\\(.role): \\(.content)"' sessions/user-1.jsonl

    A batch is atomic although it is several lines: the last one closes it, with a checksum of all
    of them (see lines.py). All that several sessions append at the same time goes through one file
    (commit_log.py) with one sync, before it goes to the files of the sessions. So everything is
    written twice; but a commit costs one sync, and what stands in a session's file is durable.
    An opening does again what a crash cut short, cuts off a torn tail, and tells of both
    (``recovery``, None before). What is wrong elsewhere is refused with CorruptLog: file, line and
    reason. Lines that were edited by hand are wrong.

    ``durability`` says what an append survives when it returns. ``commit_log_bytes`` is how much is
    written until the files are synced themselves, while appends wait. ``disk`` is for tests.

    Trimming frees space when more than half of a file is trimmed, by writing the rest anew. Where
    the events of a session are is kept in memory when it was read (40 to 100 bytes for each event).
    Readers see all that is durable; after a power loss and before the next opening people with cat
    may not.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        durability: Durability = Durability.COMMIT,
        commit_log_bytes: int = COMMIT_LOG_BYTES,
        disk: Disk | None = None,
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if type(commit_log_bytes) is not int or commit_log_bytes < COMMIT_LOG_BYTES_MIN:
            raise InvalidArgument(
                f"commit_log_bytes must be an int of at least {COMMIT_LOG_BYTES_MIN}, "
                f"not {commit_log_bytes!r}"
            )
        try:
            self.path = Path(directory)
            self._durability = Durability(durability)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"a JsonlStore needs the path of a directory and a durability of "
                f"{' or '.join(map(repr, map(str, Durability)))}: {error}"
            ) from None
        super().__init__(OsDisk() if disk is None else disk, Layout(self.path.absolute()))
        self.recovery: JsonlRecovery | None = None
        self._commit_log_bytes = commit_log_bytes
        self._opened: Opened | None = None
        self._writer: Writer | None = None
        self._commits: GroupCommit | None = None
        self._cursors = Cursors(0, 0)
        self._deliver: Deliver | None = None

    @property
    def lease_seconds(self) -> float | None:
        """None: a claim lives as long as the store is open."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Open for writing. Raises SessionHeld, CorruptLog and StoreFailed."""
        synced = self._durability is Durability.COMMIT
        limiter = trio.CapacityLimiter(1)
        opened = await trio.to_thread.run_sync(
            lambda: open_store(self._disk, self._layout, owner=owner, synced=synced),
            limiter=limiter,
        )
        problem: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                commits = self._begin(opened, deliver)
                nursery.start_soon(self._board.run)
                nursery.start_soon(commits.run)
                try:
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                self._end()
                await commits.stop()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                clean = self._commits is None or self._commits.poison is None
                self._commits = self._writer = self._opened = None
                await trio.to_thread.run_sync(_close, opened, clean, limiter=limiter)
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    def _begin(self, opened: Opened, deliver: Deliver) -> GroupCommit:
        self.recovery = opened.recovery
        for tail in opened.recovery.cut:
            _log.warning(
                "torn tail cut",
                file=tail.file,
                line=tail.line,
                offset=tail.offset,
                bytes=tail.bytes,
                reason=tail.reason,
            )
        self._sessions = Sessions(opened.facts.values())
        self._cursors = Cursors(0, 0)
        for session_id, (life, names) in opened.cursors.saved.items():
            self._cursors.saved[session_id] = life, dict(names)
        token = trio.lowlevel.current_trio_token()
        self._opened = opened
        self._deliver = deliver
        self._writer = Writer(
            opened,
            commit_log_bytes=self._commit_log_bytes,
            tell=self._tell,
            tell_later=lambda told: token.run_sync_soon(self._tell, told),
            wake=self._board.wake_all,
        )
        self._commits = GroupCommit(self._writer)
        return self._commits

    def _end(self) -> None:
        """Refuse what comes; what is on its way arrives."""
        self._sessions = self._deliver = None
        self._was_open = True
        self._loaded.clear()
        self._board.wake_all()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """Open a reader beside whoever owns the store; it takes no lock and never writes."""
        async with open_reader(self._disk, self._layout) as reader:
            yield reader

    def _tell(self, told: Sequence[Told]) -> None:
        sessions = self._sessions
        if sessions is None:
            return
        for one in told:
            if not isinstance(one, Changed):
                self._cursors.put(one.session_id, one.life, one.name, one.seq)
                continue
            facts = one.facts
            sessions.put(facts, one.events)
            if facts.info is None:
                self._board.wake_session(facts.session_id)
            elif one.events and self._board.anybody:
                ended = [
                    line.head.run_id
                    for line in one.events
                    if line.head.type in RUN_TERMINAL_TYPES and line.head.run_id is not None
                ]
                self._board.publish(facts.session_id, facts.head_seq, ended)

    def _cursors_of(self, facts: Facts) -> dict[str, int]:
        return self._cursors.of(facts.session_id, facts.life)

    def _writing(self) -> GroupCommit:
        self._open()
        assert self._commits is not None
        return self._commits

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        commits = self._writing()
        if commits.poison is not None:
            raise commits.poison.refusal()
        await trio.lowlevel.checkpoint_if_cancelled()
        if await self._has_news(session_id, after, run_id):
            await trio.lowlevel.checkpoint()
        else:
            await self._board.wait(session_id, after=after, run_id=run_id)

    async def claim(self, session_id: str) -> Claim:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        epoch = await commits.do(Claiming(session_id))
        entry = self._open().entries.get(session_id)
        if entry is None:
            return Claim(session_id, epoch, 0, 1, None, None)
        facts = entry.facts
        snapshot = None
        info = None
        if facts.info is not None:
            with trio.CancelScope(shield=True):  # whoever was fenced must be told by a claim
                snapshot = await self._load_snapshot(facts)
            info = info_of(facts)
        return Claim(session_id, epoch, facts.head_seq, facts.oldest_seq, info, snapshot)

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        lost: list[Claim] = await commits.do(Renewing(claims))
        return lost

    async def release(self, claim: Claim) -> None:
        await self._writing().do(Releasing(claim))

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_append(claim.session_id, records, None)
        encoded = None
        if info is not None:
            try:
                encoded = encode_info(info)
            except (ValueError, TypeError, OverflowError):
                check_info(info)
                raise
        size = sum(len(record.body) for record in records)
        await commits.do(Appending(claim, expected_seq, tuple(records), encoded), size)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        await commits.do(SavingSnapshot(claim, snapshot), len(snapshot.body))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_name("cursor name", name)
        check_seq("the seq of a cursor", seq)
        await commits.do(SavingCursor(session_id, name, seq))

    async def trim(self, claim: Claim, before: int) -> None:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_seq("what to trim before", before)
        await commits.do(Trimming(claim, before))

    async def delete(self, claim: Claim) -> None:
        commits = self._writing()
        await trio.lowlevel.checkpoint_if_cancelled()
        await commits.do(Deleting(claim))

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._writing()
        assert self._deliver is not None
        return await self._deliver(session_id, command)

    async def inspect(self) -> HealthReport:
        """Read and check everything, beside an owner; the store need not be open. Raises
        StoreFailed."""
        return await inspect(self)

    def statistics(self) -> JsonlStatistics:
        commits, sessions = self._writing(), self._open()
        writer, recovery = self._writer, self.recovery
        assert writer is not None
        assert recovery is not None
        facts = [entry.facts for entry in sessions.entries.values()]
        existing = sum(one.info is not None for one in facts)
        counts = writer.counts
        return JsonlStatistics(
            sessions=existing,
            tombstones=len(facts) - existing,
            size_bytes=sum(one.end for one in facts),
            claims=len(writer.epochs),
            pending=commits.pending,
            waiting=self._board.statistics().waiting,
            commits=counts.commits,
            commits_failed=counts.failed,
            syncs=counts.commits if self._durability is Durability.COMMIT else 0,
            records=counts.records,
            bytes=counts.bytes,
            checkpoints=counts.checkpoints,
            rewrites=counts.rewrites,
            redone_commits=recovery.redone,
            cut_tails=len(recovery.cut),
            poisoned=commits.poison is not None,
        )


def _close(opened: Opened, clean: bool) -> None:
    try:
        if clean:
            opened.checkpoint(opened.facts)
    except (OSError, CorruptLog) as error:
        # everything acknowledged is in the commit log; the next opening has more to do
        _log.warning("store was not closed cleanly", error=repr(error))
    finally:
        opened.close()
