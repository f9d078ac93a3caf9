from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.model_twin import (
    Cut,
    Garbage,
    HttpError,
    ModelTwin,
    Stall,
    Text,
)

STREAM = {"model": "m", "stream": True, "messages": [], "input": "hi"}
WHOLE = {**STREAM, "stream": False}
PATHS = ("/v1/messages", "/v1/responses", "/v1/chat/completions")
every_dialect = pytest.mark.parametrize("path", PATHS)


@every_dialect
async def test_a_429_says_when_to_come_again(ask, path):
    script = [HttpError(429, retry_after=1), HttpError(503, retry_after=0.5)]

    async with ModelTwin(script).serving() as twin:
        answers = [await ask(twin, path, STREAM) for _ in script]

    assert [answer.status for answer in answers] == [429, 503]
    assert [answer.headers["retry-after"] for answer in answers] == ["1", "0.5"]
    assert [request.status for request in twin.requests] == [429, 503]


async def test_an_error_can_have_headers_and_a_body_of_its_own(ask):
    error = HttpError(502, headers={"Content-Type": "text/html"}, body=b"<html>")

    async with ModelTwin([error]).serving() as twin:
        answer = await ask(twin, "/v1/messages", WHOLE)

    assert (answer.status, answer.body) == (502, b"<html>")
    assert answer.headers["content-type"] == "text/html"


async def test_an_error_anywhere_is_all_there_is_without_a_stream(ask):
    async with ModelTwin([["Hello", HttpError(500)]]).serving() as twin:
        answer = await ask(twin, "/v1/messages", WHOLE)

    assert answer.status == 500
    assert b"Hello" not in answer.body


@every_dialect
@pytest.mark.parametrize("body", [STREAM, WHOLE])
async def test_a_cut_that_comes_first_leaves_no_head(ask, path, body):
    async with ModelTwin([Cut()]).serving() as twin:
        with pytest.raises((ConnectionResetError, trio.BrokenResourceError)):
            await ask(twin, path, body)

    assert (twin.requests[0].outcome, twin.requests[0].status) == ("cut", None)


@every_dialect
@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_in_mid_stream_comes_behind_what_was_said(ask, path, reset):
    async with ModelTwin([["Hello", Cut(reset=reset), "never"]]).serving() as twin:
        answer = await ask(twin, path, STREAM)

    assert (answer.status, answer.whole) == (200, False)
    assert b"Hello" in answer.body
    assert b"never" not in answer.body
    assert twin.requests[0].outcome == "cut"


async def test_a_cut_without_a_stream_comes_in_the_middle_of_the_body(ask):
    async with ModelTwin([["Hello", Cut()]]).serving() as twin:
        answer = await ask(twin, "/v1/messages", WHOLE)

    assert not answer.whole
    assert 0 < len(answer.body) < int(answer.headers["content-length"])


async def test_a_reset_is_a_reset_and_a_close_is_not(connect):
    async with ModelTwin([Cut(), Cut(reset=False)]).serving() as twin:
        async with connect(twin) as client:
            await client.send("/v1/messages", WHOLE)
            with pytest.raises(trio.BrokenResourceError):
                await client.stream.receive_some()
        async with connect(twin) as client:
            await client.send("/v1/messages", WHOLE)

            assert await client.stream.receive_some() == b""


async def test_garbage_that_comes_first_is_all_there_is(connect):
    script = [Garbage(b"\x00\x01 no http")]

    async with ModelTwin(script).serving() as twin, connect(twin) as client:
        await client.send("/v1/messages", STREAM)
        received = b"".join([bytes(chunk) async for chunk in client.stream])

    assert received == b"\x00\x01 no http"
    assert twin.requests[0].outcome == "cut"


@every_dialect
@pytest.mark.parametrize("body", [STREAM, WHOLE])
async def test_garbage_behind_a_text_is_in_the_body(ask, path, body):
    async with ModelTwin([["Hello", Garbage(b"data: {no json\n\n")]]).serving() as twin:
        answer = await ask(twin, path, body)

    assert answer.whole
    assert b"data: {no json\n\n" in answer.body


@every_dialect
@pytest.mark.parametrize("body", [STREAM, WHOLE])
@pytest.mark.parametrize("script", [[Stall(0.05), "a"], ["a", Stall(0.05)]])
async def test_a_stall_takes_its_time_and_goes_on(ask, path, body, script):
    async with ModelTwin([script]).serving() as twin:
        began = trio.current_time()
        answer = await ask(twin, path, body)

    assert trio.current_time() - began >= 0.05
    assert answer.whole
    assert twin.requests[0].outcome == "answered"


async def test_what_was_said_before_a_stall_is_seen_during_it(connect):
    async with ModelTwin([["Hello", Stall()]]).serving() as twin, connect(twin) as client:
        await client.send("/v1/messages", STREAM)
        received = b""
        while b"Hello" not in received:
            received += bytes(await client.stream.receive_some())

        assert twin.requests[0].outcome == "open"


@every_dialect
@pytest.mark.parametrize("body", [STREAM, WHOLE])
@pytest.mark.parametrize("script", [[Stall()], [Stall(3_600)], ["a", Stall()]])
async def test_a_stall_ends_when_the_client_leaves(connect, path, body, script):
    async with ModelTwin([script]).serving() as twin:
        async with connect(twin) as client:
            await client.send(path, body)
            (request,) = await twin.wait_requests(1)
        await twin.wait_answered(request)

    assert request.outcome == "client_left"


async def test_a_client_that_leaves_while_much_is_sent_is_noticed(connect):
    async with ModelTwin(["x" * 8_000_000]).serving() as twin:
        async with connect(twin) as client:
            await client.send("/v1/messages", STREAM)
            (request,) = await twin.wait_requests(1)
        await twin.wait_answered(request)

    assert request.outcome == "client_left"


async def test_pieces_come_one_by_one(ask):
    text = Text("abcd", pieces=4, seconds_between=0.02)

    async with ModelTwin([text]).serving() as twin:
        began = trio.current_time()
        answer = await ask(twin, "/v1/messages", STREAM)

    deltas = [event["delta"] for event in answer.events if event["type"] == "content_block_delta"]
    assert [delta["text"] for delta in deltas] == ["a", "b", "c", "d"]
    assert trio.current_time() - began >= 0.06


async def test_a_stream_has_a_name_in_its_head(ask):
    async with ModelTwin(["a"]).serving() as twin:
        answer = await ask(twin, "/v1/messages", STREAM)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["request-id"] == answer.headers["x-request-id"] == "twin_1"
