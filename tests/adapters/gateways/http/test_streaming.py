from __future__ import annotations

import json
from functools import partial

import pytest
import trio
import trio.testing
from moorage.adapters.gateways.http import HttpLimits
from moorage.runtime import SupervisorLimits

from tests.adapters.gateways.http.asgi_client import sse_events

EVENTS = "/v1/sessions/a/events"


def seqs(blocks):
    return [int(block["id"]) for block in blocks if "data" in block and "event" not in block]


async def test_the_backlog_comes_first_and_then_what_happens(serving):
    async with serving() as service:
        session = await service.supervisor.session("a")
        async with service.client.stream(EVENTS) as stream:
            (opened,) = sse_events(await stream.receive_chunk())
            await session.append("note", {"text": "line one\nline two"})
            (note,) = sse_events(await stream.receive_chunk())

    assert stream.headers["content-type"] == "text/event-stream"
    assert (opened["id"], opened["data"]["type"]) == ("1", "session_opened")
    assert (note["id"], note["data"]["seq"]) == ("2", 2)
    assert note["data"]["data"] == {"text": "line one\nline two"}


async def test_events_are_the_same_in_pages_streams_and_lines(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 3}, prefer="wait=60")
        await service.client("POST", "/v1/sessions/a/close")
        page = (await service.client("GET", EVENTS)).json()["events"]
        async with service.client.stream(EVENTS) as stream:
            streamed = sse_events(await stream.rest())
        async with service.client.stream(EVENTS, accept="application/x-ndjson") as stream:
            lines = [json.loads(line) for line in (await stream.rest()).splitlines() if line]

    assert page == [block["data"] for block in streamed if "event" not in block]
    assert page == lines[:-1]
    assert lines[-1] == {"end": {"reason": "session_closed", "after": page[-1]["seq"]}}


async def test_several_events_are_sent_in_one_chunk(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 50}, prefer="wait=60")
        async with service.client.stream(EVENTS) as stream:
            chunk = await stream.receive_chunk()

    assert seqs(sse_events(chunk)) == list(range(1, 55))


async def test_a_large_backlog_is_cut_into_chunks_of_bounded_size(serving):
    async with serving(limits=HttpLimits(chunk_bytes=1_000)) as service:
        await service.submit("a", {"deltas": 100}, prefer="wait=60")
        await service.client("POST", "/v1/sessions/a/close")
        chunks = []
        async with service.client.stream(EVENTS) as stream:
            while chunk := await stream.receive_chunk():
                chunks.append(chunk)

    assert max(map(len, chunks)) < 1_000 + 1_000
    assert seqs(sse_events(b"".join(chunks))) == list(range(1, 106))


async def test_it_goes_on_behind_the_last_event_id(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 10}, prefer="wait=60")
        headers = {"last-event-id": "9"}
        async with service.client.stream(f"{EVENTS}?after=2", headers=headers) as stream:
            chunk = await stream.receive_chunk()

    assert seqs(sse_events(chunk))[0] == 10


async def test_it_ends_with_the_run_that_it_follows(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        async with service.client.stream(f"{EVENTS}?run_id={run['run_id']}") as stream:
            service.agent.go.set()
            blocks = sse_events(await stream.rest())

    assert blocks[-2]["data"]["type"] == "run_completed"
    assert (blocks[-1]["event"], blocks[-1]["data"]["reason"]) == ("end", "run_ended")


async def test_a_quiet_stream_has_heartbeats_that_move_a_filtering_client_on(
    serving, autojump_clock
):
    async with serving(limits=HttpLimits(heartbeat_seconds=15)) as service:
        session = await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?types=rare") as stream:
            for _ in range(3):
                await session.append("other", {})
            begun = trio.current_time()
            beats = [sse_events(await stream.receive_chunk()) for _ in range(2)]

            assert trio.current_time() - begun == pytest.approx(30, abs=1)
    assert beats == [[{"comment": "heartbeat", "id": "4"}]] * 2


async def test_heartbeats_of_all_events_carry_no_id_and_wait_while_something_is_sent(
    serving, autojump_clock
):
    async with serving(limits=HttpLimits(heartbeat_seconds=15)) as service:
        session = await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            begun = trio.current_time()
            await trio.sleep(10)
            await session.append("note", {})
            note = sse_events(await stream.receive_chunk())
            beat = sse_events(await stream.receive_chunk())

            assert trio.current_time() - begun == pytest.approx(25, abs=0.1)
    assert note[0]["data"]["type"] == "note"
    assert beat == [{"comment": "heartbeat"}]


@pytest.mark.parametrize("query", ["?after=head", "?after=head&types=note"])
async def test_a_heartbeat_that_nobody_takes_cuts_the_stream(serving, autojump_clock, query):
    limits = HttpLimits(heartbeat_seconds=15, stall_seconds_max=20)
    async with serving(limits=limits) as service:
        await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}{query}") as stream:
            begun = trio.current_time()
            await stream.ended.wait()

            assert trio.current_time() - begun == pytest.approx(35, abs=0.1)


async def test_lines_have_empty_ones_for_heartbeats(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")
        async with service.client.stream(
            f"{EVENTS}?after=head", accept="application/x-ndjson"
        ) as stream:
            beat = await stream.receive_chunk()

    assert beat == b"\n"


async def test_a_drained_server_ends_its_streams_and_says_come_back(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            await trio.sleep(1)
            await service.app.drain(timeout_seconds=5)
            (end,) = sse_events(await stream.rest())

    assert end["event"] == "end"
    assert end["data"] == {"reason": "draining", "after": 1}


@pytest.mark.parametrize("query", ["", "?after=head"])
async def test_to_a_browser_a_server_that_drains_is_one_to_come_back_to(
    serving, autojump_clock, query
):
    async with serving() as service, trio.open_nursery() as nursery:
        await service.submit("a", "wait")
        nursery.start_soon(partial(service.app.drain, timeout_seconds=60))
        await trio.sleep(1)
        # what runs can still be seen; and who comes behind the end is told when to come again
        async with service.client.stream(EVENTS + query) as during:
            service.agent.go.set()
            seen = sse_events(await during.rest())
        async with service.client.stream(EVENTS, headers={"last-event-id": "3"}) as behind:
            told = sse_events(behind.opening + await behind.rest())

    assert seen[-2]["data"]["type"] == "run_completed"
    assert seen[-1]["data"] == {"reason": "draining", "after": 5}
    assert (behind.status, told[0]["retry"]) == (200, "2000")
    assert (told[-1]["id"], told[-1]["data"]["reason"]) == ("3", "draining")


async def test_who_is_cut_before_the_first_event_comes_back_to_where_it_began(serving):
    async with serving(limits=HttpLimits(reconnect_seconds=0.3)) as service:
        session = await service.supervisor.session("a")
        await session.append("note", {})
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            (opened,) = sse_events(stream.opening)
        await session.append("missed", {})
        # a browser asks for the same address again, and adds the last id that it has seen
        async with service.client.stream(
            f"{EVENTS}?after=head", headers={"last-event-id": opened["id"]}
        ) as stream:
            (missed,) = sse_events(await stream.receive_chunk())
        async with service.client.stream(EVENTS) as stream:
            (begun,) = sse_events(stream.opening)

    assert opened == {"comment": "open", "retry": "300", "id": "2"}
    assert (missed["id"], missed["data"]["type"]) == ("3", "missed")
    assert "id" not in begun  # its address says where it begins


async def test_a_deleted_session_ends_its_streams_with_the_problem(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            await service.client("DELETE", "/v1/sessions/a")
            (problem,) = sse_events(await stream.rest())

    assert problem["event"] == "problem"
    assert problem["data"]["code"] == "unknown_session"


async def test_a_reader_that_stalls_holds_a_chunk_and_is_cut_in_time(serving, autojump_clock):
    limits = HttpLimits(stall_seconds_max=20, chunk_bytes=500)
    async with serving(limits=limits) as service:
        await service.submit("a", {"deltas": 1_000}, prefer="wait=60")
        async with service.client.stream(EVENTS) as stream:
            begun = trio.current_time()
            await stream.ended.wait()

            assert trio.current_time() - begun == pytest.approx(20)
            assert service.app.state.streams == 0
        # what it has read tells where it goes on
        async with service.client.stream(EVENTS, headers={"last-event-id": "500"}) as stream:
            assert seqs(sse_events(await stream.receive_chunk()))[0] == 501


async def test_a_client_that_leaves_is_forgotten(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            assert service.app.state.streams == 1
            stream.leave()
            await stream.ended.wait()

        assert service.app.state.streams == 0


async def test_more_streams_than_are_allowed_are_refused(serving):
    limits = HttpLimits(streams_max=2, streams_per_client_max=1)
    async with serving(limits=limits) as service:
        await service.supervisor.session("a")
        stream_headers = {"accept": "text/event-stream"}
        async with service.client.stream(EVENTS):
            own = await service.client("GET", EVENTS, headers=stream_headers)
            service.client.address = "192.0.2.2"
            async with service.client.stream(EVENTS):
                service.client.address = "192.0.2.3"
                all_together = await service.client("GET", EVENTS, headers=stream_headers)

    for refused in (own, all_together):
        assert (refused.status, refused.code) == (429, "too_many_streams")
        assert refused.headers["retry-after"] == "2"


async def test_a_cursor_that_expired_says_what_is_left(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 9}, prefer="wait=60")
        await service.client("POST", "/v1/sessions/a/trim", {"before": 6})
        answer = await service.client(
            "GET", EVENTS, headers={"accept": "text/event-stream", "last-event-id": "2"}
        )

    assert (answer.status, answer.code) == (410, "cursor_expired")
    assert answer.json()["facts"]["oldest_seq"] == 6


async def test_who_stalls_while_the_session_is_trimmed_is_told_what_is_left(serving):
    deltas = 3_000
    async with serving(limits=HttpLimits(chunk_bytes=500)) as service:
        await service.submit("a", {"deltas": deltas}, prefer="wait=60")
        async with service.client.stream(EVENTS) as stream:
            await trio.testing.wait_all_tasks_blocked()
            await service.client("POST", "/v1/sessions/a/trim", {"before": deltas})
            blocks = sse_events(await stream.rest())

    assert seqs(blocks) == list(range(1, len(blocks)))
    assert len(blocks) < deltas
    assert blocks[-1]["event"] == "problem"
    assert blocks[-1]["data"]["code"] == "cursor_expired"
    assert blocks[-1]["data"]["facts"]["oldest_seq"] == deltas


async def test_who_returns_after_an_hour_goes_on_where_it_was(serving, autojump_clock):
    resident = SupervisorLimits(idle_seconds=60, drain_seconds=0)
    async with serving(supervisor_limits=resident) as service:
        session = await service.supervisor.session("a")
        async with service.client.stream(EVENTS) as stream:
            (first,) = sse_events(await stream.receive_chunk())
        await session.append("note", {"while": "it was away"})
        await trio.sleep(3_600)
        asleep = service.supervisor.statistics().sessions_resident
        headers = {"last-event-id": first["id"]}
        async with service.client.stream(EVENTS, headers=headers) as stream:
            missed = sse_events(await stream.receive_chunk())
            await session.append("note", {"now": "it is back"})
            live = sse_events(await stream.receive_chunk())

    assert asleep == 0
    assert [seqs(blocks) for blocks in ([first], missed, live)] == [[1], [2], [3]]


async def test_a_stream_on_which_nothing_happens_for_an_hour_is_still_one(serving, autojump_clock):
    async with serving(limits=HttpLimits(heartbeat_seconds=30)) as service:
        session = await service.supervisor.session("a")
        async with service.client.stream(f"{EVENTS}?after=head") as stream:
            begun = trio.current_time()
            beats = 0
            while trio.current_time() - begun < 3_600:
                assert sse_events(await stream.receive_chunk()) == [{"comment": "heartbeat"}]
                beats += 1
            await session.append("note", {})
            note = sse_events(await stream.receive_chunk())

    assert beats == 120
    assert seqs(note) == [2]
