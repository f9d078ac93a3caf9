import threading

import pytest
import trio
import trio.testing
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.gateways.hosting import outbox as module
from moorage.adapters.gateways.hosting.outbox import Outbox
from moorage.runtime import BufferFull, InvalidArgument, RunEnded


def emitted(context):
    return [event.data for event in context.events if event.type == "note"]


async def test_what_is_put_is_emitted_in_order_before_the_agent_has_ended():
    context = RecordingContext()
    outbox = Outbox(context)

    async def agent():
        data = {"number": 0}
        for number in range(3):
            data["number"] = number
            outbox.put("note", data, None, None)
        return "output"

    assert await outbox.execute(agent) == "output"
    assert emitted(context) == [{"number": 0}, {"number": 1}, {"number": 2}]
    with pytest.raises(RunEnded):
        outbox.put("note", {}, None, None)


async def test_what_is_put_is_emitted_while_the_agent_goes_on():
    context = RecordingContext()
    outbox = Outbox(context)

    async def agent():
        await trio.to_thread.run_sync(outbox.put, "note", {"by": "a thread"}, None, None)
        await trio.testing.wait_all_tasks_blocked()
        return emitted(context)

    assert await outbox.execute(agent) == [{"by": "a thread"}]


async def test_what_a_thread_puts_while_the_agent_ends_is_emitted_or_refused(monkeypatch):
    encode, encoding, ended = module.encode_emitted, threading.Event(), threading.Event()

    def encode_behind_the_end(*args, **named):
        encoding.set()
        assert ended.wait(60)
        return encode(*args, **named)

    monkeypatch.setattr(module, "encode_emitted", encode_behind_the_end)
    context = RecordingContext()
    outbox = Outbox(context)

    async def put():
        with pytest.raises(RunEnded):
            await trio.to_thread.run_sync(outbox.put, "note", {"by": "a thread"}, None, None)

    async def agent():
        await trio.to_thread.run_sync(encoding.wait, 60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await outbox.execute(agent)
        ended.set()

    assert emitted(context) == []


async def test_what_is_refused_changes_nothing():
    outbox = Outbox(RecordingContext())

    with pytest.raises(InvalidArgument):
        outbox.put("run_started", {}, None, None)

    await outbox.pump()
    assert outbox.context.events == []


async def test_it_is_bounded():
    outbox = Outbox(RecordingContext(emit_ahead_bytes_max=2_000))
    while not outbox.is_full:
        outbox.put_nowait("note", {"x": "x" * 100}, None, None)

    with pytest.raises(BufferFull) as caught:
        outbox.put_nowait("note", {}, None, None)

    assert caught.value.limit == 2_000
    await outbox.pump()
    outbox.put_nowait("note", {}, None, None)


async def test_a_call_behind_it_finds_everything_emitted():
    context = RecordingContext()
    outbox = Outbox(context)
    outbox.put("note", {"first": True}, None, None)

    async def look():
        return emitted(context)

    assert await outbox.behind(look)() == [{"first": True}]


async def test_a_cancelled_agents_last_words_are_emitted_and_its_waits_end():
    context = RecordingContext()
    outbox = Outbox(context)
    ended = []

    async def agent():
        outbox.call_on_cancel(lambda: ended.append("wait"))
        take_back = outbox.call_on_cancel(lambda: ended.append("taken back"))
        take_back()
        try:
            await trio.sleep_forever()
        finally:
            outbox.put("note", {"last": "words"}, None, None)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.execute, agent)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()

    assert emitted(context) == [{"last": "words"}]
    assert outbox.cancelled
    assert set(ended) == {"wait"}
    outbox.call_on_cancel(lambda: ended.append("at once"))
    assert ended[-1] == "at once"


async def test_an_agents_exception_is_raised_bare():
    async def agent():
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await Outbox(RecordingContext()).execute(agent)


async def test_an_event_that_the_context_refuses_later_ends_the_agent():
    class Refusing(RecordingContext):
        async def emit(self, *args, **named):
            raise LookupError("not this one")

    outbox = Outbox(Refusing())

    async def agent():
        outbox.put("note", {}, None, None)
        await trio.sleep_forever()

    with pytest.raises(LookupError, match="not this one"):
        await outbox.execute(agent)
