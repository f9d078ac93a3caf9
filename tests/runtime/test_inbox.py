"""The inbox: every ask ends with exactly one answer, and what was not taken was not accepted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.commands import DeleteSession, Drain, Pause, Resume
from moorage.runtime.errors import AdmissionClosed, BufferFull, StoreFailed
from moorage.runtime.inbox import _DONE_ITEMS_MAX, Ask, Inbox
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Callable


class Asker:
    """A caller of ``inbox.ask`` in a task of its own."""

    def __init__(self, inbox: Inbox, command: Any) -> None:
        self.inbox = inbox
        self.command = command
        self.scope = trio.CancelScope()
        self.outcome: object = None

    async def run(self) -> None:
        with self.scope:
            try:
                self.outcome = await self.inbox.ask(self.command)
            except Exception as error:
                self.outcome = error
        if self.scope.cancelled_caught:
            self.outcome = "cancelled"


async def asking(nursery: trio.Nursery, inbox: Inbox, *commands: Any) -> list[Asker]:
    askers = [Asker(inbox, command) for command in commands]
    for asker in askers:
        nursery.start_soon(asker.run)
        await wait_all_tasks_blocked()
    return askers


def next_ask(inbox: Inbox) -> Ask:
    ask = inbox.pop()
    assert isinstance(ask, Ask)
    return ask


async def test_asks_are_taken_in_order_and_answered_each() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        askers = await asking(nursery, inbox, Pause(), Resume())
        first, second = next_ask(inbox), next_ask(inbox)
        assert (first.command, second.command) == (Pause(), Resume())
        assert inbox.take(first)
        assert inbox.take(second)

        second.answer(2)
        first.answer(1)

    assert [asker.outcome for asker in askers] == [1, 2]


async def test_a_refusal_is_raised_to_the_caller() -> None:
    inbox, error = Inbox(10), StoreFailed("disk full", written=False)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        ask = next_ask(inbox)
        inbox.take(ask)

        ask.refuse(error)

    assert asker.outcome is error


async def test_only_the_first_answer_counts() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        ask = next_ask(inbox)
        inbox.take(ask)

        ask.answer("first")
        ask.answer("second")
        ask.refuse(StoreFailed("late"))

    assert asker.outcome == "first"


@pytest.mark.promise(1)
async def test_a_caller_that_is_cancelled_before_its_ask_is_taken_was_not_accepted() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())

        asker.scope.cancel()
        await wait_all_tasks_blocked()
        ask = next_ask(inbox)
        taken = inbox.take(ask)
        ask.answer("for nobody")

    assert asker.outcome == "cancelled"
    assert not taken


@pytest.mark.promise(1)
async def test_a_caller_that_is_cancelled_after_its_ask_was_taken_gets_the_answer() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        ask = next_ask(inbox)
        assert inbox.take(ask)

        asker.scope.cancel()
        await wait_all_tasks_blocked()
        assert asker.outcome is None
        ask.answer("accepted")

    assert asker.outcome == "accepted"


@pytest.mark.promise(17)
async def test_a_full_inbox_refuses_with_both_numbers_until_something_is_taken() -> None:
    inbox = Inbox(1)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())

        with pytest.raises(BufferFull, match="inbox_commands_max") as caught:
            await inbox.ask(Resume())
        assert (caught.value.used, caught.value.limit) == (1, 1)

        ask = next_ask(inbox)
        inbox.take(ask)
        (other,) = await asking(nursery, inbox, Resume())
        ask.answer(1)
        last = next_ask(inbox)
        inbox.take(last)
        last.answer(2)

    assert [asker.outcome, other.outcome] == [1, 2]


async def test_a_worker_waits_until_there_is_an_item() -> None:
    inbox = Inbox(10)
    story: list[object] = []

    async def work() -> None:
        await inbox.wait()
        story.append(inbox.pop())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        assert story == []

        inbox.put("item")
        inbox.put("another")

    assert story == ["item"]


async def test_waiting_where_something_is_already_is_a_defect_and_not_a_wait_for_ever() -> None:
    inbox = Inbox(10)
    inbox.put("item")

    with pytest.raises(AssertionError, match="look first"):
        await inbox.wait()

    assert list(inbox) == ["item"]


async def test_a_worker_that_stops_waiting_leaves_the_inbox_as_it_was() -> None:
    inbox = Inbox(10)
    with trio.move_on_after(0):
        await inbox.wait()

    inbox.put("item")

    assert list(inbox) == ["item"]


@pytest.mark.promise(14)
async def test_what_a_lost_workers_tasks_put_in_is_dropped_and_asks_are_kept() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        inbox.put("a signal")
        assert inbox.has_asks()

        inbox.keep_only_asks()
        ask = next_ask(inbox)
        assert not inbox
        assert not inbox.has_asks()
        inbox.take(ask)
        ask.answer(True)

    assert asker.outcome is True


@pytest.mark.parametrize("close", [False, True])
async def test_refusing_all_answers_everybody_with_an_error_of_their_own(close: bool) -> None:
    inbox, error = Inbox(2), StoreFailed("gone", written=False)
    async with trio.open_nursery() as nursery:
        askers = await asking(nursery, inbox, Pause(), Resume())
        askers[1].scope.cancel()
        await wait_all_tasks_blocked()
        inbox.put("a signal")

        inbox.refuse_all(error, close=close)

    assert not inbox
    assert isinstance(askers[0].outcome, StoreFailed)
    assert askers[0].outcome is not error
    assert (askers[0].outcome.message, askers[0].outcome.written) == ("gone", False)
    assert askers[1].outcome == "cancelled"


async def test_a_closed_inbox_refuses_what_comes_later() -> None:
    inbox = Inbox(10)
    inbox.refuse_all(AdmissionClosed("the supervisor", reason="closed"), close=True)

    errors = []
    for _ in range(2):
        with pytest.raises(AdmissionClosed) as caught:
            await inbox.ask(Pause())
        errors.append(caught.value)

    assert errors[0] is not errors[1]
    assert errors[0].reason == "closed"
    assert not inbox


@pytest.mark.parametrize("order", ["answer then cancel", "cancel then answer"])
async def test_an_ask_answered_and_cancelled_in_one_tick_ends_once(order: str) -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        ask = next_ask(inbox)
        inbox.take(ask)
        steps: list[Callable[[], Any]] = [partial(ask.answer, 1), asker.scope.cancel]

        for step in steps if order == "answer then cancel" else reversed(steps):
            step()

    assert asker.outcome == 1


def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    inbox = Inbox(10)
    taken = []
    for number in range(3 * _DONE_ITEMS_MAX):
        inbox.put(2 * number)
        inbox.put(2 * number + 1)
        taken.append(inbox.pop())
    assert len(inbox) == 3 * _DONE_ITEMS_MAX

    taken += [inbox.pop() for _ in range(len(inbox))]

    assert taken == list(range(6 * _DONE_ITEMS_MAX))
    with pytest.raises(IndexError):
        inbox.pop()


def test_items_can_be_put_back_in_front_of_the_others() -> None:
    inbox = Inbox(10)
    for item in "abcd":
        inbox.put(item)
    inbox.pop()
    inbox.pop()

    inbox.put_first(["a", "b", "extra"])

    assert list(inbox) == ["a", "b", "extra", "c", "d"]
    assert inbox.take_all() == ["a", "b", "extra", "c", "d"]
    assert len(inbox) == 0


@pytest.mark.parametrize("command", [Drain(timeout_seconds=1.0), DeleteSession()])
async def test_who_waits_for_agents_can_give_up_although_the_ask_was_taken(command: Any) -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, command)
        ask = next_ask(inbox)
        assert inbox.take(ask)
        asker.scope.cancel()
        await wait_all_tasks_blocked()

        assert asker.outcome == "cancelled"
        ask.answer("nobody is there any more")  # waking a task that is gone would crash trio


async def test_who_asks_for_anything_else_is_shielded_once_the_ask_was_taken() -> None:
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:
        (asker,) = await asking(nursery, inbox, Pause())
        ask = next_ask(inbox)
        assert inbox.take(ask)
        asker.scope.cancel()
        await wait_all_tasks_blocked()
        assert asker.outcome is None
        ask.answer(True)

    assert asker.outcome is True
