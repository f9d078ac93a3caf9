"""News that comes while somebody looks is not missed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.stores.relational.looking import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


class SlowLook:
    """A database that takes a second to say that there is nothing new."""

    def __init__(self, found: bool = False) -> None:
        self.found = found

    async def __call__(self) -> bool:
        await trio.sleep(1)
        return self.found


@pytest.mark.parametrize(
    "tell",
    [
        lambda lookout: lookout.publish("a", 5),
        lambda lookout: lookout.publish("a", 5, ["r"]),
        lambda lookout: lookout.wake_session("a"),
        lambda lookout: lookout.wake_all(),
    ],
)
@pytest.mark.parametrize("at", [0.5, 3.0])
async def test_who_looks_and_who_waits_is_told(
    autojump_clock: MockClock, tell: Callable[[Lookout], None], at: float
) -> None:
    lookout = Lookout()
    begin = trio.current_time()
    ended: list[float] = []

    async def wait() -> None:
        await lookout.wait("a", after=4, run_id=None, has_news=SlowLook())
        ended.append(trio.current_time() - begin)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(at)
        tell(lookout)

    assert ended == [max(at, 1.0)] * 2


async def test_what_is_found_needs_no_waiting(autojump_clock: MockClock) -> None:
    await Lookout().wait("a", after=4, run_id="r", has_news=SlowLook(found=True))


async def test_other_sessions_do_not_disturb(autojump_clock: MockClock) -> None:
    lookout = Lookout()

    with trio.move_on_after(10) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: lookout.wait("a", after=4, run_id=None, has_news=SlowLook()))
            await trio.sleep(0.5)
            lookout.publish("b", 9)

    assert scope.cancelled_caught
    assert lookout.board.statistics().waiting == 0
    assert not lookout._looks


async def test_who_is_waited_for_is_known_for_as_long(autojump_clock: MockClock) -> None:
    lookout = Lookout()
    seen: list[list[str]] = []

    async with trio.open_nursery() as nursery:
        for name in ("a", "a", "b"):
            wait = partial(lookout.wait, name, after=4, run_id=None, has_news=SlowLook())
            nursery.start_soon(wait)
        nursery.start_soon(partial(lookout.board.wait, "c", after=4))
        for tell in (lambda: None, lambda: lookout.publish("a", 5), lookout.wake_all):
            await trio.sleep(2)
            seen.append(sorted(lookout.session_ids))
            tell()
        await trio.sleep(2)
        seen.append(sorted(lookout.session_ids))

    assert seen == [["a", "b"], ["a", "b"], ["b"], []]
