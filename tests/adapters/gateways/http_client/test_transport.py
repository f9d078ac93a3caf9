"""What is sent again and what is not, against answers that no gateway gives on demand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from functools import partial

import anyio
import attrs
import httpx
import pytest
import trio
from moorage.adapters.gateways.http_client import (
    ClientLimits,
    RequestRefused,
    ServerUnreachable,
    connect,
)
from moorage.adapters.gateways.http_client.transport import Transport, path_of
from moorage.runtime import AdmissionClosed, BufferFull, InvalidArgument, QueueFull, StoreFailed
from opentelemetry.sdk.trace import TracerProvider

from tests.adapters.gateways.http_client.both_loops import (
    HASTY,
    PATIENCE_SECONDS,
    both_loops,
    under,
)
from tests.adapters.gateways.http_client.scripted_server import CUT, answer, answering, problem

RUN = answer(202, {"session_id": "a", "run_id": "r", "state": "queued", "outcome": None})
EVENT = {
    "session_id": "a",
    "seq": 1,
    "time_ns": 1,
    "type": "note",
    "run_id": None,
    "data": {},
    "metadata": None,
    "version": 1,
}
APPENDED = answer(201, {"events": [EVENT], "next_after": 1})
NOT_READY = answer(503, {"status": "not ready", "reason": "draining"})
READY = answer(200, {"status": "ready", "reason": None})
IMPATIENT = attrs.evolve(HASTY, unreachable_seconds_max=0.05)


async def asked(work, *answers, loop="trio", limits=HASTY, token=None):
    """What ``work`` returns or raises with a client of a server with these answers; the requests
    that it got."""

    async def connected(address):
        with anyio.fail_after(PATIENCE_SECONDS):
            async with connect(address, limits=limits, token=token) as client:
                try:
                    return await work(client.handle("a"))
                except Exception as error:
                    return error

    async with answering(*answers) as server:
        result = await under(loop, partial(connected, server.address))
    return result, server.requests


def submit(session):
    return session.submit("x")


def append(session):
    return session.append("note", {})


@both_loops
async def test_a_submit_is_sent_again_with_the_same_key(loop):
    answers = (CUT, answer(502), problem(429, "too_many_requests"), answer(503), CUT, RUN)

    run, requests = await asked(submit, *answers, loop=loop)

    assert run.id == "r"
    assert len(requests) == 6
    assert len({headers["idempotency-key"] for _, headers, _ in requests}) == 1
    assert {body for *_, body in requests} == {requests[0][2]}


@both_loops
async def test_what_must_not_be_done_twice_is_sent_once(loop):
    error, requests = await asked(append, CUT, APPENDED, loop=loop)

    assert isinstance(error, ServerUnreachable)
    assert (error.written, len(requests)) == (None, 1)


async def test_a_proxy_that_lost_its_server_does_not_know_what_was_done():
    error, requests = await asked(append, answer(502), APPENDED)

    assert isinstance(error, ServerUnreachable)
    assert (error.written, len(requests)) == (None, 1)


async def test_what_was_refused_as_a_whole_is_sent_again():
    event, requests = await asked(
        append, answer(503), problem(429, "too_many_requests"), answer(408), APPENDED
    )

    assert event.type == "note"
    assert len(requests) == 4


@pytest.mark.parametrize("work", [submit, append])
async def test_a_server_that_drains_is_waited_for(work):
    refused = problem(503, "admission_closed", retry_after="0")
    done = RUN if work is submit else APPENDED

    result, requests = await asked(work, refused, NOT_READY, refused, CUT, done)

    assert not isinstance(result, Exception)
    assert [first.split()[1] for first, *_ in requests][1] == "/readyz"
    assert len(requests) == 5


async def test_a_session_that_is_drained_is_told_at_once():
    error, requests = await asked(submit, problem(503, "admission_closed"), READY)

    assert type(error) is AdmissionClosed
    assert len(requests) == 2


async def test_a_store_that_failed_is_told_as_unknown():
    error, _ = await asked(
        submit, problem(503, "store_failed"), answer(503, {"reason": "store_failed"})
    )

    assert type(error) is StoreFailed
    assert error.written is None


async def test_a_full_queue_is_for_the_caller_to_wait_for():
    error, requests = await asked(submit, problem(429, "queue_full", retry_after="1"))

    assert type(error) is QueueFull
    assert len(requests) == 1


async def test_it_gives_up_with_what_it_was_told_last():
    refused = (problem(429, "too_many_requests"),) * 100
    cut = (CUT,) * 100

    error, _ = await asked(submit, *refused, limits=IMPATIENT)
    other, _ = await asked(submit, *cut, limits=IMPATIENT)

    assert (type(error), error.code) == (RequestRefused, "too_many_requests")
    assert (type(other), other.written) == (ServerUnreachable, None)


@both_loops
async def test_where_nothing_listens_nothing_was_done(loop):
    async def work():
        async with connect(address, limits=IMPATIENT) as client:
            with pytest.raises(ServerUnreachable) as caught:
                await client.handle("a").append("note", {})
        return caught.value

    with socket.socket() as held:  # nobody else gets the port meanwhile
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        error = await under(loop, work)

    assert error.written is False


@pytest.mark.parametrize(
    "other", [answer(404), b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", answer(301)]
)
async def test_another_kind_of_server_is_told_as_such(other):
    error, requests = await asked(submit, other)

    assert (type(error), error.code) == (RequestRefused, "not_a_gateway")
    assert len(requests) == 1


async def test_an_answer_that_is_too_large_is_not_read():
    limits = ClientLimits(answer_bytes_max=1_000)
    error, _ = await asked(submit, answer(200, "x" * 10_000), limits=limits)

    assert type(error) is BufferFull
    assert error.name == "answer_bytes_max"


async def test_the_token_and_the_data_are_sent_as_the_gateway_reads_them():
    _, requests = await asked(lambda s: s.submit({"b": b"hi"}), RUN, token="secret")
    first, headers, body = requests[0]

    assert first == "POST /v1/sessions/a/runs HTTP/1.1"
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["input"] == {"b": {"$bytes": "aGk="}}


async def test_connections_are_counted():
    limits = ClientLimits(connections_max=1, connect_seconds_max=0.05)
    stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: open\n\n"

    async def work(session):
        async with session.subscribe():
            await session.submit("x")

    async with anyio.create_task_group() as tasks:
        error, _ = await asked(work, stream, limits=limits)
        tasks.cancel_scope.cancel()

    assert type(error) is BufferFull
    assert error.name == "connections_max"


def test_any_id_has_a_path():
    assert path_of("sessions", "a/b ü?#%") == "/v1/sessions/a%2Fb%20%C3%BC%3F%23%25"
    assert path_of("sessions", "..", "x.y") == "/v1/sessions/%2E%2E/x.y"


async def test_what_has_no_json_is_refused_before_it_is_sent():
    error, requests = await asked(lambda s: s.trim(before=float("nan")), RUN)

    assert type(error) is InvalidArgument
    assert requests == []


@both_loops
async def test_a_request_is_in_the_trace_of_its_caller(loop):
    provider = TracerProvider()

    async def submit_in_a_span(session):
        with provider.get_tracer("test").start_as_current_span("caller") as span:
            await session.submit("x")
            return span.get_span_context()

    context, ((_, headers, _),) = await asked(submit_in_a_span, RUN, loop=loop)
    provider.shutdown()

    flags = f"{context.trace_flags:02x}"
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"
    assert headers["traceparent"] == traceparent


async def test_without_a_trace_no_header_tells_of_one():
    _, ((_, headers, _),) = await asked(submit, RUN)

    assert "traceparent" not in headers


WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry"] = None
from moorage.adapters.gateways.http_client.transport import _trace_headers
print(_trace_headers())
"""


def test_nothing_is_imported_for_that():
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPENTELEMETRY], capture_output=True, text=True, timeout=60
    )

    assert result.stdout == "{}\n", result.stderr


class Server:
    """Requests of a transport end here: cut, or answered once ``is_there``."""

    def __init__(self):
        self.is_there = False

    async def __call__(self, request):
        if not self.is_there:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json={})


async def gone_after(transport):
    """For how many seconds it was tried."""
    began = trio.current_time()
    with pytest.raises(ServerUnreachable):
        await transport.call("GET", "/x", repeatable=True)
    return trio.current_time() - began


async def test_a_server_that_was_never_there_is_given_up_sooner_than_one_that_was(autojump_clock):
    server, told = Server(), []
    limits = ClientLimits(first_seconds_max=5.0, unreachable_seconds_max=60.0)
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        transport = Transport(client, "http://h:1", limits, None, told.append)
        never = await gone_after(transport)
        server.is_there = True
        await transport.call("GET", "/x", repeatable=True)
        server.is_there = False
        later = await gone_after(transport)

    assert (never, later) == (pytest.approx(5), pytest.approx(60))
    assert told == [5.0, 60.0]


async def test_a_server_that_is_back_at_once_is_not_told_of(autojump_clock):
    server, told = Server(), []
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        transport = Transport(client, "http://h:1", ClientLimits(), None, told.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(transport.call, "GET", "/x", repeatable=True))
            await trio.sleep(0.4)
            server.is_there = True

    assert told == []
