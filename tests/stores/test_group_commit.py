"""Everything that arrives while a transaction is under way goes into the next one."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from moorage.runtime.errors import StoreFailed
from moorage.stores import group_commit as module
from moorage.stores.group_commit import GroupCommit, Job, refuse

from tests.forked import forks, in_fork

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Ledger:
    """Executes by writing down, when it is let; ``failures`` says what becomes of batches."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.told: list[list[object]] = []
        self.rests = 0
        self.failures: list[StoreFailed | Exception] = []
        self.poisons: list[StoreFailed] = []
        self.gate = threading.Semaphore(0)
        self.tell_error: Exception | None = None
        self.rest_failure: StoreFailed | None = None

    def let(self, batches: int = 1_000) -> None:
        self.gate.release(batches)

    def execute(self, batch: list[Job]) -> StoreFailed | None:
        assert self.gate.acquire(timeout=60)
        self.batches.append([job.work for job in batch])
        if self.failures:
            failure = self.failures.pop(0)
            if not isinstance(failure, StoreFailed):
                raise failure
            refuse(batch, failure)
            return failure
        for job in batch:
            if job.work == "bad":
                job.error = ValueError("of this job alone")
            job.result = f"{job.work} done"
        return None

    def rest(self) -> StoreFailed | None:
        self.rests += 1
        return self.rest_failure

    def published(self, batch: list[Job]) -> None:
        if self.tell_error is not None:
            raise self.tell_error
        self.told.append([job.work for job in batch])

    def poisoned(self, failure: StoreFailed) -> None:
        self.poisons.append(failure)


@contextlib.asynccontextmanager
async def running(ledger: Ledger, at_once_jobs: int | None = None) -> AsyncGenerator[GroupCommit]:
    commits = GroupCommit(ledger, at_once_jobs=at_once_jobs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commits.run)
        yield commits
        ledger.let()
        await commits.stop()


async def begun(commits: GroupCommit) -> None:
    """Return when the thread has what was put."""
    with trio.fail_after(60):
        await trio.testing.wait_all_tasks_blocked()
        while commits.pending:
            await trio.lowlevel.checkpoint()


async def do_all(commits: GroupCommit, works: list[str], size: int = 0) -> list[object]:
    """What came of each, in the order of the works."""
    outcomes: dict[str, object] = {}

    async def do(work: str) -> None:
        try:
            outcomes[work] = await commits.do(work, size)
        except Exception as error:
            outcomes[work] = error

    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(do, work)
    return [outcomes[work] for work in works]


async def test_who_comes_in_one_turn_goes_together() -> None:
    ledger = Ledger()
    ledger.let()

    async with running(ledger) as commits:
        outcomes = await do_all(commits, ["a", "b", "bad"])

    assert outcomes[:2] == ["a done", "b done"]
    assert isinstance(outcomes[2], ValueError)
    assert sorted(map(str, itertools.chain(*ledger.batches))) == ["a", "b", "bad"]
    assert len(ledger.batches) <= 2
    assert ledger.told == ledger.batches
    assert ledger.rests == len(ledger.batches)


async def test_a_batch_has_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOBS_MAX", 2)
    ledger = Ledger()

    async with running(ledger) as commits, trio.open_nursery() as nursery:
        nursery.start_soon(do_all, commits, ["first"])
        await begun(commits)
        nursery.start_soon(do_all, commits, ["1", "2", "3", "4", "5"])
        await trio.testing.wait_all_tasks_blocked()
        assert commits.pending == 5
        ledger.let()

    assert [len(batch) for batch in ledger.batches] == [1, 2, 2, 1]


async def test_a_large_job_goes_alone() -> None:
    ledger = Ledger()

    async with running(ledger) as commits, trio.open_nursery() as nursery:
        nursery.start_soon(do_all, commits, ["first"])
        await begun(commits)
        nursery.start_soon(do_all, commits, ["1", "2"], module.BATCH_BYTES_MAX)
        await trio.testing.wait_all_tasks_blocked()
        ledger.let()

    assert [len(batch) for batch in ledger.batches] == [1, 1, 1]


async def test_what_has_begun_cannot_be_cancelled() -> None:
    ledger = Ledger()
    outcomes: list[object] = []

    async with running(ledger) as commits:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def do() -> None:
                    outcomes.append(await commits.do("a"))

                nursery.start_soon(do)
                await begun(commits)
                scope.cancel()
                ledger.let()

    assert outcomes == ["a done"]


async def test_a_failed_transaction_takes_along_what_waits_behind_it() -> None:
    ledger = Ledger()
    ledger.failures = [StoreFailed("unknown", written=None)]
    outcomes: dict[str, object] = {}

    async with running(ledger) as commits:
        async with trio.open_nursery() as nursery:

            async def do(work: str) -> None:
                (outcomes[work],) = await do_all(commits, [work])

            nursery.start_soon(do, "first")
            await begun(commits)
            nursery.start_soon(do, "behind")
            await trio.testing.wait_all_tasks_blocked()
            ledger.let()
        assert await do_all(commits, ["later"]) == ["later done"]

    written = {work: getattr(outcome, "written", "?") for work, outcome in outcomes.items()}
    assert written == {"first": None, "behind": False}
    assert ledger.batches == [["first"], ["later"]]
    assert not ledger.poisons


async def test_nothing_is_done_any_more_once_it_is_poisoned() -> None:
    ledger = Ledger()
    ledger.failures = [StoreFailed("a sync failed", poisoned=True)]
    ledger.let()

    async with running(ledger) as commits:
        (first,) = await do_all(commits, ["first"])
        (second,) = await do_all(commits, ["second"])

    assert isinstance(first, StoreFailed)
    assert isinstance(second, StoreFailed)
    assert (first.written, first.poisoned) == (None, True)
    assert (second.written, second.poisoned) == (False, True)
    assert ledger.batches == [["first"]]
    assert len(ledger.poisons) == 1


@pytest.mark.parametrize("where", ["execute", "published", "rest"])
async def test_a_defect_ends_in_an_answer(where: str) -> None:
    ledger = Ledger()
    ledger.let()
    if where == "execute":
        ledger.failures = [KeyError("a bug")]
    elif where == "published":
        ledger.tell_error = KeyError("a bug")
    else:
        ledger.rest_failure = StoreFailed("a bug", poisoned=True)

    async with running(ledger) as commits:
        (first,) = await do_all(commits, ["first"])
        with trio.fail_after(60):
            while not ledger.poisons:
                await trio.lowlevel.checkpoint()
        (second,) = await do_all(commits, ["second"])

    assert isinstance(first, StoreFailed) == (where == "execute")
    assert isinstance(second, StoreFailed)
    assert "a bug" in str(second)


async def test_stopping_lets_everything_arrive_and_refuses_the_rest() -> None:
    ledger = Ledger()
    outcomes: list[object] = []

    async with running(ledger) as commits, trio.open_nursery() as nursery:

        async def do(work: str) -> None:
            outcomes.extend(await do_all(commits, [work]))

        nursery.start_soon(do, "first")
        await begun(commits)
        nursery.start_soon(do, "second")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(commits.stop)
        await trio.testing.wait_all_tasks_blocked()
        (late,) = await do_all(commits, ["late"])
        ledger.let()

    assert sorted(map(str, outcomes)) == ["first done", "second done"]
    assert isinstance(late, StoreFailed)
    assert late.written is False


async def test_enough_jobs_begin_before_the_others_of_their_turn_have_come() -> None:
    ledger = Ledger()
    ledger.let()
    async with running(ledger, at_once_jobs=3) as commits, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(commits.do, number)

    assert [len(batch) for batch in ledger.batches] == [3, 5]
    assert sorted(itertools.chain(*ledger.batches), key=str) == list(range(8))
    assert ledger.told == ledger.batches


@forks
async def test_a_fork_is_refused_instead_of_waiting_for_a_thread_that_is_not_there() -> None:
    ledger = Ledger()
    ledger.let()

    async with running(ledger) as commits:
        ask = functools.partial(trio.run, commits.do, "of the fork")
        refused = await trio.to_thread.run_sync(in_fork, ask)
        done = await commits.do("of the parent")

    assert refused.startswith("WrongProcess: ")
    assert done == "of the parent done"
    assert ledger.batches == [["of the parent"]]
