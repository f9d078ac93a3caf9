"""Group commit: what arrives while a transaction is under way goes into the next one, together.

``do`` puts a job on a list and parks its task. A thread of our own takes the whole list, has it
executed, and back on the trio thread those who wait for news and the waiting tasks learn of it, in
this order. The promises:

1. A job that was taken is never abandoned: its outcome is always delivered, and a task that waits
   for one cannot be cancelled.
2. Jobs are executed in the order in which they came. When a transaction fails as a whole, what
   waits behind it is refused too, since it may build upon what failed.
3. After ``poison`` was set nothing is executed any more.
"""

from __future__ import annotations

import copy
import queue
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import structlog
import trio
from moorage.runtime.errors import StoreFailed
from moorage.runtime.own_process import OwnProcess

if TYPE_CHECKING:
    from collections.abc import Iterable

JOBS_MAX = 1_000
"""Jobs of one transaction: the event loop stands still while their tasks are woken."""
AT_ONCE_JOBS_MIN = 32
"""So many jobs are worth a transaction of their own, whoever may still come in this turn of the
loop: where another process does the work, it begins while we prepare the rest."""
BATCH_BYTES_MAX = 8 * 2**20
"""Bodies of one transaction; a larger job goes alone."""

_log = structlog.get_logger("moorage.stores")


@attrs.define(eq=False)
class Job:
    """``work`` is what the executor understands. It sets ``result`` or ``error``."""

    work: Any
    size: int
    task: trio.lowlevel.Task
    result: Any = None
    error: Exception | None = None


class Executor(Protocol):
    """What does the work. ``published`` and ``poisoned`` are called on the trio thread."""

    def execute(self, batch: list[Job]) -> StoreFailed | None:
        """In the thread: do all of it in one transaction, durable on return, and set each job's
        outcome. Returns what it failed with if it failed as a whole."""
        ...

    def rest(self) -> StoreFailed | None:
        """In the thread too, when a batch has been told of: time for what nobody waits for."""
        ...

    def published(self, batch: list[Job]) -> None:
        """The batch is done; the tasks are woken next."""
        ...

    def poisoned(self, failure: StoreFailed) -> None:
        """Nothing will ever be written again."""
        ...


class GroupCommit:
    """One thread, one transaction at a time. All methods are called on the trio thread.

    A transaction begins a turn of the loop after the first of its jobs came, or at once when there
    are ``at_once_jobs`` (None: never).
    """

    def __init__(self, executor: Executor, *, at_once_jobs: int | None = None) -> None:
        self.poison: StoreFailed | None = None
        self._executor = executor
        self._at_once_jobs = JOBS_MAX if at_once_jobs is None else at_once_jobs
        self._pending: deque[Job] = deque()
        self._busy = False
        self._due = False
        self._stopping = False
        self._stopped = trio.Event()
        self._batches: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._process = OwnProcess()

    @property
    def pending(self) -> int:
        """Jobs that have not begun."""
        return len(self._pending)

    def check(self) -> None:
        """Raise StoreFailed if nothing will be written any more, and WrongProcess in a fork, which
        has no thread that would do it."""
        self._process.check()
        if self.poison is not None:
            raise self.poison.refusal()
        if self._stopping:
            raise StoreFailed("the store is not open for writing", written=False)

    async def do(self, work: Any, size: int = 0) -> Any:
        """Have it executed and return its result, or raise its error. Not to be cancelled once it
        has begun; the caller had a checkpoint before."""
        self.check()
        job = Job(work, size, trio.lowlevel.current_task())
        self._pending.append(job)
        if self._busy or len(self._pending) < self._at_once_jobs:
            self._wake()
        else:
            self._begin()
        await trio.lowlevel.wait_task_rescheduled(_never_aborted)
        if job.error is not None:
            raise job.error
        return job.result

    async def run(self) -> None:
        """Commit until ``stop``; never cancelled, it ends by itself."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._work, limiter=trio.CapacityLimiter(1))

    async def stop(self) -> None:
        """Refuse what comes and return when everything that was taken is done."""
        self._stopping = True
        if not self._busy and not self._pending:
            self._stopped.set()
        with trio.CancelScope(shield=True):
            await self._stopped.wait()
        self._batches.put(None)

    def _wake(self) -> None:
        """Begin a turn of the loop later, so that all who come in this one go together."""
        if not self._busy and not self._due:
            self._due = True
            self._token.run_sync_soon(self._begin)

    def _begin(self) -> None:
        self._due = False
        if self._pending and not self._busy:
            self._busy = True
            self._batches.put(self._take())

    def _take(self) -> list[Job]:
        batch: list[Job] = []
        size = 0
        while self._pending and len(batch) < JOBS_MAX:
            size += self._pending[0].size
            if batch and size > BATCH_BYTES_MAX:
                break
            batch.append(self._pending.popleft())
        return batch

    def _work(self) -> None:
        """The thread."""
        while (batch := self._batches.get()) is not None:
            try:
                failure = self._executor.execute(batch)
            except BaseException as error:  # a bug of ours: nobody may wait for ever because of it
                failure = StoreFailed(f"a write ended in {error!r}", poisoned=True)
                failure.__cause__ = error
                refuse(batch, failure)
            self._token.run_sync_soon(self._done, batch, failure)
            failure = self._executor.rest()
            if failure is not None:
                self._token.run_sync_soon(self._fail, failure)

    def _done(self, batch: list[Job], failure: StoreFailed | None) -> None:
        self._busy = False
        if failure is None:
            try:
                self._executor.published(batch)
            except Exception as error:  # likewise
                failure = StoreFailed(f"a write could not be told of: {error!r}", poisoned=True)
                failure.__cause__ = error
        if failure is not None:
            self._fail(failure)
        for job in batch:
            trio.lowlevel.reschedule(job.task)
        if self._pending:
            self._wake()
        elif self._stopping:
            self._stopped.set()

    def _fail(self, failure: StoreFailed) -> None:
        if failure.poisoned and self.poison is None:
            self.poison = failure
            _log.error("store is poisoned", error=str(failure))
            self._executor.poisoned(failure)
        behind = list(self._pending)
        self._pending.clear()
        refuse(behind, again(failure, written=False))
        for job in behind:
            trio.lowlevel.reschedule(job.task)


def refuse(batch: Iterable[Job], failure: StoreFailed) -> None:
    """Give every job that has no outcome of its own an error of its own: a raised one collects its
    raiser's traceback."""
    for job in batch:
        if job.error is None:
            job.error = again(failure, written=failure.written)


def again(failure: StoreFailed, *, written: bool | None) -> StoreFailed:
    error = copy.copy(failure)
    error.written = written
    error.__cause__ = failure.__cause__
    return error


def _never_aborted(_: Any) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
