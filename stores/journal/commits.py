"""The commit loop: everything that arrived while the last sync ran becomes one frame.

``append`` puts blocks on a list and parks its task; nothing is allocated for waiting but that. One
task takes the list, one thread writes the frame and syncs it, and back on the trio thread the
state, the waiting tasks and those who wait for news learn of it, in this order. The promises:

1. Nobody is told of anything before it is durable, and state holds durable facts only.
2. A frame that could not be written is cut off again and everything in it, and behind it, fails
   with StoreFailed(written=False); the next append may succeed.
3. After a failed sync, or a cut that failed, nothing is ever written again (``poisoned``).
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import structlog
import trio
from moorage.runtime.errors import InvalidArgument, StoreFailed
from moorage.runtime.own_process import OwnProcess

from . import format as fmt
from .changes import Change
from .disk import SyncFailed
from .format import FRAME_HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .target import Target

BATCH_BYTES_MAX = 8 * 2**20
"""A frame holds as many appends as fit into this; a larger append goes alone."""
FRAME_APPENDS_MAX = 1_000
"""Appends in a frame: the event loop stands still while they are applied, 10 us for each."""

T = TypeVar("T")

_log = structlog.get_logger("moorage.journal")


@attrs.define(eq=False)
class Pending:
    """One append on its way. ``error`` is set before its task is woken."""

    changes: Sequence[Change]
    blocks: Sequence[bytes]
    size: int
    task: trio.lowlevel.Task
    error: StoreFailed | None = None


@attrs.define
class CommitCounts:
    commits: int = 0
    syncs: int = 0
    records: int = 0
    bytes: int = 0
    failed: int = 0


class CommitLoop:
    """``apply(change, offset)`` is called for each durable block, ``published(changes, end)``
    after each commit, ``failed()`` after one that failed. All on the trio thread."""

    def __init__(
        self,
        target: Target,
        *,
        apply: Callable[[Change, int], None],
        published: Callable[[list[Change], int], None],
        failed: Callable[[], None],
    ) -> None:
        self.target = target
        self.counts = CommitCounts()
        self.poison: StoreFailed | None = None
        self._apply = apply
        self._published = published
        self._failed = failed
        self._pending: deque[Pending] = deque()
        self._idle: trio.lowlevel.Task | None = None
        self._errands: deque[Callable[[], Awaitable[None]]] = deque()
        self._stopping = False
        self.stopped = trio.Event()
        self._jobs: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._result: BaseException | None = None
        self._waiting: trio.lowlevel.Task | None = None
        self._writing: tuple[list[Pending], int] = [], 0
        """The appends in the frame that is being written, and where their first block goes."""
        self._token: Any = None
        self._process = OwnProcess()

    @property
    def pending(self) -> int:
        return len(self._pending)

    async def append(self, changes: list[Change], blocks: list[bytes]) -> None:
        """Commit these blocks in one frame. Cannot be cancelled once it has begun."""
        await self.committed(self.put(changes, blocks))

    def put(self, changes: list[Change], blocks: list[bytes]) -> Pending:
        """Queue these blocks for one frame; the caller goes on with ``committed``, at once.

        What this raises left nothing behind: StoreFailed, WrongProcess in a fork, and
        InvalidArgument for what no frame can hold.
        """
        self._check()
        size = sum(map(len, blocks))
        if size > fmt.FRAME_BYTES_MAX - FRAME_HEADER_SIZE:
            raise InvalidArgument(
                f"an append to session {changes[0].session_id!r} is {size} bytes encoded and a "
                f"frame of the log holds {fmt.FRAME_BYTES_MAX}: append fewer records at once"
            )
        pending = Pending(changes, blocks, size, trio.lowlevel.current_task())
        self._pending.append(pending)
        self.wake()
        return pending

    async def committed(self, pending: Pending) -> None:
        """Return when it is durable, or raise why it is not. Cannot be cancelled."""
        await trio.lowlevel.wait_task_rescheduled(_never_aborted)
        if pending.error is not None:
            raise pending.error

    def _check(self) -> None:
        self._process.check()  # the thread that writes is not there in a fork
        if self.poison is not None:
            raise _again(self.poison, written=False)
        if self._stopping:
            raise StoreFailed("the journal is closed", written=False)

    def wake(self) -> None:
        if self._idle is not None:
            trio.lowlevel.reschedule(self._idle)
            self._idle = None

    def fail(self, cause: BaseException) -> StoreFailed:
        """Refuse every write from now on."""
        failure = StoreFailed(
            f"the log could not be made durable and its outcome is unknown: {cause!r}; "
            "everything is refused until the store is opened again",
            poisoned=True,
        )
        failure.__cause__ = cause
        if self.poison is None:
            self.poison = failure
            _log.error("journal is poisoned", error=repr(cause))
            self._failed()
        return failure

    async def settle(self) -> None:
        """Return when everything that is on its way now has succeeded or failed."""
        self._check()
        pending = Pending([], [], 0, trio.lowlevel.current_task())
        self._pending.append(pending)
        self.wake()
        await trio.lowlevel.wait_task_rescheduled(_never_aborted)

    async def between_frames(self, errand: Callable[[], Awaitable[T]]) -> T:
        """Run something while no frame is being written; appends wait meanwhile."""
        result: list[T] = []
        error: list[BaseException] = []
        done = trio.Event()

        async def run() -> None:
            try:
                result.append(await errand())
            except BaseException as problem:
                error.append(problem)
            done.set()

        self._check()
        self._errands.append(run)
        self.wake()
        with trio.CancelScope(shield=True):
            await done.wait()
        if error:
            raise error[0]
        return result[0]

    def stop(self) -> None:
        """Let ``run`` return once nothing is pending."""
        self._stopping = True
        self.wake()

    async def run(self) -> None:
        """Commit until ``stop``; never cancelled, it ends by itself."""
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                limiter = trio.CapacityLimiter(1)
                nursery.start_soon(_run_thread, self._write_jobs, limiter)
                try:
                    await self._run()
                except BaseException as error:  # a bug of ours: nobody may wait for ever for it
                    self._refuse(self._pending, self.fail(error), written=None)
                    raise
                finally:
                    self._jobs.put(None)
                    self.stopped.set()

    async def _run(self) -> None:
        while True:
            while self._errands:
                await self._errands.popleft()()
            if not self._pending:
                if self._stopping:
                    return
                self._idle = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(_never_aborted)
                continue
            await self._commit(self._take())

    def _take(self) -> list[Pending]:
        batch: list[Pending] = []
        size = FRAME_HEADER_SIZE
        while self._pending and len(batch) < FRAME_APPENDS_MAX:
            size += self._pending[0].size
            if batch and size > BATCH_BYTES_MAX:
                break
            batch.append(self._pending.popleft())
        return batch

    async def _commit(self, batch: list[Pending]) -> None:
        blocks = [block for pending in batch for block in pending.blocks]
        if self.poison is not None:
            self._refuse(batch, self.poison, written=False)
            return
        if not blocks:
            _wake(batch)
            return
        self._writing = batch, self.target.end + FRAME_HEADER_SIZE
        self._waiting = trio.lowlevel.current_task()
        self._jobs.put(blocks)
        await trio.lowlevel.wait_task_rescheduled(_never_aborted)
        result, self._result = self._result, None
        if result is not None:
            self._commit_failed(batch, result)

    def _commit_done(self, batch: list[Pending], offset: int) -> None:
        counts = self.counts
        counts.commits += 1
        counts.syncs += self.target.synced
        counts.bytes += self.target.end - offset + FRAME_HEADER_SIZE
        apply = self._apply
        done: list[Change] = []
        for pending in batch:
            done += pending.changes
        for change in done:
            apply(change, offset)
            offset += change.length
            counts.records += change.events
        self._published(done, self.target.end)
        _wake(batch)

    def _commit_failed(self, batch: list[Pending], error: BaseException) -> None:
        self.counts.failed += 1
        poisoned = not isinstance(error, _Cut)
        cause = error if poisoned else error.__cause__
        if poisoned:
            failure = self.fail(error)
        else:
            failure = StoreFailed(
                f"the log could not be written: {cause}; nothing was kept, the same may be tried "
                "again when there is room",
                written=False,
            )
            failure.__cause__ = cause
            _log.error("journal write failed and was undone", error=repr(cause))
        self._refuse(batch, failure, written=failure.written)
        # what waits behind may build upon what failed
        self._refuse(self._pending, failure, written=False)
        self._pending.clear()
        if not poisoned:
            self._failed()

    def _refuse(
        self, batch: Iterable[Pending], failure: StoreFailed, *, written: bool | None
    ) -> None:
        for pending in batch:
            pending.error = _again(failure, written=written)
            trio.lowlevel.reschedule(pending.task)

    def _write_jobs(self) -> None:
        """The writer thread."""
        while (blocks := self._jobs.get()) is not None:
            self._result = self._write(blocks)
            self._token.run_sync_soon(self._written)

    def _write(self, blocks: list[bytes]) -> BaseException | None:
        try:
            self.target.write(blocks)
        except SyncFailed as error:
            return error
        except OSError as error:
            try:
                self.target.cut()
            except OSError as cut_error:
                cut_error.__cause__ = error
                return cut_error
            cut = _Cut()
            cut.__cause__ = error
            return cut
        except BaseException as error:
            return error
        return None

    def _written(self) -> None:
        """The thread is done. Who waits is told here and not by our own task, a turn earlier."""
        assert self._waiting is not None
        if self._result is None:
            try:
                self._commit_done(*self._writing)
            except Exception as error:  # a bug of ours: nobody may wait for ever because of it
                self._result = error
        self._writing = [], 0
        waiting, self._waiting = self._waiting, None
        trio.lowlevel.reschedule(waiting)


class _Cut(Exception):
    """The write failed (see the cause) and what was left of it is gone."""


def _wake(batch: Iterable[Pending]) -> None:
    for pending in batch:
        trio.lowlevel.reschedule(pending.task)


def _never_aborted(_: Any) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


def _again(failure: StoreFailed, *, written: bool | None) -> StoreFailed:
    # each waiting task gets an error of its own: a raised one collects its raiser's traceback
    error = StoreFailed(failure.message, written=written, poisoned=failure.poisoned)
    error.__cause__ = failure.__cause__
    return error


async def _run_thread(work: Callable[[], None], limiter: trio.CapacityLimiter) -> None:
    await trio.to_thread.run_sync(work, limiter=limiter)
