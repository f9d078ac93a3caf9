"""Who is woken when, and what a crowd of waiters costs, all in virtual time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from moorage.stores.news import SLICE_MAX, WAKE_AT_ONCE_MAX, NewsBoard
from trio.testing import MockClock, wait_all_tasks_blocked

CROWD = 1_000


class Follower:
    """Waits for news again and again; each wake costs ``cost_seconds`` of the loop."""

    def __init__(
        self, board: NewsBoard, clock: MockClock, heads: dict[str, int], session_id: str = "s"
    ) -> None:
        self.board = board
        self.clock = clock
        self.heads = heads
        self.session_id = session_id
        self.cost_seconds = 0.0
        self.wakes = 0
        self.woken_at: list[float] = []

    async def follow(self) -> None:
        while True:
            await self.board.wait(self.session_id, after=self.heads[self.session_id])
            self.wakes += 1
            self.woken_at.append(trio.current_time())
            if self.cost_seconds:
                self.clock.jump(self.cost_seconds)


async def commit_every_millisecond(
    board: NewsBoard, heads: dict[str, int], session_id: str, seconds: float
) -> None:
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        heads[session_id] += 5
        board.publish(session_id, heads[session_id])
        await trio.sleep(0.001)


async def test_a_waiter_wakes_when_the_head_passes_what_it_has_seen(
    nursery: trio.Nursery,
) -> None:
    board = NewsBoard()
    woken: list[str] = []

    async def waiter(name: str, session_id: str, after: int) -> None:
        await board.wait(session_id, after=after)
        woken.append(name)

    nursery.start_soon(waiter, "behind", "a", 3)
    nursery.start_soon(waiter, "ahead", "a", 4)
    nursery.start_soon(waiter, "other session", "b", 0)
    await wait_all_tasks_blocked()
    board.publish("a", 4)
    await wait_all_tasks_blocked()

    assert woken == ["behind"]

    board.publish("a", 5)
    await wait_all_tasks_blocked()

    assert woken == ["behind", "ahead"]
    assert board.statistics().waiting == 1
    nursery.cancel_scope.cancel()


async def test_a_waiter_for_a_run_wakes_only_when_that_run_ends(nursery: trio.Nursery) -> None:
    board = NewsBoard()
    woken: list[str] = []

    async def waiter(run_id: str) -> None:
        await board.wait("a", after=0, run_id=run_id)
        woken.append(run_id)

    nursery.start_soon(waiter, "r1")
    nursery.start_soon(waiter, "r2")
    await wait_all_tasks_blocked()
    board.publish("a", 7)
    board.publish("b", 7, ["r1"])
    await wait_all_tasks_blocked()

    assert woken == []

    board.publish("a", 8, ["r0", "r2"])
    await wait_all_tasks_blocked()

    assert woken == ["r2"]
    nursery.cancel_scope.cancel()


async def test_nothing_is_kept_for_sessions_that_nobody_waits_for(nursery: trio.Nursery) -> None:
    board = NewsBoard()
    scopes: list[trio.CancelScope] = []

    async def cancelled(session_id: str, run_id: str | None) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await board.wait(session_id, after=0, run_id=run_id)

    for session_id in ("a", "b", "c"):
        nursery.start_soon(cancelled, session_id, None)
        nursery.start_soon(cancelled, session_id, "r")
    await wait_all_tasks_blocked()
    assert board.statistics().sessions == 3

    board.publish("a", 1, ["r"])
    board.publish("unknown", 1, ["r"])
    for scope in scopes:
        scope.cancel()
    await wait_all_tasks_blocked()

    assert board.statistics().sessions == 0
    assert board.statistics().waiting == 0


async def test_a_delete_wakes_that_session_and_a_failure_wakes_all(nursery: trio.Nursery) -> None:
    board = NewsBoard()
    woken: list[str] = []

    async def waiter(session_id: str, run_id: str | None) -> None:
        await board.wait(session_id, after=100, run_id=run_id)
        woken.append(session_id)

    for session_id in ("a", "b", "c"):
        nursery.start_soon(waiter, session_id, None)
        nursery.start_soon(waiter, session_id, "r")
    await wait_all_tasks_blocked()
    board.wake_session("a")
    await wait_all_tasks_blocked()

    assert woken == ["a", "a"]

    board.wake_all()
    await wait_all_tasks_blocked()

    assert sorted(woken) == ["a", "a", "b", "b", "c", "c"]
    assert board.statistics().sessions == 0


async def test_a_small_group_is_woken_by_the_commit_itself(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, mock_clock, heads) for _ in range(WAKE_AT_ONCE_MAX)]
    nursery.start_soon(board.run)
    for follower in followers:
        nursery.start_soon(follower.follow)
    await wait_all_tasks_blocked()
    heads["s"] = 1
    board.publish("s", 1)
    await wait_all_tasks_blocked()  # no virtual time passes here

    assert [follower.wakes for follower in followers] == [1] * WAKE_AT_ONCE_MAX
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cost_seconds", [0.0, 12e-6, 20e-6])
async def test_each_of_a_thousand_waiters_is_woken_within_40_ms_of_every_commit(
    autojump_clock: MockClock, cost_seconds: float
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, autojump_clock, heads) for _ in range(CROWD)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.run)
        for follower in followers:
            follower.cost_seconds = cost_seconds
            nursery.start_soon(follower.follow)
        await wait_all_tasks_blocked()
        await commit_every_millisecond(board, heads, "s", 0.3)
        end = trio.current_time()
        nursery.cancel_scope.cancel()

    waits = [
        later - earlier
        for follower in followers
        for earlier, later in zip([0.0, *follower.woken_at], [*follower.woken_at, end], strict=True)
    ]
    assert max(waits) < 0.040
    counts = {follower.wakes for follower in followers}
    assert min(counts) > 0.75 * max(counts)  # the line goes round


@pytest.mark.parametrize(
    ("cost_seconds", "share_max"), [(12e-6, 0.55), (24e-6, 0.70), (60e-6, 0.70)]
)
async def test_waking_a_crowd_leaves_the_loop_to_others(
    autojump_clock: MockClock, cost_seconds: float, share_max: float
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, autojump_clock, heads) for _ in range(CROWD)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.run)
        for follower in followers:
            follower.cost_seconds = cost_seconds
            nursery.start_soon(follower.follow)
        await wait_all_tasks_blocked()
        await commit_every_millisecond(board, heads, "s", 0.3)  # to learn the cost
        before = sum(follower.wakes for follower in followers)
        started = trio.current_time()
        await commit_every_millisecond(board, heads, "s", 0.4)
        wakes = sum(follower.wakes for follower in followers) - before
        elapsed = trio.current_time() - started
        nursery.cancel_scope.cancel()

    assert wakes * cost_seconds / elapsed < share_max
    assert wakes * cost_seconds / elapsed > 0.3


async def test_a_slice_is_bounded_after_a_long_rest_and_when_the_loop_is_late(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, mock_clock, heads) for _ in range(CROWD)]
    nursery.start_soon(board.run)
    for follower in followers:
        nursery.start_soon(follower.follow)
    await wait_all_tasks_blocked()
    mock_clock.jump(3600)
    heads["s"] = 1
    board.publish("s", 1)
    await wait_all_tasks_blocked()

    assert sum(follower.wakes for follower in followers) == SLICE_MAX
    nursery.cancel_scope.cancel()


async def test_crowds_take_turns(autojump_clock: MockClock) -> None:
    board, heads = NewsBoard(), {"a": 0, "b": 0}
    followers = [
        Follower(board, autojump_clock, heads, session_id)
        for session_id in ("a", "b")
        for _ in range(300)
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.run)
        for follower in followers:
            nursery.start_soon(follower.follow)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as committing:
            for session_id in heads:
                committing.start_soon(commit_every_millisecond, board, heads, session_id, 0.3)
        nursery.cancel_scope.cancel()

    of_a = sum(follower.wakes for follower in followers if follower.session_id == "a")
    of_b = sum(follower.wakes for follower in followers if follower.session_id == "b")
    assert of_a == pytest.approx(of_b, rel=0.1)


async def test_without_a_pump_a_crowd_is_woken_at_once(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, mock_clock, heads) for _ in range(CROWD)]
    for follower in followers:
        nursery.start_soon(follower.follow)
    await wait_all_tasks_blocked()
    heads["s"] = 1
    board.publish("s", 1)
    await wait_all_tasks_blocked()

    assert {follower.wakes for follower in followers} == {1}
    nursery.cancel_scope.cancel()


async def test_a_pump_that_ends_wakes_everybody_still_due(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    followers = [Follower(board, mock_clock, heads) for _ in range(CROWD)]
    for follower in followers:
        nursery.start_soon(follower.follow)
    async with trio.open_nursery() as pump:
        pump.start_soon(board.run)
        await wait_all_tasks_blocked()
        heads["s"] = 1
        board.publish("s", 1)
        await wait_all_tasks_blocked()
        assert board.statistics().crowds == 1
        pump.cancel_scope.cancel()
    await wait_all_tasks_blocked()

    assert {follower.wakes for follower in followers} == {1}
    assert board.statistics().crowds == 0
    nursery.cancel_scope.cancel()


async def test_cancelled_waiters_of_a_crowd_are_forgotten(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    board, heads = NewsBoard(), {"s": 0}
    nursery.start_soon(board.run)
    with trio.move_on_after(0.005):
        async with trio.open_nursery() as crowd:
            for _ in range(CROWD):
                crowd.start_soon(Follower(board, autojump_clock, heads).follow)
            await wait_all_tasks_blocked()
            heads["s"] = 1
            board.publish("s", 1)
    await trio.sleep(1)

    assert board.statistics().sessions == 0
    assert board.statistics().crowds == 0
    nursery.cancel_scope.cancel()


async def test_it_says_what_is_waited_for(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    board = NewsBoard()
    nursery.start_soon(partial(board.wait, "a", after=3))
    nursery.start_soon(partial(board.wait, "b", after=3, run_id="r1"))
    nursery.start_soon(partial(board.wait, "b", after=3, run_id="r2"))
    await wait_all_tasks_blocked()

    assert board.session_ids() == {"a", "b"}
    assert sorted(board.run_ids("b")) == ["r1", "r2"]
    assert board.run_ids("a") == []
    nursery.cancel_scope.cancel()
