"""Queries over HTTP give what the runtime gives."""

from __future__ import annotations

import pytest
from moorage.adapters.gateways.http_client.queries import query_of
from moorage.runtime import InvalidArgument, InvalidCursor, RunState, SessionState, UnknownSession

from tests.adapters.gateways.http_client.both_loops import both_loops, listening

TAGS = {"plan": "pro", "a%3Db=c": "x,y=z\n"}


class CountingAgent:
    """Records what it uses; fails for "fail", waits for "park"."""

    async def __call__(self, request, context):
        if request.input == "park":
            await context.park("approval")
        usage = {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5}
        await context.emit("token_usage_updated", usage)
        if request.input == "fail":
            raise ValueError("told to fail")
        return {"content": request.input, "model": "m-1"}


async def fill(supervisor):
    for number in range(4):
        session = await supervisor.session(f"s{number}", tags=TAGS if number % 2 else {})
        await session.execute({"text": f"an Invoice, {number}", "bytes": b"\0"}, key="k")
        await session.execute("fail")
    await supervisor.delete_session("s0", soft=True)


QUERIES = [
    ("search_sessions", {}),
    ("search_sessions", {"tags": TAGS, "order": "id", "descending": False}),
    ("search_sessions", {"include_deleted": True, "states": {SessionState.CLOSED, "open"}}),
    ("search_sessions", {"created_after_ns": 1, "modified_before_ns": 2}),
    ("search_runs", {}),
    ("search_runs", {"session_id": "s1", "descending": False}),
    ("search_runs", {"states": [RunState.FAILED], "tags": TAGS, "submitted_after_ns": 1}),
    ("search_runs", {"key": "k", "text": "INVOICE, 3", "ended_after_ns": 1}),
    ("search_runs", {"agent": "nobody", "prefix": "s1"}),
    ("search_events", {"text": "invoice", "types": {"run_submitted"}}),
    ("search_events", {"session_id": "s1", "descending": True, "after_ns": 5}),
    ("search_events", {"prefix": "s2", "tags": {}, "before_ns": 2**63 - 1}),
    ("usage_summary", {}),
    ("usage_summary", {"by": "model", "states": ("completed",)}),
    ("usage_summary", {"by": "tag:plan", "session_id": "s1"}),
]


@both_loops
async def test_what_is_found_is_what_the_supervisor_finds(loop):
    async def work(client):
        return [await getattr(client, name)(**filters) for name, filters in QUERIES]

    async with listening(agent=CountingAgent()) as server:
        supervisor = server.service.supervisor
        await fill(supervisor)
        found = await server.client(loop, work)
        own = [await getattr(supervisor, name)(**filters) for name, filters in QUERIES]

    for query, theirs, ours in zip(QUERIES, found, own, strict=True):
        assert theirs == ours, query
        assert type(theirs) is type(ours)
    assert sum(bool(getattr(page, "items", True)) for page in own) > 12


async def test_a_run_that_waits_for_an_answer_is_told_from_one_that_runs():
    async def work(client):
        page = await client.search_runs(states={"waiting"})
        running = await client.search_runs(states={RunState.RUNNING})
        return page.items, running.items, await client.usage_summary()

    async with listening(agent=CountingAgent()) as server:
        session = await server.service.supervisor.session("s")
        run = await session.submit("park")
        async with session.subscribe(types={"run_waiting"}) as events:
            await anext(events)
        waiting, running, usage = await server.client("trio", work)

    assert [(found.run_id, found.state) for found in waiting] == [(run.id, RunState.WAITING)]
    assert running == []
    assert usage.total.runs == {"waiting": 1}


async def test_pages_follow_one_another_by_their_cursor():
    async def work(client):
        items, cursor = [], None
        while True:
            page = await client.search_runs(limit=3, cursor=cursor)
            items += page.items
            if (cursor := page.next_cursor) is None:
                return items

    async with listening(agent=CountingAgent()) as server:
        await fill(server.service.supervisor)
        items = await server.client("trio", work)
        own = await server.service.supervisor.search_runs()

    assert items == own.items
    assert len(items) == 6


async def test_what_cannot_be_asked_is_refused_as_the_runtime_does():
    async def work(client):
        page = await client.search_runs(limit=1)
        with pytest.raises(InvalidCursor) as other:
            await client.search_runs(limit=1, states={"failed"}, cursor=page.next_cursor)
        with pytest.raises(UnknownSession):
            await client.usage_summary(session_id="nobody")
        for name, filters in (
            ("search_runs", {"states": set()}),
            ("search_runs", {"states": "failed"}),
            ("search_runs", {"states": {"old"}}),
            ("search_runs", {"session_id": "s1", "prefix": "s"}),
            ("search_runs", {"descending": False}),
            ("search_runs", {"limit": 0}),
            ("search_runs", {"limit": True}),
            ("search_sessions", {"tags": {"a": 1}}),
            ("search_sessions", {"tags": ["a=1"]}),
            ("search_sessions", {"text": ""}),
            ("search_events", {"types": set()}),
            ("usage_summary", {"by": "colour"}),
        ):
            with pytest.raises(InvalidArgument):
                await getattr(client, name)(**filters)
        return other.value

    async with listening(agent=CountingAgent()) as server:
        await fill(server.service.supervisor)
        other = await server.client("trio", work)

    assert other.reason == "filters"


def test_a_query_says_what_is_given_and_repeats_lists():
    assert query_of({"prefix": "", "text": None, "soft": True, "n": 3, "tags": ["a=1", "b=,"]}) == [
        ("soft", "true"),
        ("n", "3"),
        ("tags", "a=1"),
        ("tags", "b=,"),
    ]
