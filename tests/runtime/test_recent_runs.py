"""What a process remembers of the runs of its own sessions, and who waits for them."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.events import Event
from moorage.runtime.recent_runs import RecentRuns
from trio.testing import wait_all_tasks_blocked


def ended(run_id: str, session_id: str = "s", size: int = 100) -> Event:
    """A terminal event of ``size`` encoded bytes."""
    bare = encode_event(1_000, "run_completed", run_id, {"output": bytes(50)}, None)
    data = {"output": bytes(50 + size - len(bare.body))}
    return Event(session_id, 2, 1_000, "run_completed", run_id, data, None)


def tell(recent: RecentRuns, event: Event) -> None:
    assert event.run_id is not None
    body = encode_event(event.time_ns, event.type, event.run_id, event.data, None).body
    recent.ended(event.session_id, event.run_id, event.seq, body)


@pytest.fixture
def recent() -> RecentRuns:
    """Session "s" is owned and its run A is unfinished."""
    recent = RecentRuns(bytes_max=200)
    recent.own("s", ["A"])
    return recent


class Waiter:
    """Waits for one run and keeps what the wait returned."""

    def __init__(self, recent: RecentRuns, run_id: str) -> None:
        self._recent = recent
        self._run_id = run_id
        self.answers: list[bool] = []
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            self.answers.append(await self._recent.wait("s", self._run_id))


async def test_a_wait_for_what_is_not_known_returns_false_at_once(recent: RecentRuns) -> None:
    tell(recent, ended("A"))

    assert await recent.wait("s", "A") is False
    assert await recent.wait("s", "never submitted") is False
    assert await recent.wait("another session", "A") is False


async def test_everyone_who_waits_for_a_run_is_woken_when_it_ends_and_nobody_else(
    recent: RecentRuns,
) -> None:
    recent.accepted("s", "B")
    first, second, other = Waiter(recent, "A"), Waiter(recent, "A"), Waiter(recent, "B")

    async with trio.open_nursery() as nursery:
        for waiter in (first, second, other):
            nursery.start_soon(waiter.run)
        await wait_all_tasks_blocked()
        tell(recent, ended("A"))
        await wait_all_tasks_blocked()
        woken = [first.answers, second.answers, other.answers]
        nursery.cancel_scope.cancel()

    assert woken == [[True], [True], []]
    assert recent.outcome("s", "A") == ended("A")


async def test_who_waits_is_woken_when_the_worker_is_gone(recent: RecentRuns) -> None:
    waiter = Waiter(recent, "A")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.run)
        await wait_all_tasks_blocked()
        recent.disown("s")

    assert waiter.answers == [True]
    assert await recent.wait("s", "A") is False
    assert recent.outcome("s", "A") is None


async def test_a_cancelled_wait_is_forgotten_and_the_others_go_on(recent: RecentRuns) -> None:
    leaving, staying = Waiter(recent, "A"), Waiter(recent, "A")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaving.run)
        nursery.start_soon(staying.run)
        await wait_all_tasks_blocked()
        leaving.scope.cancel()
        await wait_all_tasks_blocked()
        tell(recent, ended("A"))  # waking a task that is gone would crash trio

    assert (leaving.answers, staying.answers) == ([], [True])


async def test_a_rebuilt_worker_s_run_is_waited_for_anew(
    recent: RecentRuns,
) -> None:
    before = Waiter(recent, "A")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(before.run)
        await wait_all_tasks_blocked()
        recent.disown("s")
    recent.own("s", ["A"])
    again = Waiter(recent, "A")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        await wait_all_tasks_blocked()
        assert again.answers == []
        again.scope.cancel()

    assert (before.answers, again.answers) == ([True], [])


def test_the_oldest_outcomes_go_when_the_bytes_are_too_many(recent: RecentRuns) -> None:
    for run_id, size in (("A", 90), ("B", 90), ("C", 170)):
        recent.accepted("s", run_id)
        tell(recent, ended(run_id, size=size))

    outcomes = {run_id: recent.outcome("s", run_id) for run_id in "ABC"}
    statistics = recent.statistics()

    assert outcomes == {"A": None, "B": None, "C": ended("C", size=170)}
    assert (statistics.outcomes, statistics.bytes, statistics.bytes_max) == (1, 170, 200)


def test_an_outcome_of_exactly_the_limit_is_kept_and_a_larger_one_evicts_nothing(
    recent: RecentRuns,
) -> None:
    recent.accepted("s", "B")

    tell(recent, ended("A", size=200))
    tell(recent, ended("B", size=201))

    assert recent.outcome("s", "A") == ended("A", size=200)
    assert recent.outcome("s", "B") is None
    assert recent.statistics().unfinished == 0


def test_forgetting_a_session_takes_its_outcomes_and_their_bytes_only(recent: RecentRuns) -> None:
    recent.own("t", ["A"])
    recent.accepted("s", "B")
    tell(recent, ended("A", size=90))
    tell(recent, ended("A", "t", size=80))

    recent.forget("s")

    statistics = recent.statistics()
    assert recent.outcome("s", "A") is None
    assert recent.outcome("t", "A") == ended("A", "t", size=80)
    assert (statistics.outcomes, statistics.bytes, statistics.unfinished) == (1, 80, 1)


def test_a_worker_that_is_gone_leaves_the_outcomes_that_it_told(recent: RecentRuns) -> None:
    tell(recent, ended("A"))

    recent.disown("s")
    recent.disown("never owned")

    assert recent.outcome("s", "A") == ended("A")


def test_each_who_asks_gets_an_outcome_of_his_own(recent: RecentRuns) -> None:
    tell(recent, ended("A"))

    first = recent.outcome("s", "A")
    assert first is not None
    first.data["output"] = "changed by its reader"

    assert recent.outcome("s", "A") == ended("A")
