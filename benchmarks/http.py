"""How many runs a second over HTTP, and how many events a second down how many streams?

``submit and wait``: a server in a process of its own (journal, sync on), 32 clients in this one,
each with a session and one request at a time: ``POST .../runs`` with ``Prefer: wait=30``, whose
answer is the outcome. The client is httpx; with ``bare`` it is a few lines over sockets, which
shows what the server does when the client costs next to nothing.

``streams``: 200 server-sent event streams, each of a session of its own, whose agent emits 100
deltas a second in bursts of 10; 20,000 events a second in all. Reported are the events that came,
the bytes and chunks they came in, and how long it took from the agent's clock to ours.

``idle``: 5,000 streams of sessions on which nothing happens: memory of the server for each, and
whether a request is still answered at once.

``asyncio face``: what a run costs through it and natively, both without HTTP and in this process,
so that one command measures each way to a supervisor; ``asyncio_face`` has more of that.

Estimate beforehand: a request costs hypercorn, trio and us 1 ms of processor, httpx as much again
in the other process: 700 runs/s with both processors. An event in a stream costs 15 us to encode
and frame; a chunk of 10 costs 150 us to send through hypercorn and the kernel: 20,000 events/s in
2,000 chunks/s are 60 % of one processor.

Reading it: ``client`` is who asked; ``reference`` is what was asked for, of the asyncio face the
native figure, whose ``ratio`` may be 2; ``of_hypercorn_alone`` the ratio to a server that does
nothing but answer. Both processes count against the same processors.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from moorage.adapters.gateways.http import HttpLimits, serve
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import JournalStore

from benchmarks import asyncio_face
from benchmarks.measuring import (
    Report,
    directory,
    median_round,
    quantile,
    resident_bytes,
    rounded,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

CLIENTS = 32
ASKED_RUNS_PER_SECOND = 400
ROUND_SECONDS = 5.0
ROUNDS = 3
STREAMS = 200
ASKED_EVENTS_PER_SECOND = 20_000
BURST = 10
STREAM_SECONDS = 5.0
SETTLE_SECONDS = 1.0
IDLE_STREAMS = 5_000
PATIENCE_SECONDS = 120


async def agent(request: RunRequest, context: RunContext) -> object:
    """Answers at once, or emits bursts of deltas at a steady pace."""
    plan = request.input
    if "bursts" not in plan:
        return {"content": "done"}
    begin = trio.current_time()
    for number in range(plan["bursts"]):
        now_ns = time.time_ns()
        for index in range(BURST):
            delta = {"delta": "some words ", "index": index, "at": now_ns}
            await context.emit("message_streamed", delta)
        await trio.sleep_until(begin + (number + 1) * plan["interval"])
    return None


async def _constant_app(scope: Any, receive: Any, send: Any) -> None:
    """What answers every request at once, with the answer of a session or of a run."""
    if scope["type"] != "http":
        await send({"type": f"{(await receive())['type']}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    content = b'{"state":"completed"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _bare_server(path: Path, told: Connection) -> None:
    """Hypercorn alone, as it is, under the same clients."""

    async def main() -> None:
        config = Config()
        config.keep_alive_max_requests = 1_000_000  # or each client is cut off after a thousand
        config.bind = "127.0.0.1:0"
        config.errorlog = None
        async with trio.open_nursery() as nursery:
            binds = await nursery.start(hypercorn_serve, _constant_app, config)
            told.send(binds[0])
            while await trio.to_thread.run_sync(told.recv) is not None:
                told.send(time.process_time())
            nursery.cancel_scope.cancel()

    trio.run(main)


def _server(path: Path, told: Connection) -> None:
    """The server's process: tells its address, then its memory and processor time when asked."""

    async def main() -> None:
        limits = SupervisorLimits(sessions_resident_max=20_000)
        http_limits = HttpLimits(
            requests_per_second_max=1e6, requests_burst_max=10**6, streams_per_client_max=10_000
        )
        async with (
            open_supervisor(JournalStore(path), agent, limits=limits) as supervisor,
            trio.open_nursery() as nursery,
        ):
            serving = partial(serve, supervisor, "127.0.0.1:0", limits=http_limits)
            told.send(await nursery.start(serving))
            while (asked := await trio.to_thread.run_sync(told.recv)) is not None:
                told.send(resident_bytes() if asked == "memory" else time.process_time())
            nursery.cancel_scope.cancel()

    trio.run(main)


@contextmanager
def _running_server(
    path: Path, target: Callable[[Path, Connection], None] = _server
) -> Iterator[tuple[str, Callable[[str], float]]]:
    """Its address, and a way to ask it for its memory and processor time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(path, theirs))
    process.start()
    try:
        address = ours.recv()

        def ask(what: str) -> float:
            ours.send(what)
            answer: float = ours.recv()
            return answer

        yield address, ask
        ours.send(None)
        process.join(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.join()


class BareClient:
    """One connection, one request at a time; reads answers that have a Content-Length."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._stream: trio.SocketStream | None = None

    async def open(self) -> trio.SocketStream:
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
        return self._stream

    async def post(self, path: str, body: Any, headers: str = "") -> Any:
        content = json.dumps(body).encode()
        stream = await self.open()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n{headers}\r\n"
        )
        await stream.send_all(head.encode() + content)
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(65_536)
        raw, _, rest = received.partition(b"\r\n\r\n")
        lines = raw.decode().lower().split("\r\n")
        length = next(int(line[16:]) for line in lines if line.startswith("content-length: "))
        while len(rest) < length:
            rest += await stream.receive_some(65_536)
        if not lines[0].startswith("http/1.1 2"):
            raise RuntimeError(f"{lines[0]}: {rest[:200]!r}")
        return json.loads(rest)


async def _runs_per_second(address: str, *, bare: bool) -> list[float]:
    """Rates of several rounds, after one that warms up."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as shared:

        async def httpx_post(path: str, body: Any) -> Any:
            answer = await shared.post(path, json=body, headers={"prefer": "wait=30"})
            answer.raise_for_status()
            return answer.json()

        def poster() -> Callable[[str, Any], Awaitable[Any]]:
            if bare:
                return partial(BareClient(address).post, headers="prefer: wait=30\r\n")
            return httpx_post

        posters = [poster() for _ in range(CLIENTS)]
        for number, post in enumerate(posters):
            await post("/v1/sessions", {"id": f"user-{number}"})
        rates: list[float] = []
        for _ in range(ROUNDS + 1):
            count, begin = 0, time.perf_counter()

            async def work(number: int, until: float) -> None:
                nonlocal count
                while time.perf_counter() < until:
                    run = await posters[number](
                        f"/v1/sessions/user-{number}/runs", {"input": {"prompt": "go on"}}
                    )
                    if run["state"] != "completed":
                        raise RuntimeError(f"a run ended {run['state']}")
                    count += 1

            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(work, number, begin + ROUND_SECONDS)
            rates.append(count / (time.perf_counter() - begin))
    return rates[1:]


class Received:
    """What came down all streams."""

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0
        self.chunks = 0
        self.late: list[float] = []

    async def read(self, address: str, session_id: str, ended: int) -> None:
        """Follow one session until so many runs have ended; raises at a gap or a repeat."""
        stream = await BareClient(address).open()
        host = urlsplit(address).netloc
        await stream.send_all(
            f"GET /v1/sessions/{session_id}/events?after=1 HTTP/1.1\r\nhost: {host}\r\n"
            "accept: text/event-stream\r\n\r\n".encode()
        )
        seq, left = 1, b""
        while ended:
            piece = await stream.receive_some(262_144)
            if not piece:
                raise RuntimeError(f"the stream of {session_id} ended at {seq}")
            now_ns = time.time_ns()
            self.chunks += 1
            self.bytes += len(piece)
            *lines, left = (left + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"id: "):
                    seq += 1
                    if int(line[4:]) != seq:
                        raise RuntimeError(f"{line!r} is not {seq}")
                    self.events += 1
                elif line.startswith(b"data: ") and seq % 100 == 0:
                    at = json.loads(line[6:])["data"].get("at")
                    if at is not None:
                        self.late.append((now_ns - at) / 1e9)
                if b'"type":"run_completed"' in line[:400]:
                    ended -= 1
        await trio.aclose_forcefully(stream)


async def _stream(
    address: str, streams: int, seconds: float, ask: Callable[[str], float]
) -> tuple[Received, float, float]:
    """What was received, and events a second and processor seconds of the server for each event
    while all agents were at work."""
    received = Received()
    interval = BURST * streams / ASKED_EVENTS_PER_SECOND
    plan = {"bursts": int((seconds + 3 * SETTLE_SECONDS) / interval), "interval": interval}

    async def begin(number: int) -> None:
        client = BareClient(address)
        await client.post("/v1/sessions", {"id": f"stream-{number}"})
        nursery.start_soon(received.read, address, f"stream-{number}", 1)
        await client.post(f"/v1/sessions/stream-{number}/runs", {"input": plan})

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as beginning:
            for number in range(streams):
                beginning.start_soon(begin, number)
        await trio.sleep(SETTLE_SECONDS)
        marks = []
        for _ in range(2):
            marks.append((time.perf_counter(), received.events, ask("cpu")))
            await trio.sleep(seconds)
    (time_0, events_0, cpu_0), (time_1, events_1, cpu_1) = marks
    count = events_1 - events_0
    return received, count / (time_1 - time_0), (cpu_1 - cpu_0) / count


async def _idle(address: str, streams: int, ask: Callable[[str], float]) -> tuple[float, float]:
    """Bytes of the server for each idle stream, and the median seconds of a request beside them."""
    opener = BareClient(address)
    for number in range(100):
        await opener.post("/v1/sessions", {"id": f"idle-{number}"})
    before = ask("memory")
    opened: list[trio.SocketStream] = []
    host = urlsplit(address).netloc

    async def open_one(number: int) -> None:
        stream = await BareClient(address).open()
        path = f"/v1/sessions/idle-{number % 100}/events?after=head"
        head = f"GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n"
        await stream.send_all(head.encode())
        answer = await stream.receive_some(4_096)
        if b" 200 " not in answer[:20]:
            raise RuntimeError(f"stream {number}: {answer[:200]!r}")
        opened.append(stream)

    await together(open_one, range(streams), at_once=CLIENTS)
    each = (ask("memory") - before) / streams
    times = []
    for _ in range(100):
        begin = time.perf_counter()
        await opener.post("/v1/sessions/idle-0/events", {"events": [{"type": "note", "data": 1}]})
        times.append(time.perf_counter() - begin)
    for stream in opened:
        await trio.aclose_forcefully(stream)
    return each, median_round(times)


def _raise_file_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _measure_hypercorn(report: Report) -> float:
    """Report what it does alone, and return its requests a second."""
    with directory() as path, _running_server(path, _bare_server) as (address, ask):
        spent = ask("cpu")
        rates = trio.run(partial(_runs_per_second, address, bare=True))
        alone = median_round(rates)
        requests = sum(rates) * ROUND_SECONDS * (ROUNDS + 1) / ROUNDS
        report("requests to hypercorn alone, client bare", alone, "requests/s", client="bare")
        cost = (ask("cpu") - spent) / requests * 1e6
        report("processor time of hypercorn alone", cost, "us/request", client="bare")
    return alone


def _measure_runs(report: Report, client: str, alone: float) -> None:
    with directory() as path, _running_server(path / "store") as (address, ask):
        spent, own = ask("cpu"), time.process_time()
        rates = trio.run(partial(_runs_per_second, address, bare=client == "bare"))
        runs = sum(rates) * ROUND_SECONDS * (ROUNDS + 1) / ROUNDS
        report(
            f"submit and wait, client {client}",
            median_round(rates),
            "runs/s",
            reference=ASKED_RUNS_PER_SECOND,
            client=client,
            clients=CLIENTS,
            of_hypercorn_alone=rounded(median_round(rates) / alone),
        )
        server_cost = (ask("cpu") - spent) / runs * 1e6
        client_cost = (time.process_time() - own) / runs * 1e6
        for side, cost in (("server", server_cost), ("client", client_cost)):
            report(f"processor time of the {side}, {client}", cost, "us/run", client=client)


def _measure_streams(report: Report, seconds: float) -> None:
    with directory() as path, _running_server(path / "store") as (address, ask):
        received, rate, cost = trio.run(_stream, address, STREAMS, seconds, ask)
        report(
            "streamed, client bare",
            rate,
            "events/s",
            reference=ASKED_EVENTS_PER_SECOND,
            client="bare",
            streams=STREAMS,
            events_per_chunk=rounded(received.events / received.chunks),
        )
        cost_us = cost * 1e6
        report("processor time of the server, streamed", cost_us, "us/event", client="bare")
        for share, word in ((0.5, "p50"), (0.99, "p99")):
            late = quantile(received.late, share) * 1e3
            report(f"from the agent to the client, {word}", late, "ms", client="bare")


def measure(report: Report, quick: bool = False) -> None:
    """Report runs and events a second, what idle streams cost, and the asyncio face's share."""
    global ROUNDS, ROUND_SECONDS
    if quick:
        ROUNDS, ROUND_SECONDS = 1, 1.0
    _raise_file_limit()
    alone = _measure_hypercorn(report)
    for client in ("httpx", "bare"):
        _measure_runs(report, client, alone)
    _measure_streams(report, 1.0 if quick else STREAM_SECONDS)
    with directory() as path, _running_server(path / "store") as (address, ask):
        streams = IDLE_STREAMS // 10 if quick else IDLE_STREAMS
        each, answered = trio.run(_idle, address, streams, ask)
        report("memory of an idle stream", each, "bytes", client="bare", streams=streams)
        report("a request beside the idle streams, p50", answered * 1e3, "ms", client="bare")
    asyncio_face.measure_costs(report, quick, ("asyncio face",), client="in this process")
