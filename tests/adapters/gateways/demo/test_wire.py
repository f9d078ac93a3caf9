from __future__ import annotations

import os

import pytest
import trio
from moorage.adapters.gateways.demo.wire import Lines, PeerGone, connect


@pytest.fixture
def pair():
    here, there = trio.testing.memory_stream_pair()
    return Lines(here, here), Lines(there, there)


async def test_values_come_in_order_however_the_bytes_are_cut(pair):
    here, there = pair
    values = [{"n": n, "text": "ü\n" * n} for n in range(50)]

    async with trio.open_nursery() as nursery:
        for value in values[:-1]:
            nursery.start_soon(here.send, value)
        received = sorted([await there.receive() for _ in values[:-1]], key=lambda v: v["n"])

    assert received == values[:-1]


async def test_the_end_of_the_stream_is_told_also_within_a_line(pair):
    here, there = pair
    await here._sending.send_all(b'{"half":')
    await here.aclose()

    with pytest.raises(PeerGone):
        await there.receive()
    with pytest.raises(PeerGone):
        await here.send(1)


async def test_iterating_ends_with_the_stream(pair):
    here, there = pair
    await here.send(1)
    await here.aclose()

    assert [value async for value in there] == [1]


async def test_a_socket_where_nobody_listens_is_no_peer(tmp_path):
    with pytest.raises(PeerGone):
        await connect(os.fspath(tmp_path / "socket"))
