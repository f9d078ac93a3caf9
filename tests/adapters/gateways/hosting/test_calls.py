import asyncio
import contextvars

import pytest
import trio
from moorage.adapters.gateways.hosting.calls import Call, WaitTooSlow
from moorage.runtime import AdmissionClosed

variable = contextvars.ContextVar("variable", default="unset")


async def performed(function, *, cancel=False):
    """A call that was begun in trio and has ended."""
    ended = []
    variable.set("the caller's")
    call = Call(function, ended.append)
    variable.set("changed since")
    async with trio.open_nursery() as nursery:
        if cancel:
            call.cancel()
        call.start(nursery)
    assert ended == [call]
    return call


async def test_it_returns_what_the_function_returned_in_the_callers_contextvars():
    async def function():
        return variable.get()

    assert (await performed(function)).result() == "the caller's"


async def test_it_raises_what_the_function_raised():
    for kind in (LookupError, KeyboardInterrupt, SystemExit):

        async def function(kind=kind):
            raise kind("mine")

        call = await performed(function)

        with pytest.raises(kind, match="mine"):
            call.result()


async def test_trios_timeout_is_pythons_too():
    async def function():
        raise trio.TooSlowError

    call = await performed(function)

    with pytest.raises(TimeoutError) as caught:
        call.result()
    assert isinstance(caught.value, trio.TooSlowError)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert isinstance(WaitTooSlow(), asyncio.TimeoutError)


async def test_cancelled_before_it_begins_it_is_cancelled_at_its_first_checkpoint():
    reached = []

    async def function():
        reached.append("begun")
        await trio.lowlevel.checkpoint()
        reached.append("went on")

    call = await performed(function, cancel=True)

    with pytest.raises(AdmissionClosed):
        call.result()
    assert reached == ["begun"]


async def test_what_shields_itself_tells_what_came_out_of_it():
    async def function():
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return "done"

    assert (await performed(function, cancel=True)).result() == "done"


async def test_cancelling_it_while_it_runs_ends_it_and_afterwards_is_harmless():
    call = Call(trio.sleep_forever, lambda call: None)
    async with trio.open_nursery() as nursery:
        call.start(nursery)
        await trio.testing.wait_all_tasks_blocked()
        call.cancel()
    call.cancel()

    with pytest.raises(AdmissionClosed):
        call.result()


async def test_a_call_for_a_nursery_that_has_closed_is_refused():
    async with trio.open_nursery() as nursery:
        pass
    ended = []
    call = Call(trio.sleep_forever, ended.append)

    call.start(nursery)

    assert ended == [call]
    with pytest.raises(AdmissionClosed):
        call.result()


def test_a_call_that_cannot_be_begun_is_refused():
    ended = []
    call = Call(trio.sleep_forever, ended.append)

    call.refuse()

    assert ended == [call]
    with pytest.raises(AdmissionClosed):
        call.result()
