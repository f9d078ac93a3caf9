from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http.connections import BoundedStream, Connections

HEAD = b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n"


@pytest.fixture
async def pair():
    """Our end and the other one, of a real connection."""
    accepted, accept = trio.open_memory_channel(1)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:

        async def keep(stream):
            await accepted.send(stream)
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, keep, listeners)
        other = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
        ours = await accept.receive()
        yield ours, other
        await trio.aclose_forcefully(ours)
        await trio.aclose_forcefully(other)
        nursery.cancel_scope.cancel()


async def test_a_head_goes_out_with_what_follows_it(pair):
    ours, other = pair
    stream = BoundedStream(ours, HttpLimits())
    await stream.send_all(HEAD)
    with trio.move_on_after(0.05) as waiting:
        await other.receive_some()
    await stream.send_all(b"hi")

    assert waiting.cancelled_caught
    assert await other.receive_some() == HEAD + b"hi"


@pytest.mark.parametrize("content", [b"HTTP/1.1 100 \r\n\r\n", b"data: x\n\n", b"HTTP/1.1 200"])
async def test_all_else_goes_out_at_once(pair, content):
    ours, other = pair
    await BoundedStream(ours, HttpLimits()).send_all(content)

    assert await other.receive_some() == content


async def test_a_head_that_nothing_follows_goes_out_with_the_end(pair):
    ours, other = pair
    stream = BoundedStream(ours, HttpLimits())
    await stream.send_all(HEAD)
    await stream.send_all(b"")

    assert await other.receive_some() == HEAD


async def test_whoever_takes_nothing_is_cut_even_from_a_shielded_send(pair):
    ours, _ = pair
    limits = HttpLimits(stall_seconds_max=0.1, send_buffer_bytes=4_096)
    stream = BoundedStream(ours, limits)

    with (
        pytest.raises(trio.BrokenResourceError, match="takes nothing"),
        trio.CancelScope(shield=True),
    ):
        await stream.send_all(b"x" * 50_000_000)

    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_whoever_takes_a_little_is_not(pair):
    ours, other = pair
    limits = HttpLimits(stall_seconds_max=60, send_buffer_bytes=4_096, chunk_bytes=10_000)
    stream = BoundedStream(ours, limits)
    got = 0

    async def take():
        nonlocal got
        while got < 1_000_000:
            got += len(await other.receive_some(10_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await stream.send_all(b"x" * 1_000_000)

    assert got == 1_000_000


async def test_it_is_otherwise_the_stream_that_it_is_around(pair):
    ours, other = pair
    stream = BoundedStream(ours, HttpLimits())
    await other.send_all(b"hello")
    await stream.wait_send_all_might_not_block()

    assert await stream.receive_some(100) == b"hello"
    await stream.send_eof()
    assert await other.receive_some() == b""
    await stream.aclose()


def never():
    raise AssertionError("there is room")


async def test_a_connection_too_many_is_noted_and_told_to_come_back(pair):
    ours, other = pair
    noted = []

    async def serve(stream):
        raise AssertionError("there is no room")

    connections = Connections(HttpLimits(connections_max=1), serve, lambda: noted.append(1))
    connections.count = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.handle, ours)
        answer = await other.receive_some(65_536)
        await other.aclose()

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert (noted, connections.count) == ([1], 1)


async def test_connections_are_counted_while_they_are_served(pair):
    ours, _ = pair
    counts = []

    async def serve(stream):
        counts.append(connections.count)

    connections = Connections(HttpLimits(), serve, never)
    await connections.handle(ours)

    assert (counts, connections.count) == ([1], 0)


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), ExceptionGroup("several", [OSError(), KeyError()])]
)
async def test_what_fails_in_a_connection_ends_that_one_alone(pair, error):
    ours, other = pair

    async def serve(stream):
        raise error

    connections = Connections(HttpLimits(), serve, never)
    await connections.handle(ours)

    assert connections.count == 0
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()
    assert await other.receive_some() == b""


async def test_being_cancelled_is_nothing_that_fails(pair):
    ours, _ = pair

    async def serve(stream):
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await Connections(HttpLimits(), serve, never).handle(ours)
        raise AssertionError("it went on")

    assert nursery.cancel_scope.cancelled_caught


async def test_while_one_task_sends_the_end_another_finds_it_closed(pair):
    ours, other = pair
    stream = BoundedStream(ours, HttpLimits())

    async def say_more():
        while not stream._ended:
            await trio.lowlevel.checkpoint()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"too late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_eof)
        nursery.start_soon(say_more)

    assert await other.receive_some() == b""
