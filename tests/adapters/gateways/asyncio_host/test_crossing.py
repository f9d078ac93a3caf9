import inspect

from moorage.adapters.gateways import asyncio_host
from moorage.adapters.gateways.asyncio_host.crossing import (
    Face,
    crossing,
    crossing_sync,
    crossing_to,
)
from moorage.runtime import Session

from tests.adapters.gateways.asyncio_host.running import on_asyncio


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


class Overriding(Native):
    async def double(self, number, *, more=0):
        return "overridden"


class HerePortal:
    """Calls without crossing anything."""

    async def call(self, function):
        return await function()


class NativeFace(Face):
    double = crossing(Native.double)
    another = crossing_to(lambda: NativeFace, Native.another)
    name = crossing_sync(Native.name)


@on_asyncio
async def test_methods_call_those_of_the_native_object():
    face = NativeFace(Native(), HerePortal())

    assert await face.double(2, more=1) == 5
    assert isinstance(await face.another(), NativeFace)
    assert await face.name() == "native"
    assert await NativeFace(Overriding(), HerePortal()).double(2) == "overridden"
    assert repr(face) == "<asyncio face of <Native>>"


def test_they_are_described_as_in_the_runtime():
    assert NativeFace.double.__doc__ == "Twice the number."
    assert inspect.signature(NativeFace.double) == inspect.signature(Native.double)
    assert inspect.getdoc(asyncio_host.Session.submit) == inspect.getdoc(Session.submit)
