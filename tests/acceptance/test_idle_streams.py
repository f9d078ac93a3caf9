"""Five thousand event streams on which nothing happens, of one real server."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 5_000
SESSIONS = 50
AT_ONCE = 64
HEARTBEAT_SECONDS = 20.0
FILES_MIN = STREAMS + 300
PATIENCE_SECONDS = 600
STREAM_BYTES_MAX = 64 * 1024
"""Of the server's memory, for each; about twice what was measured."""
SERVICE = Path(__file__).with_name("idle_streams_service.py")


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as the streams take; the server takes over the limit, and may raise it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_MIN:
        pytest.skip(f"a process may have {hard} files open and {FILES_MIN} are needed: ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MIN, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Server:
    """The process, its address, and what the kernel knows of it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.address = address
        self._proc = Path(f"/proc/{process.pid}")

    @property
    def resident_bytes(self) -> int:
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def files(self) -> int:
        return len(list((self._proc / "fd").iterdir()))


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    # the soft limit is low: that the server raises it is part of what is looked at
    command = f"ulimit -Sn 512; exec {sys.executable} {SERVICE} {directory} {HEARTBEAT_SECONDS}"
    with subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), "it did not start"
            yield Server(process, address)
        finally:
            process.kill()


class Readers:
    """Idle streams, each read all the time, and how often each was shown to be alive."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self.heartbeats = [0] * STREAMS
        self.notes = [0] * STREAMS
        self.opened = 0

    async def read(
        self, number: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        stream = await trio.open_tcp_stream(self._host, self._port)
        async with stream:
            path = f"/v1/sessions/idle-{number % SESSIONS}/events?after=head"
            await stream.send_all(
                f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n"
                "accept: text/event-stream\r\n\r\n".encode()
            )
            left = b""
            while b": open\n" not in left:
                piece = await stream.receive_some(4_096)
                assert piece, f"stream {number} was not opened: {left!r}"
                left += piece
            assert left.startswith(b"HTTP/1.1 200 "), left
            left = b""
            self.opened += 1
            task_status.started()
            while piece := await stream.receive_some(4_096):
                *whole, left = (left + piece).split(b"\n\n")
                for block in whole:
                    self.heartbeats[number] += b": heartbeat" in block
                    self.notes[number] += b'"type":"note"' in block


async def test_five_thousand_idle_streams_are_kept_alive_and_hold_nobody_up(
    tmp_path: Path, many_files: None
) -> None:
    with serving(tmp_path / "data") as server, trio.fail_after(PATIENCE_SECONDS):
        readers = Readers(server.address)
        turn = trio.CapacityLimiter(AT_ONCE)

        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:

            async def streams() -> int:
                count: int = (await client.get("/v1/statistics")).json()["streams"]
                return count

            for number in range(SESSIONS):
                await client.post("/v1/sessions", json={"id": f"idle-{number}"})
            files, resident = server.files, server.resident_bytes
            async with trio.open_nursery() as nursery:

                async def open_one(number: int) -> None:
                    async with turn:
                        await nursery.start(readers.read, number)

                async with trio.open_nursery() as opening:
                    for number in range(STREAMS):
                        opening.start_soon(open_one, number)
                assert await streams() == STREAMS
                each = (server.resident_bytes - resident) / STREAMS
                print(f"memory of the server for each idle stream: {each:,.0f} bytes")

                so_far = list(readers.heartbeats)
                while any(
                    now <= then for now, then in zip(readers.heartbeats, so_far, strict=True)
                ):
                    await trio.sleep(0.05)
                # who submits is answered between two heartbeats of one stream, not behind them all
                before = sum(readers.heartbeats)
                run = await client.post(
                    "/v1/sessions/idle-0/runs",
                    json={"input": "hello"},
                    headers={"prefer": "wait=60"},
                )
                meanwhile = sum(readers.heartbeats) - before
                await client.post(
                    "/v1/sessions/idle-1/events", json={"events": [{"type": "note", "data": 1}]}
                )
                while sum(readers.notes) < STREAMS // SESSIONS:
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
            while await streams():
                await trio.sleep(0.05)
            while server.files > files:
                await trio.sleep(0.05)

    assert run.json()["outcome"]["output"] == {"heard": "hello"}
    assert meanwhile < STREAMS
    assert [count for count in readers.notes if count] == [1] * (STREAMS // SESSIONS)
    assert each < STREAM_BYTES_MAX
