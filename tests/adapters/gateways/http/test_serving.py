"""Through real sockets: hypercorn in this process, httpx or a bare socket at the other end."""

from __future__ import annotations

import resource
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import pytest
import trio
import trio.testing
from moorage.adapters.gateways.http import HttpLimits, TokenFile, create_app, serve, serving
from moorage.adapters.sinks.telemetry import RunMetrics
from moorage.runtime import InvalidArgument
from structlog.testing import capture_logs

from tests.adapters.gateways.http.asgi_client import sse_events
from tests.adapters.gateways.http.service import serving as supervised

PATIENCE_SECONDS = 60
EVENTS = "/v1/sessions/a/events"
FOLLOW = f"GET {EVENTS} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n".encode()


@asynccontextmanager
async def listening(*, auth=None, limits=None, metrics=None, **options):
    """A service behind a socket; yields it, its address and the event that shuts it down."""
    async with supervised(metrics=metrics) as service, trio.open_nursery() as nursery:
        shutdown = trio.Event()
        app = create_app(service.supervisor, auth=auth, limits=limits, metrics=metrics)
        service.app = app
        address = await nursery.start(
            partial(serve, app, "127.0.0.1:0", shutdown=shutdown.wait, **options)
        )
        with trio.fail_after(PATIENCE_SECONDS):
            yield service, address, shutdown
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(address):
    host, _, port = address.removeprefix("http://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


def asking(address):
    return httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS)


async def receive(stream):
    piece = await stream.receive_some(65_536)
    assert piece, "the connection ended"
    return piece


async def read_to_end(stream):
    content = b""
    while piece := await stream.receive_some(65_536):
        content += piece
    return content


async def until(condition):
    while not condition():
        await trio.sleep(0.01)


async def test_one_submits_and_waits_and_follows_over_a_socket():
    async with listening() as (_, address, _), asking(address) as client:
        await client.post("/v1/sessions", json={"id": "a"})
        run = await client.post(
            "/v1/sessions/a/runs", json={"input": {"deltas": 3}}, headers={"prefer": "wait=60"}
        )
        await client.post("/v1/sessions/a/close")
        stream = await client.get(EVENTS, headers={"accept": "text/event-stream"})

    assert (run.status_code, run.json()["state"]) == (200, "completed")
    blocks = sse_events(stream.content)
    assert [int(block["id"]) for block in blocks if "data" in block][:8] == list(range(1, 9))
    assert blocks[-1]["event"] == "end"


async def test_one_connection_takes_one_request_after_the_other():
    async with listening() as (_, address, _), connected(address) as stream:
        for _ in range(3):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = await stream.receive_some(65_536)

            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.endswith(b'{"status":"ok","reason":null}\n')  # in one piece


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", ""])
async def test_a_name_that_was_pointed_here_is_refused(host):
    metrics = RunMetrics()
    async with (
        listening(metrics=metrics) as (_, address, _),
        asking(address) as client,
    ):
        refused = await client.get("/healthz", headers={"host": host})

    assert refused.status_code in (400, 421)
    counted = [status for _, status in metrics.requests.requests]
    assert counted == (["421"] if refused.status_code == 421 else [])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8", "me.test"])
async def test_this_machine_and_allowed_names_are_not(host):
    async with (
        listening(allowed_hosts=["me.test"]) as (_, address, _),
        asking(address) as client,
    ):
        answer = await client.get("/healthz", headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
async def test_without_tokens_nobody_else_is_let_near(bind):
    async with supervised() as service:
        with pytest.raises(InvalidArgument, match="moorage tokens new"):
            await serve(service.supervisor, bind)


async def test_with_tokens_it_may_be_bound_to_any_address(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("me").token
    async with supervised() as service, trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve, service.supervisor, "0.0.0.0:0", auth=file))
        port = address.rpartition(":")[2]
        async with asking(f"http://127.0.0.1:{port}") as client:
            without = await client.get("/v1/sessions", headers={"host": "any.example"})
            with_it = await client.get(
                "/v1/sessions",
                headers={"host": "any.example", "authorization": f"Bearer {token}"},
            )
        nursery.cancel_scope.cancel()

    assert (without.status_code, with_it.status_code) == (401, 200)


async def test_an_address_that_is_taken_is_an_error_of_the_system():
    async with listening() as (service, address, _):
        with pytest.raises(OSError, match="in use"):
            await serve(service.supervisor, address.removeprefix("http://"))


async def test_a_reader_that_stalls_is_cut_and_its_connection_given_back():
    limits = HttpLimits(stall_seconds_max=0.3, send_buffer_bytes=4_096)
    async with listening(limits=limits) as (service, address, _):
        session = await service.supervisor.session("a")
        for _ in range(8):
            await session.append("note", {"text": "x" * 1_000_000})
        async with connected(address) as stream:
            await stream.send_all(FOLLOW)
            assert (await stream.receive_some(12)) == b"HTTP/1.1 200"  # it is open, or was
            await until(lambda: service.app.state.streams == 0)
            with pytest.raises(trio.BrokenResourceError):
                while await stream.receive_some(65_536):
                    pass
                raise trio.BrokenResourceError  # or cut in order: what came is not all
            # others are not held up, and it may come back
            async with asking(address) as client:
                answer = await client.get(f"{EVENTS}?limit=1")

    assert answer.status_code == 200


async def test_a_client_that_vanishes_ends_its_stream():
    async with listening() as (service, address, _):
        await service.supervisor.session("a")
        async with connected(address) as stream:
            await stream.send_all(FOLLOW)
            await until(lambda: service.app.state.streams == 1)
            await trio.aclose_forcefully(stream)
            await until(lambda: service.app.state.streams == 0)


async def test_a_client_that_vanishes_while_it_waits_leaves_its_run_running():
    body = b'{"input": "wait"}'
    head = (
        "POST /v1/sessions/a/runs HTTP/1.1\r\nhost: localhost\r\nprefer: wait=60\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with listening() as (service, address, _):
        session = await service.supervisor.session("a")
        async with connected(address) as stream:
            await stream.send_all(head.encode() + body)
            (event,) = await session.events(types={"message_streamed"}, wait_seconds=60)
            await until(lambda: service.app.state.streams == 1)
        await until(lambda: service.app.state.streams == 0)
        state = await session.run(event.run_id).status()
        service.agent.go.set()
        outcome = await session.wait(event.run_id)

    assert state == "running"
    assert outcome.unwrap() == {"content": "wait"}


async def test_a_connection_ends_with_its_other_end_however_long_it_may_be_idle():
    async with listening(limits=HttpLimits(idle_connection_seconds=1_000)) as (_, address, _):
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with connected(address) as stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await stream.receive_some(65_536)
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


async def test_a_stream_whose_client_vanished_keeps_no_connection():
    async with listening(limits=HttpLimits(idle_connection_seconds=1_000)) as (service, address, _):
        await service.supervisor.session("a")
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        for begin in (b"", FOLLOW):
            async with connected(address) as stream:
                if begin:
                    await stream.send_all(begin)
                    await until(lambda: service.app.state.streams == 1)
            await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused_and_the_connection_ends(declared, mock_clock):
    mock_clock.rate = 1
    limits = HttpLimits(body_bytes_max=1_000, idle_connection_seconds=0.5)
    async with listening(limits=limits) as (_, address, _):
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with connected(address) as stream:
            head = "POST /v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
            piece = b"%x\r\n%b\r\n" % (60_000, b"x" * 60_000)
            framing = "content-length: 9000000" if declared else "transfer-encoding: chunked"
            await stream.send_all(f"{head}\r\n{framing}\r\n\r\n".encode())
            answer = b""

            async def read():
                nonlocal answer
                with suppress(trio.BrokenResourceError):
                    answer = await read_to_end(stream)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                try:
                    for _ in range(150):
                        await stream.send_all(piece)
                except trio.BrokenResourceError:
                    pass
            await trio.aclose_forcefully(stream)
            mock_clock.rate = 0  # or a connection might be idle for too long before it is used
            async with asking(address) as client:
                assert (await client.get("/healthz")).status_code == 200
            mock_clock.rate = 1
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)

    assert answer == b"" or b" 413 " in answer.splitlines()[0]


async def test_headers_that_are_too_large_are_refused():
    async with (
        listening(limits=HttpLimits(header_bytes_max=2_000)) as (_, address, _),
        connected(address) as stream,
    ):
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 10_000)
        answer = await stream.receive_some(65_536)

    assert answer.split(b" ")[1] == b"431"


async def test_one_connection_too_many_is_told_to_come_back():
    limits, metrics = HttpLimits(connections_max=1), RunMetrics()
    async with (
        listening(limits=limits, metrics=metrics) as (_, address, _),
        connected(address) as first,
    ):
        await first.send_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await first.receive_some(65_536)
        async with connected(address) as second:
            answer = await read_to_end(second)

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in answer
    assert metrics.requests.requests[("unknown", "503")] == 1


async def test_a_connection_that_asks_nothing_is_closed():
    async with (
        listening(limits=HttpLimits(idle_connection_seconds=0.1)) as (_, address, _),
        connected(address) as stream,
    ):
        assert await read_to_end(stream) == b""


@pytest.mark.parametrize(
    "content", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\r\n" * 40_000]
)
async def test_what_is_no_http_is_refused(content):
    answer = b""
    async with listening() as (_, address, _), connected(address) as stream:
        with suppress(trio.BrokenResourceError):  # cut before all of it has been read
            await stream.send_all(content)
            await stream.send_eof()
            answer = await read_to_end(stream)
        async with asking(address) as client:
            assert (await client.get("/healthz")).status_code == 200

    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))


async def test_shutting_down_lets_the_run_end_and_tells_streams_and_waits(monkeypatch):
    # what had to be cut would hold up the end for ever
    monkeypatch.setattr(serving, "LINGER_SECONDS", 1_000_000)
    async with supervised() as service, trio.open_nursery() as nursery:
        shutdown = trio.Event()
        served = trio.Event()

        async def run(task_status):
            await serve(
                service.app,
                "127.0.0.1:0",
                drain_seconds=PATIENCE_SECONDS,
                shutdown=shutdown.wait,
                task_status=task_status,
            )
            served.set()

        address = await nursery.start(run)
        await service.submit("a", "wait")
        got = {}

        async def follow(client):
            answer = await client.get(EVENTS, headers={"accept": "text/event-stream"})
            got["stream"] = sse_events(answer.content)

        async def poll(client):
            await service.supervisor.session("b")
            got["poll"] = await client.get("/v1/sessions/b/events?after=1&wait_seconds=60")

        async with asking(address) as client:
            async with trio.open_nursery() as clients:
                clients.start_soon(follow, client)
                clients.start_soon(poll, client)
                await service.supervisor.handle("a").events(
                    types={"message_streamed"}, wait_seconds=60
                )
                await until(lambda: service.app.state.streams == 2)
                shutdown.set()
                while (ready := await client.get("/readyz")).status_code == 200:
                    await trio.sleep(0.01)
                refused = await client.post("/v1/sessions/a/runs", json={"input": 1})
                service.agent.go.set()
            with trio.fail_after(PATIENCE_SECONDS):
                await served.wait()
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")

    assert ready.json()["reason"] == "draining"
    assert (refused.status_code, refused.json()["code"]) == (503, "admission_closed")
    assert int(refused.headers["retry-after"]) >= 1
    types = [block["data"].get("type") for block in got["stream"] if "data" in block]
    assert types[-2:] == ["run_completed", None]
    assert got["stream"][-1]["data"]["reason"] == "draining"
    assert (got["poll"].status_code, got["poll"].json()["events"]) == (200, [])


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "in time"])
async def test_what_became_of_the_work_is_logged_at_the_end(is_cut):
    async with supervised() as service:
        run = await service.submit("a", "wait")
        await service.submit("a", "behind it")
        session = service.supervisor.handle("a")
        await session.events(types={"message_streamed"}, wait_seconds=PATIENCE_SECONDS)

        async def end_in_time():
            await until(lambda: service.app.state.draining)
            service.agent.go.set()

        with capture_logs() as logged:
            async with trio.open_nursery() as nursery:
                if not is_cut:
                    nursery.start_soon(end_in_time)
                await serve(
                    service.app,
                    "127.0.0.1:0",
                    drain_seconds=0 if is_cut else PATIENCE_SECONDS,
                    shutdown=trio.lowlevel.checkpoint,
                )

    (line,) = [line for line in logged if line["event"] == "http_drained"]
    assert line == {
        "event": "http_drained",
        "log_level": "warning" if is_cut else "info",
        "completed": 0 if is_cut else 1,
        "requeued": 0,
        "queued": 1,
        "interrupted": (run["run_id"],) if is_cut else (),
        "not_stopped": (),
    }


async def test_a_connection_on_which_a_stream_ended_is_kept_as_long_as_any_other(mock_clock):
    limits = HttpLimits(idle_connection_seconds=0.2)
    async with listening(limits=limits) as (service, address, _), connected(address) as stream:
        session = await service.supervisor.session("a")
        await session.close()
        for _ in range(2):  # in no time at all
            await stream.send_all(FOLLOW)
            content = b""
            while not content.endswith(b"0\r\n\r\n"):
                content += await receive(stream)
        mock_clock.rate = 1

        assert await read_to_end(stream) == b""


async def test_the_file_limit_is_raised_as_far_as_it_goes(monkeypatch):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))

    serving._raise_file_limit(HttpLimits(connections_max=2_000))
    serving._raise_file_limit(HttpLimits(connections_max=100_000))
    serving._raise_file_limit(HttpLimits(connections_max=100))

    assert told == [(2_256, 4_096), (4_096, 4_096)]


async def test_http_2_serves_the_same():
    async with listening() as (_service, address, _), connected(address) as stream:
        await stream.send_all(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00" + b"\x00" * 4
        )
        answer = await stream.receive_some(65_536)

    assert answer[3] == 4  # a frame with settings
