"""`moorage serve` as a process: killed in mid-stream, and asked to end under load."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from tests.adapters.gateways.http.asgi_client import sse_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE_SECONDS = 120
AGENT = """
import trio

async def agent(request, context):
    for number in range(request.input["deltas"]):
        await context.emit("message_streamed", {"delta": f"word {number} "})
        if number % 10 == 0:
            await context.flush()
            await trio.sleep(request.input.get("pause", 0))
    return {"attempt": request.attempt}
"""


class Server:
    """A running `moorage serve`, and the address it told."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    async def wait(self) -> int:
        with trio.fail_after(PATIENCE_SECONDS):
            while (code := self.process.poll()) is None:
                await trio.sleep(0.01)
        return code


@asynccontextmanager
async def serving(directory: Path, *options: str) -> AsyncIterator[Server]:
    (directory / "words.py").write_text(AGENT)
    command = [sys.executable, "-m", "moorage.adapters.gateways", "serve"]
    command += ["--agent", "words:agent", "--data", "data", "--bind", "127.0.0.1:0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(  # noqa: ASYNC220  # it ends with SIGKILL, not with a scope
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            address = await trio.to_thread.run_sync(process.stdout.readline)
            assert address.startswith("http://"), "it did not start"
            yield Server(process, address.strip())
        finally:
            process.kill()


async def follow(address: str, got: list[dict[str, Any]], until: int | None = None) -> str | None:
    """Collect events behind the last one, until there are so many; the reason it ended.

    Over a bare socket, which can be left at any moment, and HTTP/1.0, which has no chunks.
    """
    host, _, port = address.removeprefix("http://").rpartition(":")
    last = f"last-event-id: {got[-1]['seq']}\r\n" if got else ""
    request = f"GET /v1/sessions/a/events HTTP/1.0\r\nhost: {host}\r\n{last}"
    stream = await trio.open_tcp_stream(host, int(port))
    try:
        await stream.send_all(f"{request}accept: text/event-stream\r\n\r\n".encode())
        left = b""
        while b"\r\n\r\n" not in left:
            piece = await stream.receive_some(65_536)
            assert piece, f"the server said {left!r}"
            left += piece
        head, _, left = left.partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], head + left
        while until is None or len(got) < until:
            *whole, left = left.split(b"\n\n")
            for block in sse_events(b"\n\n".join(whole)):
                if block.get("event") == "end":
                    reason: str = block["data"]["reason"]
                    return reason
                if "data" in block:
                    got.append(block["data"])
            piece = await stream.receive_some(65_536)
            if not piece:
                return "cut"
            left += piece
    finally:
        await trio.aclose_forcefully(stream)
    return None


async def test_who_follows_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []
    async with (
        serving(tmp_path) as server,
        httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client,
    ):
        await client.post("/v1/sessions", json={"id": "a"})
        run = await client.post(
            "/v1/sessions/a/runs",
            json={
                "input": {"deltas": 100_000, "pause": 0.005},
                "on_interrupt": "requeue",
                "attempts_max": 2,
            },
        )
        assert run.status_code == 202
        for kill in (False, True):
            await follow(server.address, got, until=len(got) + 100)
            if kill:
                server.process.send_signal(signal.SIGKILL)
        assert await server.wait() == -signal.SIGKILL
    async with (
        serving(tmp_path) as server,
        httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client,
    ):
        await follow(server.address, got, until=len(got) + 200)
        run_id = run.json()["run_id"]
        cancelled = await client.post(f"/v1/sessions/a/runs/{run_id}/cancel")
        await client.post("/v1/sessions/a/close", json={"force": True})
        reason = await follow(server.address, got)
        log: list[dict[str, Any]] = []
        while page := (
            await client.get(f"/v1/sessions/a/events?limit=1000&after={len(log)}")
        ).json()["events"]:
            log += page

    assert cancelled.json() == {"cancelled": True}
    assert reason == "session_closed"
    assert [event["seq"] for event in got] == list(range(1, len(got) + 1))
    assert got == log
    types = [event["type"] for event in got]
    assert types.count("run_requeued") == types.count("run_cancelled") == 1


# httpx leaves the body of a request that could not be sent to the garbage collector
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object ByteStream"
    ":pytest.PytestUnraisableExceptionWarning"
)
async def test_sigterm_under_load_ends_it_in_order_and_loses_nothing(tmp_path: Path) -> None:
    answered: dict[str, dict[str, Any]] = {}
    refused: list[httpx.Response] = []
    unknown: list[str] = []
    numbers = itertools.count()

    async def ask_on(client: httpx.AsyncClient, session_id: str) -> None:
        while True:
            key = f"key-{next(numbers)}"
            try:
                answer = await client.post(
                    f"/v1/sessions/{session_id}/runs",
                    json={"input": {"deltas": 3}},
                    headers={"idempotency-key": key, "prefer": "wait=60"},
                )
            except httpx.TransportError:
                unknown.append(f"{session_id} {key}")
                return
            if answer.status_code == 503:
                refused.append(answer)
                return
            assert answer.status_code in (200, 202), answer.content
            answered[f"{session_id} {key}"] = answer.json()

    async def end(server: Server) -> None:
        while len(answered) < 20 or not got:
            await trio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)

    got: list[dict[str, Any]] = []
    async with serving(tmp_path, "--drain-seconds", "60") as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client:
            sessions = [f"session-{number}" for number in range(8)]
            for session_id in sessions:
                await client.post("/v1/sessions", json={"id": session_id})
            reasons: list[str | None] = []

            async def follow_one() -> None:
                await client.post("/v1/sessions", json={"id": "a"})
                reasons.append(await follow(server.address, got))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow_one)
                nursery.start_soon(end, server)
                for session_id in sessions:
                    nursery.start_soon(ask_on, client, session_id)
        assert await server.wait() == 0
    async with (
        serving(tmp_path) as server,
        httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client,
    ):
        for name, run in answered.items():
            session_id, key = name.split()
            again = await client.post(
                f"/v1/sessions/{session_id}/runs",
                json={"input": {"deltas": 3}},
                headers={"idempotency-key": key, "prefer": "wait=60"},
            )

            assert again.json()["run_id"] == run["run_id"]
            assert again.json()["state"] == "completed"

    assert reasons == ["draining"]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert len(refused) + len(unknown) == len(sessions)
