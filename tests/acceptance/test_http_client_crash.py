"""Clients of `moorage serve`, whose process is killed and started again, several times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from moorage.adapters.gateways.http_client import ClientLimits, connect

from tests.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
"""How one server after the other ends: killed, or asked to drain."""
SESSIONS = ("a", "b", "c")
RUNS = 4
PATIENCE_SECONDS = 180
EVENTS_BETWEEN = 60
LIMITS = ClientLimits(backoff_seconds_max=0.2)
AGENT = """
import trio

async def agent(request, context):
    for number in range(request.input["deltas"]):
        await context.emit("message_streamed", {"delta": f"word {number} "})
        if number % 5 == 0:
            await context.flush()
            await trio.sleep(0.02)
    while request.input["last"] and not await trio.Path("enough").exists():
        await context.emit("message_streamed", {"delta": "and so on "})
        await context.flush()
        await trio.sleep(0.05)
    return {"number": request.input["number"]}
"""
"""Each session's last run goes on until there is a file, so that every end hits a run, and more
events come, however late it is."""


@contextmanager
def serving(directory: Path, bind: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server, and its address; killed in the end."""
    command = [sys.executable, "-m", "moorage.adapters.gateways", "serve", "--agent", "words:agent"]
    with subprocess.Popen(
        [*command, "--data", "data", "--bind", bind, "--drain-seconds", "0.1"],
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), "it did not start"
            yield process, address
        finally:
            process.kill()


class Client:
    """Follows all sessions and submits runs to them, whatever becomes of the server."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.got: dict[str, list[Any]] = {session_id: [] for session_id in SESSIONS}
        self.outcomes: dict[tuple[str, int], Any] = {}

    async def work(self) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with (
                connect(self.address, limits=LIMITS) as client,
                anyio.create_task_group() as tasks,
            ):
                for session_id in SESSIONS:
                    tasks.start_soon(self._follow, client.handle(session_id))
                    tasks.start_soon(self._submit, client.handle(session_id))

    async def _follow(self, session: Any) -> None:
        async with session.subscribe() as events:
            async for event in events:
                self.got[session.id].append(event)

    async def _submit(self, session: Any) -> None:
        for number in range(RUNS):
            run = await session.submit(
                {"deltas": 30, "number": number, "last": number == RUNS - 1},
                metadata={"by": self.name},
                on_interrupt="requeue",
                attempts_max=1_000,
            )
            self.outcomes[session.id, number] = await run.wait()

    @property
    def events(self) -> int:
        return sum(len(events) for events in self.got.values())


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
async def test_who_follows_gets_every_event_once_and_submits_nothing_twice(
    tmp_path: Path, loop: str
) -> None:
    (tmp_path / "words.py").write_text(AGENT)

    async def end(server: subprocess.Popen[str], client: Client, number: signal.Signals) -> None:
        seen = client.events
        while client.events < seen + EVENTS_BETWEEN:
            await trio.sleep(0.005)
        server.send_signal(number)
        await trio.to_thread.run_sync(server.wait)

    start = partial(serving, tmp_path)
    with trio.fail_after(2 * PATIENCE_SECONDS):
        with reserved_port() as port, start(f"127.0.0.1:{port}") as (first, address):
            async with connect(address, limits=LIMITS) as opener, trio.open_nursery() as nursery:
                for session_id in SESSIONS:
                    await opener.session(session_id, slots=2)
                client = Client(loop, address)
                if loop == "trio":
                    nursery.start_soon(client.work)
                else:
                    nursery.start_soon(
                        trio.to_thread.run_sync, partial(anyio.run, client.work, backend="asyncio")
                    )
                await end(first, client, ENDS[0])
                for number in ENDS[1:]:
                    with start(address.removeprefix("http://")) as (server, _):
                        await end(server, client, number)
                (tmp_path / "enough").touch()
                with start(address.removeprefix("http://")):
                    while len(client.outcomes) < RUNS * len(SESSIONS):
                        await trio.sleep(0.01)
                    logs = {}
                    for session_id in SESSIONS:
                        session = opener.handle(session_id)
                        await session.close()
                        logs[session_id] = await session.events(limit=10_000)
                    while any(
                        client.got[session_id][-1:] != log[-1:] for session_id, log in logs.items()
                    ):
                        await trio.sleep(0.01)

    for session_id, log in logs.items():
        assert [event.seq for event in client.got[session_id]] == list(range(1, len(log) + 1))
        assert client.got[session_id] == log
        submitted = [
            event.data["input"]["number"] for event in log if event.type == "run_submitted"
        ]
        assert submitted == list(range(RUNS))
    for (_, number), outcome in client.outcomes.items():
        assert outcome.unwrap() == {"number": number}
    requeued = [e for log in logs.values() for e in log if e.type == "run_requeued"]
    assert requeued, "no end hit a run"
