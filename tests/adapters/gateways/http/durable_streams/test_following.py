from __future__ import annotations

import base64
import json

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http.durable_streams.following import FOLLOWED_SECONDS

STREAM = "/v1/stream/s"
TEXT = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}


def told(content):
    """(event, data) of each block; control's as JSON."""
    found = []
    for block in content.decode().split("\n\n"):
        lines = block.split("\n")
        data = "\n".join(line[5:] for line in lines if line.startswith("data:"))
        kinds = [line[7:] for line in lines if line.startswith("event: ")]
        if kinds:
            found.append((kinds[0], json.loads(data) if kinds[0] != "data" else data))
    return found


async def test_what_is_there_comes_first_and_then_what_is_appended(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            backlog = told(await stream.receive_chunk())
            appended = await service.client("POST", STREAM, content=b"two\n", headers=TEXT)
            live = told(await stream.receive_chunk())

    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["x-content-type-options"] == "nosniff"
    assert [event for event, _ in backlog] == ["data", "control"]
    assert backlog[0][1] == "one"
    assert backlog[1][1].keys() == {"streamNextOffset", "streamCursor", "upToDate"}
    assert live[0] == ("data", "two\n")
    assert live[1][1]["streamNextOffset"] == appended.headers["stream-next-offset"]


async def test_who_is_at_the_end_is_told_so_at_once(serving):
    async with serving() as service:
        made = await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        end = made.headers["stream-next-offset"]
        for offset in (end, "now"):
            async with service.client.stream(f"{STREAM}?offset={offset}&live=sse") as stream:
                ((event, data),) = told(await stream.receive_chunk())

            assert event == "control"
            assert (data["streamNextOffset"], data["upToDate"]) == (end, True)


async def test_the_closing_ends_it_behind_everything(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            await stream.receive_chunk()
            await service.client(
                "POST", STREAM, content=b"last", headers=TEXT | {"stream-closed": "true"}
            )
            live = told(await stream.rest())
        async with service.client.stream(f"{STREAM}?offset=now&live=sse") as stream:
            late = told(await stream.rest())

    assert live[0] == ("data", "last")
    assert live[1] == late[0]
    assert live[1][1].keys() == {"streamNextOffset", "upToDate", "streamClosed"}


async def test_a_closing_without_content_is_told(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"x", headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=now&live=sse") as stream:
            await stream.receive_chunk()
            await service.client("POST", STREAM, headers={"stream-closed": "true"})
            ((event, data),) = told(await stream.rest())

    assert (event, data["streamClosed"]) == ("control", True)


async def test_a_large_backlog_comes_in_chunks_each_with_its_offset(serving):
    async with serving(limits=HttpLimits(chunk_bytes=100)) as service:
        await service.client("PUT", STREAM, headers=JSON)
        messages = [{"n": number, "text": "x" * 20} for number in range(40)]
        await service.client("POST", STREAM, messages)
        await service.client("POST", STREAM, headers={"stream-closed": "true"})
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            events = told(await stream.rest())

    controls = [data for event, data in events if event == "control"]
    parts = [json.loads(data) for event, data in events if event == "data"]
    offsets = [control["streamNextOffset"] for control in controls]
    assert len(parts) > 5
    assert [message for part in parts for message in part] == messages
    assert offsets == sorted(offsets)
    assert [control.get("upToDate", False) for control in controls[: len(parts)]] == (
        [False] * (len(parts) - 1) + [True]
    )


async def test_what_is_inherited_is_followed_by_the_forks_own(serving):
    async with serving(limits=HttpLimits(chunk_bytes=4)) as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        for text in (b"two", b"three"):
            await service.client("POST", STREAM, content=text, headers=TEXT)
        fork = {"stream-forked-from": STREAM}
        await service.client("PUT", "/v1/stream/f", content=b"own", headers=TEXT | fork)
        await service.client("POST", STREAM, content=b"later", headers=TEXT)
        async with service.client.stream("/v1/stream/f?offset=-1&live=sse") as stream:
            await service.client("POST", "/v1/stream/f", headers={"stream-closed": "true"})
            events = told(await stream.rest())

    assert "".join(data for event, data in events if event == "data") == "onetwothreeown"
    assert events[-1][1]["streamClosed"]


async def test_bytes_are_base64(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"\x00\xff", headers={"content-type": "a/b"})
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            (_, data), (control, _) = told(await stream.receive_chunk())

    assert stream.headers["stream-sse-data-encoding"] == "base64"
    assert (base64.b64decode(data), control) == (b"\x00\xff", "control")


async def test_a_session_is_followed_like_a_stream_until_it_is_closed(serving):
    async with serving() as service:
        await service.submit("s", "hello", prefer="wait=60")
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            backlog = told(await stream.receive_chunk())
            await service.client("POST", "/v1/sessions/s/close")
            rest = told(await stream.rest())
        page = (await service.client("GET", "/v1/sessions/s/events")).json()["events"]

    messages = [json.loads(data) for event, data in [*backlog, *rest] if event == "data"]
    assert [event for part in messages for event in part] == page
    assert rest[-1][1]["streamClosed"]


async def test_a_follower_is_sent_back_after_a_while_and_goes_on_where_it_was(
    serving, autojump_clock
):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        began = trio.current_time()
        async with service.client.stream(f"{STREAM}?offset=-1&live=sse") as stream:
            content = await stream.rest()
        took = trio.current_time() - began
        events = told(content)
        await service.client("POST", STREAM, content=b"two", headers=TEXT)
        offset = events[-1][1]["streamNextOffset"]
        cursor = events[-1][1]["streamCursor"]
        again = f"{STREAM}?offset={offset}&live=sse&cursor={cursor}"
        async with service.client.stream(again) as stream:
            more = told(await stream.receive_chunk())

    assert took == pytest.approx(FOLLOWED_SECONDS)
    assert b": heartbeat\n\n" in content
    assert more[0] == ("data", "two")
    assert int(more[1][1]["streamCursor"]) > int(cursor)


async def test_a_stream_that_is_deleted_ends_with_a_problem(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=now&live=sse") as stream:
            await stream.receive_chunk()
            await service.client("DELETE", STREAM)
            ((event, data),) = told(await stream.rest())

    assert (event, data["code"]) == ("problem", "unknown_session")


async def test_a_drain_ends_followers_without_closing_the_stream(serving, autojump_clock):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=now&live=sse") as stream:
            await stream.receive_chunk()
            await service.app.drain(timeout_seconds=0)
            rest = await stream.rest()

    assert rest == b""


async def test_a_heartbeat_that_nobody_takes_cuts_the_stream(serving, autojump_clock):
    limits = HttpLimits(heartbeat_seconds=15, stall_seconds_max=20)
    async with serving(limits=limits) as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        async with service.client.stream(f"{STREAM}?offset=now&live=sse") as stream:
            await stream.receive_chunk()
            begun = trio.current_time()
            await stream.ended.wait()

            assert trio.current_time() - begun == pytest.approx(35, abs=0.1)
            assert service.app.state.streams == 0
