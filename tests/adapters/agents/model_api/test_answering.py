from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.anthropic_api.mapping import MessageStream
from moorage.adapters.agents.model_api.answering import (
    Question,
    answered,
    read_to_the_end,
    told_as_events,
)
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.failures import (
    ConnectionLost,
    Overloaded,
    ProtocolViolated,
    ProviderTimeout,
)
from moorage.adapters.agents.recording import RecordingContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.adapters.agents.model_api.reply import Reply

QUESTION = Question(messages=[], model="m")
START = b'data: {"type": "message_start", "message": {"id": "m"}}\n\n'
BLOCK = (
    b'data: {"type": "content_block_start", "index": 0, '
    b'"content_block": {"type": "text", "text": "Hi"}}\n\n'
)
NEW = b'data: {"type": "new_kind", "x": 1}\n\n'
STOP = b'data: {"type": "message_stop"}\n\n'
OVERLOADED = b'data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n'


class ChunksApi:
    """A ModelApi whose answer is these bytes, and maybe an exception behind them."""

    provider = "chunks"
    keeps_answers = False

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks

    def decoder(self) -> MessageStream:
        return MessageStream()

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            for chunk in self.chunks:
                await trio.lowlevel.checkpoint()
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        async with read_to_the_end(chunks()) as stream:  # type: ignore[arg-type]
            yield stream


async def ask(*chunks: bytes | Exception) -> tuple[Reply, RecordingContext]:
    context = RecordingContext()
    async with DeltaStream(context, 0) as deltas:
        reply = await answered(
            ChunksApi(*chunks), QUESTION, told_as_events("chunks", context, deltas)
        )
    return reply, context


async def test_pieces_are_told_in_order_and_the_whole_is_returned() -> None:
    reply, context = await ask(START + BLOCK, NEW, STOP)

    assert reply.text == "Hi"
    assert [(event.type, event.data) for event in context.events] == [
        ("message_streamed", {"delta": "Hi"}),
        ("provider_event", {"provider": "chunks", "original": {"type": "new_kind", "x": 1}}),
    ]


async def test_a_last_event_without_its_empty_line_counts() -> None:
    reply, _ = await ask(START, STOP.rstrip())

    assert reply.message_id == "m"


async def test_an_endpoint_that_ends_with_nothing_but_the_mark_has_said_all() -> None:
    reply, _ = await ask(START, BLOCK, b"data: [DONE]\n\n")

    assert reply.text == "Hi"


@pytest.mark.parametrize(
    ("chunks", "failure"),
    [
        ((START, BLOCK), ConnectionLost),
        ((START, BLOCK, OVERLOADED, STOP), Overloaded),
        ((START, OVERLOADED.rstrip()), Overloaded),
        ((START, b"data: no json\n\n"), ProtocolViolated),
        ((START, ProviderTimeout("silent", provider="chunks")), ProviderTimeout),
    ],
)
async def test_an_answer_that_is_not_whole_is_a_failure(
    chunks: tuple[Any, ...], failure: type[Exception]
) -> None:
    with pytest.raises(failure):
        await ask(*chunks)


async def test_what_breaks_behind_a_whole_answer_harms_nobody() -> None:
    reply, _ = await ask(START, STOP, ConnectionLost("cut", provider="chunks"))

    assert reply.message_id == "m"


async def test_a_stream_that_is_left_in_the_middle_is_cancelled_where_it_waits() -> None:
    ended: list[str] = []

    async def inner() -> Any:
        try:
            for number in range(3):
                yield b"%d" % number
            await trio.sleep_forever()
        finally:
            ended.append("inner")

    async def outer() -> Any:
        async for chunk in inner():
            yield chunk

    with pytest.raises(KeyError):
        async with read_to_the_end(outer()) as chunks:
            async for _ in chunks:
                raise KeyError("x")

    assert ended == ["inner"]


async def test_an_answer_without_an_end_is_given_up() -> None:
    with pytest.raises(ProtocolViolated, match="more than 1000 bytes"):
        await answered(ChunksApi(START, *[BLOCK] * 1_000), QUESTION, bytes_max=1_000)


@pytest.mark.parametrize("end", [STOP, b"data: [DONE]\n\n"])
async def test_a_provider_that_does_not_hang_up_behind_a_whole_answer_is_not_waited_for(
    end: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    class Lingering(ChunksApi):
        @asynccontextmanager
        async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
            async def chunks() -> AsyncIterator[bytes]:
                yield START + BLOCK + end
                await trio.sleep_forever()

            async with read_to_the_end(chunks()) as stream:  # type: ignore[arg-type]
                yield stream

    with trio.fail_after(60):
        reply = await answered(Lingering(), QUESTION)

    assert reply.text == "Hi"
