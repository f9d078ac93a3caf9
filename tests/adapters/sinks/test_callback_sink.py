from __future__ import annotations

import pytest
import trio
from moorage.adapters.sinks import CallbackSink
from moorage.runtime import Event

EVENTS = [Event("a", seq, seq, "note", None, None) for seq in (1, 2)]


async def test_functions_and_async_functions_are_called_with_each_event() -> None:
    seen: list[Event] = []

    async def later(event: Event) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(event)

    for function in (seen.append, later):
        sink = CallbackSink(function)
        async with sink.opened():
            await sink.write(EVENTS)

    assert seen == EVENTS * 2


async def test_batches_come_as_lists() -> None:
    seen: list[list[Event]] = []

    await CallbackSink(seen.append, batches=True).write(EVENTS)

    assert seen == [EVENTS]


async def test_what_it_raises_is_raised() -> None:
    def refuse(event: Event) -> None:
        raise ValueError(event.seq)

    with pytest.raises(ValueError, match="1"):
        await CallbackSink(refuse).write(EVENTS)
