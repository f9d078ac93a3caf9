from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.claude_code.transport import ClaudeTransport
from moorage.adapters.agents.provider.failures import ProviderTimeout

QUESTION = {"type": "control_request", "request_id": "1", "request": {"subtype": "x"}}


class Process:
    """Stands for a running program: keeps what it is sent."""

    def __init__(self, *, reads=True):
        self.sent = []
        self.input_closed = False
        self._reads = reads

    async def send(self, message):
        await trio.sleep(0 if self._reads else 10)
        self.sent.append(message)

    def close_input(self):
        self.input_closed = True


async def test_what_is_delivered_is_read_in_order():
    transport = ClaudeTransport(Process())
    await transport.connect()
    transport.deliver(QUESTION)
    transport.deliver({**QUESTION, "request_id": "2"})
    transport.disconnect()

    read = [message["request_id"] async for message in transport.read_messages()]

    assert read == ["1", "2"]


async def test_what_the_sdk_writes_goes_to_the_process():
    process = Process()
    transport = ClaudeTransport(process)
    await transport.connect()

    await transport.write('{"type": "control_response"}\n')
    await transport.end_input()

    assert process.sent == [{"type": "control_response"}]
    assert process.input_closed


async def test_a_line_that_was_begun_is_finished_although_its_writer_is_cancelled(autojump_clock):
    process = Process(reads=False)
    transport = ClaudeTransport(process)

    with trio.move_on_after(1):
        await transport.write("{}")

    assert process.sent == [{}]


async def test_a_process_that_does_not_read_is_given_up(autojump_clock, monkeypatch):
    monkeypatch.setattr("moorage.adapters.agents.claude_code.transport.WRITE_SECONDS_MAX", 5)

    with pytest.raises(ProviderTimeout, match="5 seconds"):
        await ClaudeTransport(Process(reads=False)).write("{}")


async def test_a_run_that_is_over_waits_for_no_line(autojump_clock):
    process = Process(reads=False)
    transport = ClaudeTransport(process)
    began = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.write, "{}")
        await trio.sleep(1)
        transport.abandon()
    await transport.write("{}")

    assert trio.current_time() - began < 2
    assert process.sent == []


async def test_a_closed_transport_takes_nothing_more():
    transport = ClaudeTransport(Process())
    assert not transport.is_ready()
    await transport.connect()
    assert transport.is_ready()

    await transport.close()
    transport.deliver(QUESTION)

    assert not transport.is_ready()
