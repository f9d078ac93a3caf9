from __future__ import annotations

import pickle
from contextlib import asynccontextmanager

from moorage.adapters.sinks import Sink, SinkFailed, deliver
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore


class Counting:
    """A sink as somebody else would write one."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    @asynccontextmanager
    async def opened(self):
        yield

    async def write(self, events) -> None:
        for event in events:
            self.counts[event.type] = self.counts.get(event.type, 0) + 1


async def agent(request, context):
    return request.input


async def test_two_methods_make_a_sink(autojump_clock) -> None:
    counting = Counting()
    sink: Sink = counting
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("a")
        await session.execute("x")
        await session.execute("y")
        await session.close()

        await deliver(session, {"count": sink})

    assert counting.counts["run_completed"] == 2


def test_a_refusal_has_a_code_and_is_final() -> None:
    error = pickle.loads(pickle.dumps(SinkFailed("no room")))

    assert (error.code, error.retryable, str(error)) == ("sink_failed", False, "no room")
