import inspect

import pytest
from moorage.adapters.gateways import sync_host
from moorage.adapters.gateways.hosting.calls import Call
from moorage.adapters.gateways.sync_host.crossing import (
    Face,
    ThreadPortal,
    blocking,
    blocking_sync,
    blocking_to,
)
from moorage.runtime import InvalidArgument, Session


class Native:
    async def double(self, number, *, more=0):
        """Twice the number."""
        return 2 * number + more

    async def another(self):
        return Native()

    def name(self):
        return "native"

    def __repr__(self):
        return "<Native>"


class HerePortal:
    """Calls without crossing anything: what it is given never waits."""

    def call(self, function):
        with pytest.raises(StopIteration) as ended:
            function().send(None)
        return ended.value.value


class NativeFace(Face):
    double = blocking(Native.double)
    another = blocking_to(lambda: NativeFace, Native.another)
    name = blocking_sync(Native.name)


def test_methods_call_those_of_the_native_object_and_block():
    face = NativeFace(Native(), HerePortal())

    assert face.double(2, more=1) == 5
    assert isinstance(face.another(), NativeFace)
    assert face.name() == "native"
    assert repr(face) == "<sync face of <Native>>"


def test_they_are_described_as_in_the_runtime_and_are_not_async():
    assert NativeFace.double.__doc__ == "Twice the number."
    assert inspect.signature(NativeFace.double) == inspect.signature(Native.double)
    assert inspect.getdoc(sync_host.Session.submit) == inspect.getdoc(Session.submit)
    assert not inspect.iscoroutinefunction(sync_host.Session.submit)


class InterruptedThread:
    """A trio thread whose callers are interrupted while they hand a call over."""

    is_current = False

    def __init__(self):
        self.asked = []

    def submit(self, call):
        call.refuse()  # answered before anybody waits
        self.asked.append(call)


def test_an_answer_that_is_there_already_is_taken():
    thread = InterruptedThread()

    with pytest.raises(Exception, match="closed"):
        ThreadPortal(thread).call(None)

    assert isinstance(thread.asked[0], Call)


def test_in_its_own_thread_a_call_is_refused():
    class Own(InterruptedThread):
        is_current = True

    with pytest.raises(InvalidArgument, match="wait for itself"):
        ThreadPortal(Own()).call(None)
