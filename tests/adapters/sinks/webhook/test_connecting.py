"""What is connected to is what was looked at."""

from __future__ import annotations

from ipaddress import ip_address

import httpcore
import pytest
import trio
from moorage.adapters.sinks.webhook import AddressRefused, AddressRules
from moorage.adapters.sinks.webhook.connecting import CheckedBackend, resolve

from tests.adapters.sinks.webhook.target import LOOPBACK, listening


class Names:
    """Resolves each name to the addresses that were given, the next time to the next ones."""

    def __init__(self, *in_turn):
        self.in_turn = [[ip_address(text) for text in addresses] for addresses in in_turn]
        self.asked = 0

    async def __call__(self, host, port):
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.in_turn[min(self.asked, len(self.in_turn)) - 1]


def backend(names, *allowed, encrypted=True):
    return CheckedBackend(AddressRules(allowed), names, encrypted=encrypted, answer_bytes_max=1_000)


async def test_a_name_that_means_a_private_address_is_not_connected_to():
    async with listening() as target:
        with pytest.raises(AddressRefused, match=r"hook.test is at 127.0.0.1, which is loopback"):
            await backend(Names(["127.0.0.1"])).connect_tcp("hook.test", target.port)

        assert target.connections == 0


async def test_a_private_address_among_public_ones_refuses_the_name():
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        await backend(Names(["1.1.1.1", "10.0.0.1"])).connect_tcp("hook.test", 443)


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to():
    names = Names(["127.0.0.1"], ["127.0.0.2"])  # it would be another the second time
    async with listening() as target:
        stream = await backend(names, "127.0.0.1/32").connect_tcp("hook.test", target.port)
        peer = stream.get_extra_info("server_addr")
        await stream.aclose()

    assert (peer, names.asked) == (("127.0.0.1", target.port), 1)


async def test_a_name_that_means_something_else_the_next_time_is_looked_at_again():
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with listening() as target:
        connecting = backend(names, "127.0.0.1/32")
        stream = await connecting.connect_tcp("hook.test", target.port)
        await stream.aclose()
        with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
            await connecting.connect_tcp("hook.test", target.port)


async def test_an_address_in_place_of_a_name_is_checked_too():
    names = Names(["1.1.1.1"])
    with pytest.raises(AddressRefused):
        await backend(names).connect_tcp("127.0.0.1", 443)

    assert names.asked == 0


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "127.1", "localhost"])
async def test_another_spelling_of_a_private_address_is_resolved_and_refused(spelling):
    with pytest.raises(AddressRefused, match="loopback"):
        await backend(resolve).connect_tcp(spelling, 443)


async def test_the_next_address_of_a_name_is_tried_when_the_first_refuses():
    names = Names(["127.0.0.2", "127.0.0.1"])  # the target listens on the second only
    async with listening() as target:
        stream = await backend(names, *LOOPBACK).connect_tcp("hook.test", target.port)
        await stream.aclose()

    assert stream is not None


async def test_a_name_that_cannot_be_resolved_is_no_connection():
    async def fails(host, port):
        await trio.lowlevel.checkpoint()
        raise OSError("no such name")

    with pytest.raises(httpcore.ConnectError, match="cannot be resolved: no such name"):
        await backend(fails).connect_tcp("hook.test", 443)
    with pytest.raises(httpcore.ConnectError, match="has no address"):
        await backend(Names([])).connect_tcp("hook.test", 443)


async def test_resolving_counts_as_connecting(autojump_clock):
    async def hangs(host, port):
        await trio.sleep_forever()

    with pytest.raises(httpcore.ConnectTimeout, match=r"hook\.test was not connected in 5 s"):
        await backend(hangs).connect_tcp("hook.test", 443, timeout=5)


async def test_httpcore_sleeps_by_the_clock_of_the_loop(autojump_clock):
    await backend(Names([])).sleep(3_600)

    assert trio.current_time() >= 3_600
