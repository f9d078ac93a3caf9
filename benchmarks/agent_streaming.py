"""What does a streamed answer cost through AnthropicAgent in a supervisor, beside the bare SDK?

A twin in a process of its own answers with 1,000 deltas as fast as they are taken. 10 sessions have
10 runs each, one after the other: 100,000 deltas, recorded in a journal, coalesced as by default.
The bare SDK gets the same answers, 10 at a time, iterates over its own events and joins the text.

Estimate beforehand: the SDK takes 14 us per delta of which 9 are for the event objects that it
makes. The agent takes the bytes from the SDK and parses them itself: 3 us for lines and JSON, 1 us
for what it does with them, and per run some 3 ms for session, log and request, which is 3 us more
per delta. So about as much as the SDK alone; 1.3 times its time is the most that will do.

Reading it: ``events/s per core`` counts deltas per second of this process's processor time, with
the SDK's as ``reference``; ``time of the SDK's`` is how many times as much processor time a delta
takes. The twin's own time is not in it. Wall-clock rates are there too, where the twin and the disk
have their part.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime import Session, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import Report, Rounds, directory, median_round, together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

SESSIONS = 10
RUNS = 10
DELTAS = 1_000
ROUNDS = 3
INSTALL = "pip install -e '.[anthropic,twin]' -c constraints.txt"


def serve(pipe: Connection) -> None:
    """Serve a twin, tell its address, and end when the other end of the pipe is closed."""
    from moorage.adapters.agents.model_twin import ModelTwin, Text

    async def main() -> None:
        answer = Text("word " * DELTAS, pieces=DELTAS)
        async with ModelTwin(lambda request: answer).serving() as twin:
            pipe.send(twin.url)
            with contextlib.suppress(EOFError):
                await trio.to_thread.run_sync(pipe.recv)

    trio.run(main)


@contextlib.contextmanager
def twin_url() -> Iterator[str]:
    """The address of a twin in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


async def agent_rounds(path: Path, url: str, rounds: int) -> Rounds:
    """Deltas a second through the agent, and processor seconds per delta, after a warm-up."""
    from moorage.adapters.agents.anthropic_api import AnthropicAgent

    agent = AnthropicAgent(model="twin", continuation="none", api_key="none", base_url=url)
    found = Rounds([], [], 0)

    async def client(session: Session) -> None:
        for _ in range(RUNS):
            output: Any = (await session.execute({"prompt": "go on"})).unwrap()
            if len(output["content"]) != len("word ") * DELTAS:
                raise RuntimeError(f"an answer has {len(output['content'])} characters")

    async with agent, open_supervisor(JournalStore(path), agent) as supervisor:
        for number in range(rounds + 1):
            # new ones, so that every round has conversations of the same length
            names = [f"user-{number}-{name}" for name in range(SESSIONS)]
            sessions = [await supervisor.session(name) for name in names]
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await together(client, sessions)
            if number:
                _add(found, begin, cpu_begin)
        return found._replace(syncs=supervisor.statistics().store.syncs)


async def sdk_rounds(url: str, rounds: int) -> Rounds:
    """The same for the SDK alone."""
    import anthropic

    found = Rounds([], [], 0)
    async with anthropic.AsyncAnthropic(api_key="none", base_url=url) as sdk:

        async def client(number: int) -> None:
            for _ in range(RUNS):
                texts: list[str] = []
                stream = await sdk.messages.create(
                    model="twin",
                    max_tokens=8_192,
                    messages=[{"role": "user", "content": "go on"}],
                    stream=True,
                )
                async for event in stream:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        texts.append(event.delta.text)
                if len("".join(texts)) != len("word ") * DELTAS:
                    raise RuntimeError(f"an answer has {len(texts)} deltas")

        for number in range(rounds + 1):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await together(client, range(SESSIONS))
            if number:
                _add(found, begin, cpu_begin)
    return found


def _add(found: Rounds, begin: float, cpu_begin: float) -> None:
    count = SESSIONS * RUNS * DELTAS
    found.rates.append(count / (time.perf_counter() - begin))
    found.costs.append((time.process_time() - cpu_begin) / count)


def measure(report: Report, quick: bool = False) -> None:
    """Report deltas per second, by processor time and by the clock on the wall."""
    for package in ("anthropic", "h11"):
        if importlib.util.find_spec(package) is None:
            report.skipped(f"{package} is not installed: {INSTALL}")
            return
    rounds = 1 if quick else ROUNDS
    with twin_url() as url, directory() as path:
        ours = trio.run(agent_rounds, path / "store", url, rounds)
        theirs = trio.run(sdk_rounds, url, rounds)
    cost, reference = median_round(ours.costs), median_round(theirs.costs)
    report("events/s per core", 1 / cost, "events/s", reference=1 / reference)
    report("time of the SDK's", cost * 1e6, "us/event", reference=reference * 1e6, at_most=1.3)
    report("wall clock", median_round(ours.rates), "events/s", reference=median_round(theirs.rates))
    report("syncs", ours.syncs, "syncs", events=SESSIONS * RUNS * DELTAS * (rounds + 1))
