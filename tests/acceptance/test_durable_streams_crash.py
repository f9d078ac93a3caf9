"""Durable streams of a `moorage serve` that is killed again and again: each append is there once,
and who reads along by server-sent events or long polls gets all of it, in order."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from tests.acceptance.test_http_crash import PATIENCE_SECONDS, Server, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PRODUCERS = 4
APPENDS = 60
KILLS = 3
JSON = "application/json"
PATH = "/v1/stream/log"
AGAIN_SECONDS = 0.05


class Current:
    """Where the server is at the moment, for clients that outlive it."""

    def __init__(self) -> None:
        self.address = ""
        self.appended = 0

    async def ask(self, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        """What ``work`` returns, once there is a server that lives for long enough."""
        while True:
            try:
                # certificates would be read for each client anew, for nothing
                async with httpx.AsyncClient(
                    base_url=self.address, timeout=PATIENCE_SECONDS, verify=False
                ) as client:
                    return await work(client)
            except httpx.TransportError:
                await trio.sleep(AGAIN_SECONDS)


async def produce(current: Current, name: str) -> None:
    """Append numbered messages, each until it is answered."""
    for seq in range(APPENDS):
        headers = {
            "content-type": JSON,
            "producer-id": name,
            "producer-epoch": "0",
            "producer-seq": str(seq),
        }

        async def send(client: httpx.AsyncClient, seq: int = seq, headers: Any = headers) -> Any:
            return await client.post(PATH, json={"from": name, "seq": seq}, headers=headers)

        answer = await current.ask(send)
        assert answer.status_code in (200, 204), answer.content
        current.appended += 1


async def poll(current: Current, got: list[Any]) -> None:
    """Collect messages by long polls, to the end."""
    offset = "-1"
    while True:
        query = {"offset": offset, "live": "long-poll"}

        async def ask(client: httpx.AsyncClient, query: Any = query) -> Any:
            return await client.get(PATH, params=query)

        answer = await current.ask(ask)
        assert answer.status_code in (200, 204), answer.content
        got += answer.json() if answer.status_code == 200 else []
        offset = answer.headers["stream-next-offset"]
        if "stream-closed" in answer.headers:
            return


async def follow(current: Current, got: list[Any]) -> None:
    """Collect messages by server-sent events, to the end."""
    offset, closed = "-1", False

    async def read(client: httpx.AsyncClient) -> None:
        nonlocal offset, closed
        query = {"offset": offset, "live": "sse"}
        async with client.stream("GET", PATH, params=query) as answer:
            event, data = "", ""
            batch: list[Any] = []
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data:"):
                    data = line.removeprefix("data:")
                elif event == "data":
                    batch, event = json.loads(data), ""
                elif event == "control":
                    # what came without its offset comes again
                    got.extend(batch)
                    control = json.loads(data)
                    offset, closed = control["streamNextOffset"], "streamClosed" in control
                    batch, event = [], ""

    while not closed:
        await current.ask(read)


async def kill_again_and_again(current: Current, directory: Path, ended: trio.Event) -> None:
    for number in range(KILLS + 1):
        async with serving(directory) as server:
            current.address = server.address
            if number == KILLS:
                await ended.wait()
                return
            until = (number + 1) * PRODUCERS * APPENDS // (KILLS + 2)
            while current.appended < until:
                await trio.sleep(0.005)
            await killed(server)


async def killed(server: Server) -> None:
    server.process.send_signal(signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL


@pytest.mark.filterwarnings(
    # httpx does not end its own generator where a request breaks off
    "ignore:Exception ignored in. <async_generator object ByteStream"
    ":pytest.PytestUnraisableExceptionWarning"
)
async def test_appends_are_there_once_and_readers_get_them_all_over_kills(tmp_path: Path) -> None:
    current, ended = Current(), trio.Event()
    polled: list[Any] = []
    followed: list[Any] = []
    names = [f"producer-{number}" for number in range(PRODUCERS)]
    with trio.fail_after(PATIENCE_SECONDS * 4):
        async with serving(tmp_path) as server:
            current.address = server.address
            made = await current.ask(
                lambda client: client.put(PATH, headers={"content-type": JSON})
            )
            await killed(server)
        async with trio.open_nursery() as everybody:
            everybody.start_soon(kill_again_and_again, current, tmp_path, ended)
            everybody.start_soon(poll, current, polled)
            everybody.start_soon(follow, current, followed)
            async with trio.open_nursery() as producers:
                for name in names:
                    producers.start_soon(produce, current, name)
            again = await current.ask(
                lambda client: client.put(PATH, headers={"content-type": JSON})
            )
            await current.ask(lambda client: client.post(PATH, headers={"stream-closed": "true"}))
            whole = await current.ask(lambda client: client.get(PATH))
            while len(everybody.child_tasks) > 1:
                await trio.sleep(0.01)
            ended.set()

    assert (made.status_code, again.status_code) == (201, 200)
    messages = whole.json()
    assert len(messages) == PRODUCERS * APPENDS
    for name in names:
        mine = [message["seq"] for message in messages if message["from"] == name]
        assert mine == list(range(APPENDS))
    assert polled == messages
    assert followed == messages


@pytest.mark.parametrize("offset", ["-1", "now"])
async def test_a_killed_server_closes_no_stream(tmp_path: Path, offset: str) -> None:
    async with serving(tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client:
            await client.put(PATH, content=b"one", headers={"content-type": "text/plain"})
        await killed(server)
    async with (
        serving(tmp_path) as server,
        httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client,
    ):
        answer = await client.get(PATH, params={"offset": offset})

    assert answer.content == (b"one" if offset == "-1" else b"")
    assert "stream-closed" not in answer.headers
