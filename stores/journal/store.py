"""JournalStore: the embedded default, many sessions in one log of one directory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio
from moorage.runtime.errors import CorruptLog, InvalidArgument, StoreFailed

from ..durability import Durability
from ..news import NewsBoard
from .compaction import CompactionReport, Compactor
from .disk import OsDisk
from .health import inspect
from .maintenance import Maintenance
from .manifest import Layout
from .opening import open_log
from .owner import Owner
from .reading import open_reader
from .reading_side import ReadingSide
from .reads import Reads
from .statistics import JournalStatistics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Claim, Deliver, Record, Snapshot, StoreReader
    from moorage.runtime.sessions import SessionInfo

    from ..health import HealthReport
    from .changes import Change
    from .disk import Disk
    from .opening import Opened
    from .recovery import Recovery

SEGMENT_BYTES = 64 * 2**20
SEGMENT_BYTES_MIN = 4096

_log = structlog.get_logger("moorage.journal")


class JournalStore(ReadingSide):
    """A journal in the directory ``path``, which one process at a time owns.

    ``durability`` says what an append survives when it returns. A segment file is sealed when it
    has ``segment_bytes`` (more when there are very many sessions). ``disk`` is for tests.
    ``recovery`` tells what the last opening found, None before.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = Durability.COMMIT,
        segment_bytes: int = SEGMENT_BYTES,
        disk: Disk | None = None,
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if type(segment_bytes) is not int or segment_bytes < SEGMENT_BYTES_MIN:
            raise InvalidArgument(
                f"segment_bytes must be an int of at least {SEGMENT_BYTES_MIN}, "
                f"not {segment_bytes!r}"
            )
        try:
            self.path = Path(path)
            self._durability = Durability(durability)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"a journal needs the path of a directory and a durability of "
                f"{' or '.join(map(repr, map(str, Durability)))}: {error}"
            ) from None
        self.recovery: Recovery | None = None
        self._segment_bytes = segment_bytes
        self._disk: Disk = OsDisk() if disk is None else disk
        self._layout = Layout(self.path.absolute())
        self._news = NewsBoard()
        self._owner: Owner | None = None
        self._maintenance: Maintenance | None = None
        self._compactor: Compactor | None = None
        self._deliver: Deliver | None = None

    @property
    def lease_seconds(self) -> float | None:
        """None: a claim lives as long as the store is open."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Open for writing. Raises SessionHeld, CorruptLog and StoreFailed."""
        opened = await trio.to_thread.run_sync(
            lambda: open_log(
                self._disk,
                self._layout,
                owner=owner,
                synced=self._durability is Durability.COMMIT,
            ),
            limiter=trio.CapacityLimiter(1),
        )
        try:
            self._begin(opened, deliver)
            problem: BaseException | None = None
            async with trio.open_nursery() as nursery:
                assert self._owner is not None
                assert self._maintenance is not None
                assert self._compactor is not None
                nursery.start_soon(self._news.run)
                nursery.start_soon(self._owner.commits.run)
                nursery.start_soon(self._maintenance.run)
                nursery.start_soon(self._compactor.run)
                try:
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                await self._end()
                nursery.cancel_scope.cancel()
        finally:
            opened.close()
        if problem is not None:
            raise problem

    def _begin(self, opened: Opened, deliver: Deliver) -> None:
        recovery = self.recovery = opened.recovery
        if recovery.cut_bytes:
            _log.warning(
                "journal tail cut",
                file=recovery.cut_file,
                offset=recovery.cut_offset,
                bytes=recovery.cut_bytes,
                reason=recovery.cut_reason,
            )
        self._deliver = deliver
        self._reads = Reads(lambda: opened.state, trio.lowlevel.checkpoint)
        self._owner = Owner(opened, news=self._news, reads=self._reads)
        self._maintenance = Maintenance(
            opened, self._owner.commits, segment_bytes=self._segment_bytes
        )
        self._compactor = Compactor(
            opened,
            self._maintenance,
            self._owner.commits,
            segment_bytes=self._segment_bytes,
        )
        self._owner.grown = self._maintenance.grown
        self._owner.freed = self._compactor.note_dead

    async def _end(self) -> None:
        """Let what is on its way arrive, refuse what comes, and attest everything."""
        owner, maintenance, compactor = self._owner, self._maintenance, self._compactor
        assert owner is not None
        assert maintenance is not None
        assert compactor is not None
        self._reads = self._owner = self._maintenance = None
        self._compactor = self._deliver = None
        self._was_open = True
        self._news.wake_all()
        with trio.CancelScope(shield=True):
            await compactor.stop()
            maintenance.stop()
            await maintenance.stopped.wait()
            owner.commits.stop()
            await owner.commits.stopped.wait()
            try:
                await maintenance.close()
            except (OSError, CorruptLog) as error:
                # everything acknowledged is durable; the next opening has more to replay
                _log.warning("journal was not closed cleanly", error=repr(error))

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """Open a reader beside whoever owns the journal; it takes no lock and never writes."""
        async with open_reader(self._disk, self._layout) as reader:
            yield reader

    async def compact(self) -> CompactionReport:
        """Free the space of what was trimmed, deleted or superseded, as far as possible, now.

        It happens by itself too, when much is dead. Raises StoreFailed and CorruptLog.
        """
        self._writer()
        assert self._compactor is not None
        return await self._compactor.compact()

    async def append_blocks(self, changes: list[Change], blocks: list[bytes]) -> None:
        """Commit blocks as they are, without a claim: for salvage, which owns everything."""
        await self._writer().commits.append(changes, blocks)

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        if self._owner is None:
            await super().wait_news(session_id, after=after, run_id=run_id)
            return
        self._owner.check_poison()
        if self._has_news(session_id, after, run_id):
            await trio.lowlevel.checkpoint()
        else:
            await self._news.wait(session_id, after=after, run_id=run_id)

    async def claim(self, session_id: str) -> Claim:
        return await self._writer().claim(session_id)

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        owner = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        return [claim for claim in claims if not owner.owns(claim)]

    async def release(self, claim: Claim) -> None:
        owner = self._writer()
        owner.release(claim)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        await self._writer().append(claim, expected_seq, records, info)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await self._writer().save_snapshot(claim, snapshot)

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        await self._writer().save_cursor(session_id, name, seq)

    async def trim(self, claim: Claim, before: int) -> None:
        await self._writer().trim(claim, before)

    async def delete(self, claim: Claim) -> None:
        await self._writer().delete(claim)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._writer()
        assert self._deliver is not None
        return await self._deliver(session_id, command)

    async def inspect(self) -> HealthReport:
        """Read and check everything, beside an owner; the store need not be open. Raises
        StoreFailed."""
        return await inspect(self)

    def statistics(self) -> JournalStatistics:
        owner, maintenance, compactor = self._writer(), self._maintenance, self._compactor
        assert maintenance is not None
        assert compactor is not None
        opened = owner.opened
        counts = owner.commits.counts
        directory = opened.state.directory
        segments = opened.manifest.segments
        return JournalStatistics(
            sessions=directory.existing,
            tombstones=len(directory.entries) - directory.existing,
            segments=len(segments),
            size_bytes=sum(segment.end or opened.target.end for segment in segments),
            dead_bytes=compactor.dead_bytes,
            claims=owner.claims,
            pending=owner.commits.pending,
            waiting=self._news.statistics().waiting,
            commits=counts.commits,
            commits_failed=counts.failed,
            syncs=counts.syncs,
            records=counts.records,
            bytes=counts.bytes,
            rotations=maintenance.rotations,
            compactions=compactor.compactions,
            replayed_frames=opened.recovery.replayed_frames,
            cut_tail_bytes=opened.recovery.cut_bytes,
            poisoned=owner.commits.poison is not None,
        )

    def _writer(self) -> Owner:
        if self._owner is None:
            self._opened_reads()  # raises
            raise StoreFailed(f"the journal in {self._layout.root} is not open for writing")
        return self._owner
