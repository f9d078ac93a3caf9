import inspect

from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.gateways.hosting.facing import HostedContext, facing
from moorage.adapters.gateways.hosting.outbox import Outbox


class Native:
    def __init__(self, name="native"):
        self.name = name

    def part(self, name, *, deep=False):
        """A part of it."""
        return Native(f"{self.name}/{name}/{deep}")


class NativeFace:
    def __init__(self, native, portal):
        self._native = native
        self._portal = portal

    part = facing(lambda: NativeFace, Native.part)


def test_what_a_method_gives_has_a_face_with_the_same_portal():
    face = NativeFace(Native(), "a portal")

    part = face.part("x", deep=True)

    assert (type(part), part._native.name, part._portal) == (
        NativeFace,
        "native/x/True",
        "a portal",
    )


def test_it_is_described_as_in_the_runtime():
    assert NativeFace.part.__doc__ == "A part of it."
    assert list(inspect.signature(NativeFace.part).parameters) == ["self", "name", "deep"]


async def test_a_context_tells_what_the_native_one_does_and_emits_through_the_outbox():
    native = RecordingContext()
    context = HostedContext(Outbox(native))

    async def agent():
        context.emit_nowait("note", {"number": 1}, metadata={"own": 2})

    await context._outbox.execute(agent)

    for name in ("session_id", "run_id", "attempt", "metadata", "limits"):
        assert getattr(context, name) == getattr(native, name)
    assert [(event.type, event.data) for event in native.events] == [("note", {"number": 1})]
