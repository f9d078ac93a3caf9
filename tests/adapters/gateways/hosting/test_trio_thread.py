import threading
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from moorage.adapters.gateways.hosting.calls import Call
from moorage.adapters.gateways.hosting.trio_thread import TrioThread
from moorage.runtime import AdmissionClosed

SECONDS_MAX = 60


def opening(steps, *, fails=None, fails_leaving=None):
    """Something to open that notes what happens to it."""

    @asynccontextmanager
    async def open():
        if fails is not None:
            raise fails
        steps.append("opened")
        try:
            yield "what was opened"
        except BaseException as error:
            steps.append(type(error).__name__)
            raise
        finally:
            steps.append("left")
            if fails_leaving is not None:
                raise fails_leaving

    return open


def asked(thread, function):
    """A call that has been handed over, and what is set when it has ended."""
    ended = threading.Event()
    call = Call(function, lambda call: ended.set())
    thread.submit(call)
    return call, ended


def answer(thread, function):
    call, ended = asked(thread, function)
    assert ended.wait(SECONDS_MAX)
    return call.result()


def test_it_opens_answers_and_leaves():
    steps = []
    thread = TrioThread(opening(steps))
    thread.start()

    async def where():
        return threading.current_thread()

    assert thread.opened.result(SECONDS_MAX) == "what was opened"
    assert not thread.is_current
    assert answer(thread, where).name == "moorage supervisor"
    thread.leave()
    thread.leave()
    thread.ended.result(SECONDS_MAX)
    thread.join()
    thread.leave()
    assert steps == ["opened", "left"]
    assert [t for t in threading.enumerate() if t.name == "moorage supervisor"] == []


def test_leaving_by_interruption_raises_into_the_block_and_out_of_nothing():
    steps = []
    thread = TrioThread(opening(steps))
    thread.start()
    thread.opened.result(SECONDS_MAX)

    thread.leave(interrupt=True)

    assert thread.ended.exception(SECONDS_MAX) is None
    assert steps == ["opened", "_HostLeftByException", "left"]


def test_what_cannot_be_opened_tells_so_once():
    thread = TrioThread(opening([], fails=LookupError("locked")))
    thread.start()

    with pytest.raises(LookupError, match="locked"):
        thread.opened.result(SECONDS_MAX)
    assert thread.ended.exception(SECONDS_MAX) is None


def test_opening_can_be_given_up():
    begun = threading.Event()

    @asynccontextmanager
    async def open():
        begun.set()
        await trio.sleep_forever()
        yield

    thread = TrioThread(open)
    thread.start()
    assert begun.wait(SECONDS_MAX)
    thread.leave(interrupt=True)

    with pytest.raises(AdmissionClosed):
        thread.opened.result(SECONDS_MAX)
    assert thread.ended.exception(SECONDS_MAX) is None


def test_an_error_of_leaving_is_told_bare():
    thread = TrioThread(opening([], fails_leaving=LookupError("disk")))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    thread.leave()

    with pytest.raises(LookupError, match="disk"):
        thread.ended.result(SECONDS_MAX)


def test_calls_all_begin_once():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    begun = []
    numbers = list(range(500))

    async def note(number):
        begun.append(number)

    thread.run_soon(lambda: None)
    pending = [asked(thread, partial(note, number)) for number in numbers]
    assert all(ended.wait(SECONDS_MAX) for _, ended in pending)
    thread.leave()
    thread.ended.result(SECONDS_MAX)

    assert sorted(begun) == numbers


def test_who_is_interrupted_before_trio_was_told_leaves_that_to_the_next():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    answer(thread, trio.lowlevel.checkpoint)  # from here on trio sleeps
    token = thread._token

    class Interrupted:
        def run_sync_soon(self, function):
            raise KeyboardInterrupt

    thread._token = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        thread.run_soon(lambda: None)
    thread._token = token
    thread.leave()

    assert thread.ended.exception(SECONDS_MAX) is None


def test_one_wake_up_takes_everything_that_has_come():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    takes, reached, go = [], threading.Event(), threading.Event()
    take = thread._take
    thread._take = lambda: (takes.append(None), take())

    async def block():
        reached.set()
        assert go.wait(SECONDS_MAX)

    _, first = asked(thread, block)
    assert reached.wait(SECONDS_MAX)
    pending = [asked(thread, trio.lowlevel.checkpoint) for _ in range(100)]
    go.set()
    assert all(ended.wait(SECONDS_MAX) for _, ended in [*pending, (None, first)])
    thread.leave()
    thread.ended.result(SECONDS_MAX)

    assert len(takes) <= 4  # of the first, the hundred, and what has left


def test_wakes_are_called_once_for_all_answers_of_a_turn():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    order = []

    async def many():
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(one, number)

    async def one(number):
        order.append(number)
        thread.at_turns_end(lambda: order.append("wake"))

    answer(thread, many)
    answer(thread, trio.lowlevel.checkpoint)
    thread.leave()
    thread.ended.result(SECONDS_MAX)

    assert sorted(order[:3]) == [0, 1, 2]
    assert order[3:] == ["wake"] * 3
    thread.at_turns_end(lambda: order.append("at once"))
    assert order[-1] == "at once"


def test_calls_that_are_under_way_when_it_ends_and_later_ones_are_refused():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    pending = [asked(thread, trio.sleep_forever) for _ in range(3)]
    thread.leave()
    thread.ended.result(SECONDS_MAX)
    pending.append(asked(thread, trio.sleep_forever))

    for call, ended in pending:
        assert ended.wait(SECONDS_MAX)
        with pytest.raises(AdmissionClosed):
            call.result()


def test_calls_from_many_threads_are_all_answered_whenever_it_ends():
    for _ in range(20):
        thread = TrioThread(opening([]))
        thread.start()
        thread.opened.result(SECONDS_MAX)
        answered = []

        def client(thread=thread, answered=answered):
            for _ in range(20):
                with suppress(AdmissionClosed):
                    answer(thread, trio.lowlevel.checkpoint)
                answered.append(None)

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        thread.leave()
        thread.ended.result(SECONDS_MAX)
        for each in clients:
            each.join(SECONDS_MAX)

        assert len(answered) == 80


def test_what_nobody_waits_for_is_called_and_may_fail():
    thread = TrioThread(opening([]))
    thread.start()
    thread.opened.result(SECONDS_MAX)
    done = []

    async def fails():
        done.append("async")
        raise LookupError

    def fails_at_once():
        done.append("at once")
        raise LookupError

    thread.run_soon(fails_at_once)
    thread.start_soon(fails)
    answer(thread, trio.lowlevel.checkpoint)
    thread.leave()
    thread.ended.result(SECONDS_MAX)

    assert sorted(done) == ["async", "at once"]


def test_services_run_as_long_as_it_is_open():
    steps = []

    async def service(thread):
        try:
            await trio.sleep_forever()
        finally:
            steps.append("service ended")

    thread = TrioThread(opening(steps), services=service)
    thread.start()
    thread.opened.result(SECONDS_MAX)
    thread.leave()
    thread.ended.result(SECONDS_MAX)

    assert steps == ["opened", "left", "service ended"]
