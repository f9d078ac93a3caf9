"""A hint that was given is not lost, and counts once."""

from __future__ import annotations

import pytest
import trio
from moorage.stores.hints import Hint


async def test_a_hint_given_before_or_during_a_wait_ends_it_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hint = Hint()
    hint.give()
    hint.give()

    await hint.wait()
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(1):
            await hint.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hint.wait)
        await trio.testing.wait_all_tasks_blocked()
        hint.give()
