import asyncio
import functools
import threading

import pytest
from moorage.adapters.gateways.asyncio_host.loops import AsyncioPortal, LoopMailbox
from moorage.adapters.gateways.hosting.trio_thread import TrioThread

from tests.adapters.gateways.asyncio_host.running import on_asyncio


class Unstarted:
    """A thread that is not trio's wakes at once."""

    def at_turns_end(self, wake):
        wake()


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often another thread has woken it."""

    woken = 0

    def call_soon_threadsafe(self, *args, **named):
        self.woken += 1
        return super().call_soon_threadsafe(*args, **named)


def test_one_wake_up_has_everything_done_that_was_put():
    loop = CountingLoop()
    mailbox = LoopMailbox(loop, Unstarted())
    done = []

    def put_many():
        for number in range(100):
            mailbox.put(functools.partial(done.append, number))

    async def main():
        thread = threading.Thread(target=put_many)
        thread.start()
        thread.join()  # the loop is busy meanwhile
        woken.append(loop.woken)
        while len(done) < 100:
            await asyncio.sleep(0)

    woken = []
    loop.run_until_complete(main())
    loop.close()

    assert done == list(range(100))
    assert woken == [1]


def test_what_is_put_while_things_are_done_is_done_in_the_next_turn():
    loop = asyncio.new_event_loop()
    mailbox = LoopMailbox(loop, Unstarted())
    done = []

    def twice():
        done.append("first")
        mailbox.put(lambda: done.append("second"))

    async def main():
        mailbox.put(twice)
        while len(done) < 2:
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()

    assert done == ["first", "second"]


def test_what_is_behind_something_that_fails_is_done_all_the_same():
    loop = asyncio.new_event_loop()
    mailbox = LoopMailbox(loop, Unstarted())
    told, done = [], []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

    async def main():
        mailbox.put(lambda: 1 // 0)
        mailbox.put(lambda: done.append("behind"))
        while not done:
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()

    assert isinstance(told[0], ZeroDivisionError)


def test_in_a_closed_loop_nothing_is_done_and_nothing_is_kept():
    loop = asyncio.new_event_loop()
    mailbox = LoopMailbox(loop, Unstarted())
    assert not mailbox.closed
    loop.close()

    mailbox.put(pytest.fail)
    mailbox.put(pytest.fail)

    assert mailbox.closed
    assert not mailbox._items
    del loop
    assert mailbox.closed


@on_asyncio
async def test_each_loop_has_one_mailbox_and_a_portal_keeps_no_loop():
    portal = AsyncioPortal(TrioThread(lambda: None))
    loop = asyncio.get_running_loop()
    assert portal.mailbox(loop) is portal.mailbox(loop)
    other = asyncio.new_event_loop()
    assert portal.mailbox(other) is not portal.mailbox(loop)
    other.close()
    del other

    assert len(portal._mailboxes) == 1
