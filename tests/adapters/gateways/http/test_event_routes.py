from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.reading import SessionReader

from tests.adapters.gateways.http import service as services

EVENTS = "/v1/sessions/a/events"


async def test_pages_go_forwards_and_backwards(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 10}, prefer="wait=60")
        first = (await service.client("GET", f"{EVENTS}?limit=4")).json()
        then = (await service.client("GET", f"{EVENTS}?after={first['next_after']}&limit=3")).json()
        last = (await service.client("GET", f"{EVENTS}?before=10&limit=2")).json()

    assert [event["seq"] for event in first["events"]] == [1, 2, 3, 4]
    assert [event["seq"] for event in then["events"]] == [5, 6, 7]
    assert [event["seq"] for event in last["events"]] == [8, 9]


async def test_types_and_run_id_filter(serving):
    async with serving() as service:
        first = await service.submit("a", 1, prefer="wait=60")
        await service.submit("a", 2, prefer="wait=60")
        query = f"types=run_started,run_completed&types=run_submitted&run_id={first['run_id']}"
        page = (await service.client("GET", f"{EVENTS}?{query}")).json()

    assert [event["type"] for event in page["events"]] == [
        "run_submitted",
        "run_started",
        "run_completed",
    ]
    assert {event["run_id"] for event in page["events"]} == {first["run_id"]}


async def test_a_long_poll_waits_for_an_event_that_matches(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")
        answers = []

        async def poll():
            answers.append(
                await service.client("GET", f"{EVENTS}?after=1&types=note&wait_seconds=60")
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            for type in ("other", "note"):
                await trio.sleep(5)
                assert answers == []
                await service.supervisor.handle("a").append(type, {})

    assert trio.current_time() < 60
    assert [event["type"] for event in answers[0].json()["events"]] == ["note"]
    assert answers[0].json()["next_after"] == 3


@pytest.mark.parametrize("query", ["types=nothing", "run_id=run_none"])
async def test_an_empty_page_of_what_is_filtered_goes_on_behind_what_was_looked_at(serving, query):
    async with serving() as service:
        await service.submit("a", {"deltas": 10}, prefer="wait=60")
        head_seq = (await service.supervisor.handle("a").info()).head_seq
        page = (await service.client("GET", f"{EVENTS}?{query}")).json()
        again = (await service.client("GET", f"{EVENTS}?{query}&after={head_seq}")).json()
        backwards = (await service.client("GET", f"{EVENTS}?{query}&before=5")).json()

    assert head_seq > 10
    assert page == again == {"events": [], "next_after": head_seq}
    assert backwards["next_after"] == 0


async def test_what_is_recorded_while_a_page_is_read_is_not_skipped(serving, monkeypatch):
    read = SessionReader.events

    async def events(self, **filters):
        found = await read(self, **filters)
        await service.supervisor.handle("a").append("note", {})
        return found

    async with serving() as service:
        await service.supervisor.session("a")
        monkeypatch.setattr(SessionReader, "events", events)
        page = (await service.client("GET", f"{EVENTS}?types=note")).json()
        monkeypatch.undo()
        then = await service.client("GET", f"{EVENTS}?types=note&after={page['next_after']}")

    assert page == {"events": [], "next_after": 1}
    assert [event["seq"] for event in then.json()["events"]] == [2]


async def test_a_filtered_long_poll_that_finds_nothing_goes_on_behind_its_beginning(
    serving, autojump_clock
):
    async with serving() as service:
        session = await service.supervisor.session("a")
        pages = []

        async def poll():
            pages.append(await service.client("GET", f"{EVENTS}?types=note&wait_seconds=20"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(5)
            await session.append("other", {})

    assert pages[0].json() == {"events": [], "next_after": 1}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{EVENTS}?after=banana", "a seq or head"),
        ("/v1/sessions?tags=plan", "NAME=VALUE"),
        ("/v1/search/runs?tags=plan", "NAME=VALUE"),
    ],
)
async def test_what_a_text_should_be_is_told_in_words(serving, path, expected):
    async with serving() as service:
        answer = await service.client("GET", path)

    assert answer.status == 422
    assert answer.json()["detail"].endswith(f"expected {expected}")


async def test_a_long_poll_that_finds_nothing_ends_in_time(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")
        begun = trio.current_time()
        answer = await service.client("GET", f"{EVENTS}?after=head&wait_seconds=20")

        assert trio.current_time() - begun == pytest.approx(20)
    assert answer.json() == {"events": [], "next_after": 1}


async def test_a_long_poll_ends_when_the_server_drains(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.client, "GET", f"{EVENTS}?after=1&wait_seconds=300")
            await trio.sleep(1)
            await service.app.drain(timeout_seconds=0)

        assert trio.current_time() < 10


async def test_what_the_host_appends_is_numbered_and_all_or_nothing(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        new = [{"type": "note", "data": {"n": n}, "metadata": {"by": "me"}} for n in range(3)]
        appended = await service.client("POST", EVENTS, {"events": new})
        refused = await service.client(
            "POST", EVENTS, {"events": [*new, {"type": "run_completed", "data": {}}]}
        )
        page = (await service.client("GET", f"{EVENTS}?after=1")).json()

    assert appended.status == 201
    assert [event["seq"] for event in appended.json()["events"]] == [2, 3, 4]
    assert page["events"] == appended.json()["events"]
    assert (refused.status, refused.code) == (422, "invalid_argument")


async def test_an_unknown_session_has_no_events_of_any_kind(serving):
    async with serving() as service:
        told = [
            await service.client("GET", f"/v1/sessions/b/events{query}")
            for query in ("", "?after=head", "?before=9", "?wait_seconds=1")
        ]
        async with service.client.stream("/v1/sessions/b/events") as stream:
            told_status = stream.status

    assert {(answer.status, answer.code) for answer in told} == {(404, "unknown_session")}
    assert told_status == 404


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=tail",
        "after=1.5",
        "after=99999999999999999999",
        "before=0",
        "limit=0",
        "limit=10001",
        "wait_seconds=-1",
        "wait_seconds=nan",
        "wait_seconds=301",
        "types=",
        "after=1&after=2",
        "run_id=",
    ],
)
async def test_values_that_cannot_be_are_refused_by_name(serving, query):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("GET", f"{EVENTS}?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert answer.json()["facts"]["errors"][0]["field"] == query.partition("=")[0]


async def test_a_stream_takes_no_parameters_of_pages(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client(
            "GET", f"{EVENTS}?limit=5", headers={"accept": "text/event-stream"}
        )

    assert (answer.status, answer.json()["facts"]["errors"][0]["field"]) == (422, "limit")


@pytest.mark.parametrize("last", ["x", "-1", "1.0", "٣", "99999999999999999999", "1 ", "0x1"])
async def test_a_last_event_id_that_is_no_seq_is_refused(serving, last):
    async with serving() as service:
        await service.supervisor.session("a")
        client = service.client
        scope = client.scope("GET", EVENTS, {"accept": "text/event-stream"})
        scope["headers"].append((b"last-event-id", last.encode()))
        messages = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            messages.append(message)

        await service.app(scope, receive, send)

    assert messages[0]["status"] == 422
    assert b"Last-Event-ID" in messages[1]["body"]


async def test_a_cursor_of_the_future_is_refused(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client(
            "GET", EVENTS, headers={"accept": "text/event-stream", "last-event-id": "7"}
        )

    assert (answer.status, answer.code) == (422, "invalid_argument")
    assert "beyond the head" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["", "&wait_seconds=60", "&types=note", "&before=9"])
async def test_a_page_behind_a_cursor_of_the_future_is_refused_at_once(
    serving, autojump_clock, query
):
    async with serving() as service:
        await service.supervisor.session("a")
        at_head = await service.client("GET", f"{EVENTS}?after=1")
        beyond = await service.client("GET", f"{EVENTS}?after=2{query}")
        streamed = await service.client(
            "GET", f"{EVENTS}?after=2", headers={"accept": "text/event-stream"}
        )

    assert at_head.json() == {"events": [], "next_after": 1}
    assert (beyond.status, beyond.code) == (422, "invalid_argument")
    assert beyond.json()["detail"] == streamed.json()["detail"]
    assert trio.current_time() < 60


async def test_a_browser_that_has_all_of_a_closed_session_is_told_not_to_come_back(serving):
    async with serving() as service:
        session = await service.supervisor.session("a")
        await session.close()
        head = (await session.info()).head_seq
        answer = await service.client(
            "GET", EVENTS, headers={"accept": "text/event-stream", "last-event-id": str(head)}
        )

    assert (answer.status, answer.content) == (204, b"")


@given(
    last=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30),
    query=st.text(
        st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters=" "),
        max_size=40,
    ),
    accept=st.sampled_from(["text/event-stream", "application/x-ndjson", "*/*", ""]),
)
async def test_no_cursor_and_no_query_makes_the_server_fail(last, query, accept):
    async with services.serving() as service:
        session = await service.supervisor.session("a")
        await session.close()
        headers = {"accept": accept, "last-event-id": last}
        with trio.fail_after(60):
            answer = await service.client("GET", f"{EVENTS}?{query}", headers=headers)

    assert answer.status in (200, 204, 400, 404, 410, 422)
