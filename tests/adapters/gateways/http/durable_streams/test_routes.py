from __future__ import annotations

import json
from functools import partial

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits

STREAM = "/v1/stream/s"
TEXT = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}
ZERO = "0000000000000000_0000000000000000"


def producing(seq, epoch=0, id="p", **more):
    named = {name.replace("_", "-"): value for name, value in more.items()}
    told = {"producer-id": id, "producer-epoch": str(epoch), "producer-seq": str(seq)}
    return TEXT | told | named


async def test_a_stream_is_made_appended_to_read_and_deleted(serving):
    async with serving() as service:
        ask = service.client
        made = await ask("PUT", "/v1/stream/a%2Fb", content=b"one", headers=TEXT)
        again = await ask("PUT", "/v1/stream/a%2Fb", content=b"one", headers=TEXT)
        appended = await ask("POST", "/v1/stream/a%2Fb", content=b"two", headers=TEXT)
        head = await ask("HEAD", "/v1/stream/a%2Fb")
        whole = await ask("GET", "/v1/stream/a%2Fb")
        rest = await ask("GET", f"/v1/stream/a%2Fb?offset={made.headers['stream-next-offset']}")
        info = await service.supervisor.handle("a/b").info()
        gone = await ask("DELETE", "/v1/stream/a%2Fb")
        after = await ask("GET", "/v1/stream/a%2Fb")

    assert made.status == 201
    assert made.headers["location"] == "http://127.0.0.1:8040/v1/stream/a%2Fb"
    assert (again.status, "location" in again.headers) == (200, False)
    assert (appended.status, appended.content) == (204, b"")
    end = appended.headers["stream-next-offset"]
    assert head.headers["stream-next-offset"] == whole.headers["stream-next-offset"] == end
    assert head.headers["cache-control"] == "no-store"
    assert (whole.content, rest.content) == (b"onetwo", b"two")
    assert whole.headers["content-type"] == "text/plain"
    assert whole.headers["stream-up-to-date"] == "true"
    assert info.tags == {"moorage.stream": "raw"}
    assert (gone.status, after.code) == (204, "unknown_session")
    assert after.headers["x-content-type-options"] == "nosniff"


async def test_messages_come_as_an_array_whatever_way_they_went(serving):
    async with serving() as service:
        ask = service.client
        await ask("PUT", STREAM, content=b"[]", headers=JSON)
        empty = await ask("GET", STREAM)
        for body in (b'{"a": 1}', b"[2,[3]]", b"[[4]]"):
            await ask("POST", STREAM, content=body, headers=JSON)
        whole = await ask("GET", STREAM)
        refused = [
            await ask("POST", STREAM, content=body, headers=JSON) for body in (b"[]", b"{", b"")
        ]

    assert empty.content == b"[]"
    assert whole.json() == [{"a": 1}, 2, [3], [4]]
    assert [answer.code for answer in refused] == ["malformed_request"] * 3


async def test_a_producer_is_told_how_its_append_went(serving):
    async with serving() as service:
        ask = partial(service.client, "POST", STREAM)
        await service.client("PUT", STREAM, headers=TEXT)
        new = await ask(content=b"a", headers=producing(0))
        again = await ask(content=b"a", headers=producing(0))
        gap = await ask(content=b"c", headers=producing(2))
        closing = await ask(headers=producing(0, 1, stream_closed="true"))
        stale = await ask(content=b"b", headers=producing(1))
        closed = await ask(content=b"b", headers=producing(1, 1))
        whole = await service.client("GET", STREAM)

    assert (new.status, again.status, closing.status) == (200, 204, 204)
    assert again.headers["producer-seq"] == "0"
    assert (gap.status, gap.headers["producer-expected-seq"]) == (409, "1")
    assert (closing.headers["stream-closed"], closing.headers["producer-epoch"]) == ("true", "1")
    assert (stale.status, stale.headers["producer-epoch"]) == (403, "1")
    assert (closed.code, closed.headers["stream-closed"]) == ("stream_closed", "true")
    assert closed.headers["stream-next-offset"] == new.headers["stream-next-offset"]
    assert whole.content == b"a"


async def test_what_does_not_fit_the_stream_is_refused_and_changes_nothing(serving):
    async with serving() as service:
        ask = partial(service.client, "POST", STREAM)
        await service.client("PUT", STREAM, headers=TEXT)
        await ask(content=b"a", headers=TEXT | {"stream-seq": "b"})
        before = (await service.supervisor.handle("s").info()).head_seq
        codes = [
            (await ask(content=b"x", headers=headers)).code
            for headers in (
                JSON,
                {"content-type": "nonsense"},
                {"content-type": ""},
                TEXT | {"stream-seq": "a"},
                TEXT | {"producer-id": "p"},
                producing(0, id=""),
                producing("x"),
            )
        ]
        after = (await service.supervisor.handle("s").info()).head_seq

    assert codes == [
        "content_type_mismatch",
        "malformed_request",
        "malformed_request",
        "writer_seq_regression",
        *["malformed_request"] * 3,
    ]
    assert before == after


@pytest.mark.parametrize(
    "query",
    [
        "offset=",
        "offset=x",
        "offset=-1&offset=-1",
        "offset=0000000000000000_0000000000000999",
        "live=sse",
        "live=long-poll",
        "offset=-1&live=maybe",
        "offset=-1&live=sse&cursor=x",
        "offset=-1&live=long-poll&cursor=x",
    ],
)
async def test_a_place_that_makes_no_sense_is_refused(serving, query):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"x", headers=TEXT)
        answer = await service.client("GET", f"{STREAM}?{query}")

    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    "headers",
    [
        {"stream-ttl": "x"},
        {"stream-ttl": "1", "stream-expires-at": "2040-01-01T00:00:00Z"},
        {"stream-expires-at": "soon"},
        {"stream-fork-offset": ZERO},
        {"stream-forked-from": "elsewhere"},
        {"content-type": "nonsense"},
    ],
)
async def test_a_stream_that_makes_no_sense_is_not_made(serving, headers):
    async with serving() as service:
        answer = await service.client("PUT", STREAM, headers=headers)
        there = await service.client("HEAD", STREAM)

    assert (answer.status, answer.code) == (400, "malformed_request")
    assert there.status == 404


async def test_unknown_parameters_are_ignored_and_what_is_read_has_a_tag(serving):
    async with serving() as service:
        ask = service.client
        await ask("PUT", STREAM, content=b"one", headers=TEXT)
        first = await ask("GET", f"{STREAM}?colour=red")
        known = {"if-none-match": first.headers["etag"]}
        same = await ask("GET", STREAM, headers=known)
        await ask("POST", STREAM, headers={"stream-closed": "true"})
        changed = await ask("GET", STREAM, headers=known)

    assert first.status == 200
    assert (same.status, same.content) == (304, b"")
    assert (changed.status, changed.headers["stream-closed"]) == (200, "true")


async def test_a_large_stream_is_read_part_by_part_and_closed_at_its_end_only(serving):
    async with serving(limits=HttpLimits(chunk_bytes=1_000)) as service:
        ask = service.client
        body = bytes(range(256)) * 1_000
        closed = {"content-type": "a/b", "stream-closed": "true"}
        await ask("PUT", STREAM, content=body, headers=closed)
        got, offset, answers = b"", "-1", []
        while not answers or "stream-up-to-date" not in answers[-1].headers:
            answers.append(await ask("GET", f"{STREAM}?offset={offset}"))
            got += answers[-1].content
            offset = answers[-1].headers["stream-next-offset"]

    assert got == body
    assert len(answers) == 4
    assert ["stream-closed" in answer.headers for answer in answers] == [False] * 3 + [True]


async def test_a_long_poll_waits_for_something_new(serving, autojump_clock):
    got = []
    async with serving(limits=HttpLimits(long_poll_seconds=20)) as service:
        ask = service.client
        await ask("PUT", STREAM, content=b"one", headers=TEXT)

        async def poll():
            got.append(await ask("GET", f"{STREAM}?offset=now&live=long-poll"))

        at_once = await ask("GET", f"{STREAM}?offset=-1&live=long-poll")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(19)
            await ask("POST", STREAM, content=b"two", headers=TEXT)
        began = trio.current_time()
        await poll()
        waited = trio.current_time() - began
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(1)
            await ask("POST", STREAM, headers={"stream-closed": "true"})
        await poll()

    news, nothing, closing, closed = got
    assert (at_once.status, at_once.content) == (200, b"one")
    assert int(at_once.headers["stream-cursor"]) > 0
    assert (news.status, news.content) == (200, b"two")
    assert (nothing.status, waited) == (204, pytest.approx(20))
    assert nothing.headers["stream-next-offset"] == news.headers["stream-next-offset"]
    assert nothing.headers["stream-up-to-date"] == "true"
    assert closing.status == closed.status == 204
    assert closing.headers["stream-closed"] == closed.headers["stream-closed"] == "true"


async def test_who_polls_a_stream_that_is_deleted_is_told(serving, autojump_clock):
    got = []
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)

        async def poll():
            got.append(await service.client("GET", f"{STREAM}?offset=now&live=long-poll"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(1)
            await service.client("DELETE", STREAM)

    assert [answer.code for answer in got] == ["unknown_session"]


async def test_a_session_with_runs_is_read_and_not_written(serving):
    async with serving() as service:
        ask = service.client
        await service.submit("s", "hello", prefer="wait=60")
        head = await ask("HEAD", STREAM)
        whole = await ask("GET", STREAM)
        page = (await ask("GET", "/v1/sessions/s/events")).json()["events"]
        put = await ask("PUT", STREAM, headers=JSON)
        post = await ask("POST", STREAM, {"x": 1})
        delete = await ask("DELETE", STREAM)
        same = (await service.supervisor.handle("s").info()).head_seq

    assert whole.json() == page
    assert whole.headers["content-type"] == head.headers["content-type"] == "application/json"
    assert head.headers["stream-next-offset"] == whole.headers["stream-next-offset"]
    assert (put.code, post.code, delete.code) == ("stream_conflict", *["method_not_allowed"] * 2)
    assert post.headers["allow"] == "GET, HEAD"
    assert same == len(page)


async def test_a_stream_shows_its_lifetime_and_is_gone_behind_it(serving):
    async with serving() as service:
        ask = service.client
        later = "2100-01-01T00:00:00Z"
        await ask("PUT", STREAM, headers={"stream-ttl": "60"})
        await ask("PUT", "/v1/stream/t", headers={"stream-expires-at": later})
        heads = [await ask("HEAD", "/v1/stream/s"), await ask("HEAD", "/v1/stream/t")]
        now_ns = service.app.state.time_ns()
        service.app.state.time_ns = lambda: now_ns + 61 * 10**9
        gone = await ask("GET", STREAM)
        again = await ask("PUT", STREAM, headers=JSON)

    assert heads[0].headers["stream-ttl"] == "60"
    assert heads[1].headers["stream-expires-at"] == later
    assert (gone.status, again.status) == (404, 201)


async def test_a_draining_server_makes_no_streams_and_keeps_nobody_waiting(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        service.app.state.draining = True
        made = await service.client("PUT", "/v1/stream/t")
        waiting = await service.client("GET", f"{STREAM}?offset=now&live=long-poll")
        read = await service.client("GET", STREAM)

    assert (made.code, waiting.code, read.content) == ("admission_closed",) * 2 + (b"one",)


async def test_a_fork_of_a_deleted_stream_reads_on(serving):
    async with serving() as service:
        ask = service.client
        await ask("PUT", STREAM, content=b"one", headers=TEXT)
        forked = {"stream-forked-from": STREAM, "stream-fork-offset": ZERO}
        fork = await ask("PUT", "/v1/stream/f", headers=forked | {"stream-fork-sub-offset": "2"})
        await ask("PUT", "/v1/stream/g", headers={"stream-forked-from": STREAM})
        await ask("DELETE", STREAM)
        gone = await ask("GET", STREAM)
        whole = [await ask("GET", f"/v1/stream/{name}") for name in "fg"]

    assert (fork.status, fork.headers["content-type"]) == (201, "text/plain")
    assert (gone.status, gone.code) == (410, "session_deleted")
    assert [answer.content for answer in whole] == [b"on", b"one"]


async def test_a_page_of_another_origin_may_ask_for_what_changes(serving):
    origin = "https://console.example"
    async with serving(cors=[origin]) as service:
        preflight = await service.client(
            "OPTIONS",
            STREAM,
            headers={
                "origin": origin,
                "access-control-request-method": "GET",
                "access-control-request-headers": "if-none-match, producer-id",
            },
        )
        read = await service.client("HEAD", STREAM, headers={"origin": origin})

    assert preflight.status == 200
    assert "stream-next-offset" in read.headers["access-control-expose-headers"]


async def test_what_is_kept_is_json_that_anybody_may_read_in_the_log(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b'[{"a": 1.0}]', headers=JSON)
        page = await service.client("GET", "/v1/sessions/s/events?types=stream_appended")

    (event,) = page.json()["events"]
    assert json.loads(event["data"]["content"]) == {"a": 1.0}
    assert event["data"]["content"] == '{"a": 1.0}'
