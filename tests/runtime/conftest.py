"""A store that fails on demand, and agents that the tests of the shell share."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime import RunContext, RunRequest, StoreFailed
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moorage.runtime.ports import Claim, Record, Snapshot


@attrs.frozen
class Fault:
    """What a write does instead: raises ``error``, ``written`` before it or not."""

    error: BaseException
    written: bool = False


class FailingStore(MemoryStore):
    """A MemoryStore whose next writes fail as they are told, and which can be poisoned."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: deque[Fault | None] = deque()
        self.only: Callable[[Sequence[Record]], bool] = lambda records: True
        self.crashing: str | None = None
        """A session whose worker crashes at every write, until it is quarantined."""
        self.poison: StoreFailed | None = None
        self.failed = 0
        self.broken = False

    def fail(self, times: int = 1) -> None:
        """The next appends leave nothing behind, as on a full disk."""
        error = StoreFailed("no space left on device", written=False)
        self.faults.extend([Fault(error)] * times)

    def lose_answer(self, *, written: bool) -> None:
        """The next append's outcome is unknown; in truth it was ``written`` or not."""
        self.faults.append(Fault(StoreFailed("connection lost"), written))

    def crash(self, times: int = 1) -> None:
        """The next appends raise what no store should: a defect, for the worker."""
        self.faults.extend([Fault(RuntimeError("a defect"))] * times)

    def fail_sync(self) -> None:
        """The next append is the last: the store is poisoned by it."""
        self.faults.append(Fault(StoreFailed("sync failed", poisoned=True)))

    async def append(
        self, claim: Claim, *, expected_seq: int, records: Sequence[Record], info: Any = None
    ) -> None:
        self._refuse_if_poisoned()
        fault = None
        if self.broken:
            fault = Fault(StoreFailed("no space left on device", written=False))
        elif self.faults and self.only(records):
            fault = self.faults.popleft()
        elif claim.session_id == self.crashing and records[0].type != "session_quarantined":
            fault = Fault(RuntimeError("a defect"))
        if fault is None or fault.written:
            await super().append(claim, expected_seq=expected_seq, records=records, info=info)
        if fault is not None:
            await trio.lowlevel.checkpoint()
            self.failed += 1
            error = fault.error
            if isinstance(error, StoreFailed):
                if error.poisoned:
                    self.poison = error
                    for board in self._content.boards:
                        board.wake_all()
                raise StoreFailed(error.message, written=error.written, poisoned=error.poisoned)
            raise error

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._refuse_if_poisoned()
        await super().wait_news(session_id, after=after, run_id=run_id)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        self._refuse_if_poisoned()
        await super().save_snapshot(claim, snapshot)

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        self._refuse_if_poisoned()
        await super().save_cursor(session_id, name, seq)

    def _refuse_if_poisoned(self) -> None:
        if self.poison is not None:
            raise StoreFailed(self.poison.message, written=False, poisoned=True)


@pytest.fixture
def failing_store() -> FailingStore:
    return FailingStore()


class Sleeper:
    """An agent that sleeps for as many seconds as its input says, and returns the input.

    ``started`` and ``ended`` list inputs in order; ``running`` and ``running_max`` count tasks.
    """

    def __init__(self) -> None:
        self.requests: list[RunRequest] = []
        self.ended: list[object] = []
        self.running = 0
        self.running_max = 0

    @property
    def started(self) -> list[object]:
        return [request.input for request in self.requests]

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        self.requests.append(request)
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await trio.sleep(float(request.input))
            self.ended.append(request.input)
        finally:
            self.running -= 1
        return request.input


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()
