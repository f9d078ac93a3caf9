from __future__ import annotations

import signal

import pytest
import trio
from moorage.adapters.gateways.frame import Terminated, bare
from moorage.adapters.gateways.signals import until_signalled

NUMBERS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


async def test_a_command_that_ends_returns_its_exit_code_and_leaves_the_signals_as_they_were():
    before = [signal.getsignal(number) for number, _ in NUMBERS]

    async def command() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert await until_signalled(command) == 7
    assert before == [signal.getsignal(number) for number, _ in NUMBERS]


@pytest.mark.parametrize(("number", "kind"), NUMBERS)
async def test_a_signal_cancels_the_command_and_waits_until_it_has_tidied_up(number, kind):
    tidied = []

    async def command() -> int:
        try:
            signal.raise_signal(number)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                tidied.append(True)
        return 0

    with pytest.raises(BaseExceptionGroup) as caught:
        await until_signalled(command)

    assert isinstance(bare(caught.value), kind)
    assert tidied == [True]


async def test_a_signal_in_the_middle_of_starting_tasks_loses_none_of_them():
    """Where Python's own interrupt leaves a nursery waiting for a task that never begins."""
    began = []

    async def task(number: int) -> None:
        began.append(number)
        await trio.sleep_forever()

    async def command() -> int:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                if number == 5:
                    signal.raise_signal(signal.SIGINT)
                nursery.start_soon(task, number)
        return 0

    with pytest.raises(BaseExceptionGroup), trio.fail_after(60):
        await until_signalled(command)

    assert sorted(began) == list(range(10))


@pytest.mark.parametrize(("number", "kind"), NUMBERS[:1])
async def test_a_second_ctrl_c_is_pythons_own(number, kind):
    during = []

    async def command() -> int:
        try:
            signal.raise_signal(number)
            await trio.sleep_forever()
        finally:
            during.append(signal.getsignal(number))
        return 0

    before = signal.getsignal(number)
    with pytest.raises(BaseExceptionGroup):
        await until_signalled(command)

    assert during == [before]


async def test_a_ctrl_c_that_is_taken_care_of_ends_nothing_until_one_is_not():
    answers = [True, True, False]
    offered = []

    def interrupt() -> bool:
        offered.append(len(offered))
        taken.set()
        return answers[offered[-1]]

    async def command() -> int:
        nonlocal taken
        for _ in answers:
            taken = trio.Event()
            signal.raise_signal(signal.SIGINT)
            await taken.wait()
        return await trio.sleep_forever()

    taken = trio.Event()
    with pytest.raises(BaseExceptionGroup) as caught:
        await until_signalled(command, interrupt=interrupt)

    assert isinstance(bare(caught.value), KeyboardInterrupt)
    assert offered == [0, 1, 2]


async def test_sigterm_is_offered_to_nobody():
    async def command() -> int:
        signal.raise_signal(signal.SIGTERM)
        return await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await until_signalled(command, interrupt=lambda: True)

    assert isinstance(bare(caught.value), Terminated)
