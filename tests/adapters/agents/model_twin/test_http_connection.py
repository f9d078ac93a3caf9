from __future__ import annotations

import gzip
import subprocess
import sys
import zlib

import pytest
import trio
from moorage.adapters.agents.model_twin import ModelTwin, Text, http_connection
from moorage.adapters.agents.model_twin.http_connection import RequestRefused, decoded

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/messages"


async def test_a_connection_takes_one_request_after_the_other(connect):
    async with ModelTwin(["one", "two"]).serving() as twin, connect(twin) as client:
        texts = []
        for stream in (False, True):
            await client.send(PATH, {**ASK, "stream": stream})
            texts.append((await client.receive()).body)

        assert b'"one"' in texts[0]
        assert b'"two"' in texts[1]
        assert twin.statistics().connections == 1


async def test_a_client_that_asks_to_close_is_closed(connect):
    async with ModelTwin(["one"]).serving() as twin, connect(twin) as client:
        await client.send(PATH, ASK, connection="close")
        answer = await client.receive()

        assert answer.whole
        assert await client.stream.receive_some() == b""


async def test_a_chunked_body_is_read_whole(ask):
    async with ModelTwin(["one"]).serving() as twin:
        await ask(twin, PATH, ASK, transfer_encoding="chunked")

    assert twin.requests[0].texts == [("user", "hi")]
    assert twin.requests[0].headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    ],
)
async def test_an_encoded_body_is_decoded(ask, encoding, pack):
    body = pack(b'{"model": "packed"}')

    async with ModelTwin(["one"]).serving() as twin:
        await ask(twin, PATH, body, content_encoding=encoding)

    assert twin.requests[0].model == "packed"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-9], 400),
    ],
)
async def test_a_body_in_no_known_encoding_is_refused_with_the_reason(ask, encoding, body, status):
    async with ModelTwin(["one"]).serving() as twin:
        answer = await ask(twin, PATH, body, content_encoding=encoding)

    assert answer.status == status
    assert encoding in answer.json["error"]
    assert twin.requests == []


async def test_a_body_over_the_limit_is_refused(ask, monkeypatch):
    monkeypatch.setattr(http_connection, "BODY_BYTES_MAX", 1_000)

    async with ModelTwin(["one"]).serving() as twin:
        answer = await ask(twin, PATH, b"x" * 1_001)

    assert answer.status == 413
    assert "1000 bytes" in answer.json["error"]


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(http_connection, "BODY_BYTES_MAX", 1_000)

    with pytest.raises(RequestRefused, match="1000 bytes") as caught:
        decoded(gzip.compress(b"x" * 1_001), "gzip")

    assert caught.value.status == 413


async def test_a_client_that_waits_to_be_told_to_go_on_is_told(connect):
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"
    head += b"expect: 100-continue\r\n\r\n"

    async with ModelTwin(["one"]).serving() as twin, connect(twin) as client:
        await client.stream.send_all(head)
        told = bytes(await client.stream.receive_some())
        await client.stream.send_all(b"{}")
        answer = bytes(await client.stream.receive_some())

    assert told.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_speaks_no_http_is_told_so(connect):
    async with ModelTwin(["one"]).serving() as twin, connect(twin) as client:
        await client.stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        answer = bytes(await client.stream.receive_some())

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"this is no HTTP" in answer
        assert twin.all_requests == []


async def test_a_client_that_leaves_in_the_middle_of_its_request_harms_nobody(connect, ask):
    async with ModelTwin(["one"]).serving() as twin:
        async with connect(twin) as client:
            await client.stream.send_all(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n")
        answer = await ask(twin, PATH, ASK)

    assert answer.status == 200
    assert len(twin.all_requests) == 1


async def test_a_client_that_does_not_read_holds_nobody_up(connect, ask):
    script = [Text("x" * 8_000_000), "short"]

    async with ModelTwin(script).serving() as twin, connect(twin) as slow:
        await slow.send(PATH, {**ASK, "stream": True})
        await twin.wait_requests(1)
        answer = await ask(twin, PATH, ASK)

    assert b"short" in answer.body


async def test_a_head_request_gets_a_head_alone(connect):
    async with ModelTwin().serving() as twin, connect(twin) as client:
        for _ in range(2):
            await client.send("/", None, "HEAD")
            answer = await client.receive()

            assert (answer.status, answer.body) == (200, b"")


async def test_leaving_ends_connections_without_waiting_for_their_clients():
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n"
    with trio.fail_after(5):
        async with ModelTwin(["x" * 8_000_000]).serving() as twin:
            port = int(twin.url.rpartition(":")[2])
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
            await streams[0].send_all(head + b'{"stream": true}')
            await streams[1].send_all(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await streams[1].receive_some()
            await twin.wait_requests(1)

            assert twin.statistics().connections_open == 2
            left_at = trio.current_time()

    assert twin.statistics().connections_open == 0
    assert trio.current_time() - left_at < 0.5
    for stream in streams:
        await stream.aclose()


def test_without_h11_it_is_told_what_to_install():
    program = "import sys; sys.modules['h11'] = None; import moorage.adapters.agents.model_twin"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == 1
    assert "pip install 'moorage[twin]'" in ended.stderr
