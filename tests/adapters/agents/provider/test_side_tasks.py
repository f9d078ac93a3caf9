from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.provider.side_tasks import open_side_tasks


async def test_tasks_end_with_the_block(autojump_clock):
    async with open_side_tasks() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(1)

    assert nursery.child_tasks == frozenset()


async def test_an_exception_of_the_block_comes_out_bare(autojump_clock):
    with pytest.raises(LookupError):
        async with open_side_tasks() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise LookupError

    assert nursery.child_tasks == frozenset()


async def test_a_cancellation_passes_and_ends_the_tasks(autojump_clock):
    with trio.move_on_after(1) as scope:
        async with open_side_tasks() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert nursery.child_tasks == frozenset()


async def test_an_exception_beats_a_cancellation_from_outside(autojump_clock):
    with pytest.raises(LookupError), trio.CancelScope() as scope:
        async with open_side_tasks() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            raise LookupError
