from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.claude_code.callbacks import Callbacks


def refuse(error):
    raise AssertionError(f"it failed with {error!r}")


async def test_a_function_is_called_for_a_task_outside_of_the_nursery():
    async def add(one, two):
        await trio.lowlevel.checkpoint()
        return one + two

    async with trio.open_nursery() as nursery:
        callbacks = Callbacks(nursery, refuse)

        assert await callbacks.call(add, 1, 2) == 3


async def test_a_caller_that_gives_up_takes_its_function_with_it(autojump_clock):
    ended = []

    async def forever():
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await Callbacks(nursery, refuse).call(forever)

    assert scope.cancelled_caught
    assert ended == [True]


async def test_an_error_is_the_runs_and_the_caller_waits_for_its_end(autojump_clock):
    failures = []

    async def fail():
        raise ValueError("no")

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await Callbacks(nursery, failures.append).call(fail)

    assert scope.cancelled_caught
    assert [str(error) for error in failures] == ["no"]


async def test_a_run_that_has_ended_calls_nothing():
    async def work():
        raise AssertionError("it was called")

    async with trio.open_nursery() as nursery:
        pass

    with pytest.raises(RuntimeError):
        await Callbacks(nursery, refuse).call(work)
