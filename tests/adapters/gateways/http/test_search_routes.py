"""Searches and usage: the runtime's own queries, of what one may see."""

from __future__ import annotations

import inspect
from urllib.parse import quote, urlencode

import pytest
import trio
from moorage.adapters.gateways.http import SCOPES, HttpLimits, TokenFile
from moorage.adapters.gateways.http.search_routes import SEARCH_OPERATIONS
from moorage.runtime import Supervisor

METHODS = {
    "search_sessions": Supervisor.search_sessions,
    "search_runs": Supervisor.search_runs,
    "search_events": Supervisor.search_events,
    "get_usage": Supervisor.usage_summary,
}
PATHS = {operation.id: operation.path for operation in SEARCH_OPERATIONS}
PAGED = [name for name in PATHS if name != "get_usage"]
ITEMS = {"search_sessions": "sessions", "search_runs": "runs", "search_events": "events"}


class CountingAgent:
    """Records what it uses; fails for "fail"."""

    async def __call__(self, request, context):
        await context.emit(
            "token_usage_updated", {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5}
        )
        if request.input == "fail":
            raise ValueError("told to fail")
        return {"content": request.input, "model": "m-1"}


@pytest.fixture
async def filled(serving, tmp_path):
    """Sessions of two tenants, each with a run that completed and one that failed."""
    tokens = TokenFile(tmp_path / "tokens.json")
    async with serving(agent=CountingAgent(), auth=tokens) as service:
        for session_id in ("acme-1", "acme-2", "acme-3", "other-1"):
            tags = {"plan": "pro", "a%b=c": "x,y=z"} if session_id != "acme-2" else {}
            session = await service.supervisor.session(session_id, tags=tags)
            await session.execute(f"an Invoice of {session_id}", key="k")
            await session.execute("fail")
        for name, prefix in (("all", ""), ("acme", "acme-"), ("other", "other-")):
            token = tokens.issue(name, scopes=SCOPES, prefix=prefix).token
            setattr(service, name, service.client.with_headers(authorization=f"Bearer {token}"))
        yield service


async def found(client, name, **query):
    answer = await client("GET", f"{PATHS[name]}?{urlencode(query, doseq=True)}")
    assert answer.status == 200, answer.content
    return answer.json()


async def refused(client, name, **query):
    answer = await client("GET", f"{PATHS[name]}?{urlencode(query, doseq=True)}")
    assert answer.status >= 400, answer.content
    return answer


@pytest.mark.parametrize("operation", SEARCH_OPERATIONS, ids=lambda operation: operation.id)
def test_the_parameters_are_the_arguments_of_the_runtime(operation):
    expected = set(inspect.signature(METHODS[operation.id]).parameters) - {"self"}

    assert {parameter.name for parameter in operation.parameters} == expected


async def test_sessions_are_found_in_the_order_that_is_asked_for(filled):
    by_id = await found(filled.all, "search_sessions", order="id", descending="false", text="INVO")
    newest = await found(filled.all, "search_sessions", limit=1)

    ids = [info["id"] for info in by_id["sessions"]]
    assert ids == ["acme-1", "acme-2", "acme-3", "other-1"]
    assert newest["sessions"][0]["id"] == "other-1"
    assert by_id["next_cursor"] is None
    assert newest["next_cursor"]


async def test_a_tag_with_any_name_and_value_can_be_said(filled):
    tags = ["plan=pro", quote("a%b=c", safe="") + "=x,y=z"]
    page = await found(filled.acme, "search_sessions", tags=tags, order="id")
    nobody = await found(filled.acme, "search_sessions", tags=["plan=pro", "plan2=x"])

    assert [info["id"] for info in page["sessions"]] == ["acme-3", "acme-1"]
    assert nobody["sessions"] == []


async def test_sessions_that_were_deleted_are_found_on_demand(filled):
    await filled.supervisor.delete_session("acme-1", soft=True)
    without = await found(filled.acme, "search_sessions")
    with_them = await found(filled.acme, "search_sessions", include_deleted="true")

    assert sorted(info["id"] for info in without["sessions"]) == ["acme-2", "acme-3"]
    assert len(with_them["sessions"]) == 3


async def test_runs_are_found_with_what_they_used(filled):
    page = await found(
        filled.acme, "search_runs", session_id="acme-1", states="completed,failed", order="session"
    )
    failed = await found(filled.acme, "search_runs", states="failed", prefix="acme-")
    keyed = await found(filled.acme, "search_runs", key="k", text="invoice OF acme-2")

    last, first = page["runs"]
    assert (first["state"], first["model"], first["key"]) == ("completed", "m-1", "k")
    assert first["usage"]["input_tokens"] == 3
    assert (last["state"], last["error_message"]) == ("failed", "told to fail")
    assert {run["session_id"] for run in failed["runs"]} == {"acme-1", "acme-2", "acme-3"}
    assert [run["session_id"] for run in keyed["runs"]] == ["acme-2"]


async def test_events_are_found_by_their_text_as_they_are_in_the_log(filled):
    page = await found(filled.all, "search_events", text="invoice", types="run_submitted")
    (event,) = await filled.supervisor.handle("acme-1").events(types={"run_submitted"}, limit=1)

    assert [event["session_id"] for event in page["events"]] == [
        "acme-1",
        "acme-2",
        "acme-3",
        "other-1",
    ]
    assert page["events"][0]["seq"] == event.seq
    assert page["events"][0]["data"] == event.data
    assert page["scanned"] >= 4


async def test_usage_is_added_up_by_what_is_said(filled):
    by_model = await found(filled.all, "get_usage", by="model")
    by_session = await found(filled.acme, "get_usage")
    of_one = await found(filled.acme, "get_usage", session_id="acme-2", states="failed")

    assert {row["group"]: row["input_tokens"] for row in by_model["rows"]} == {"m-1": 12, None: 12}
    assert [row["group"] for row in by_session["rows"]] == ["acme-1", "acme-2", "acme-3"]
    assert by_session["total"]["cost_usd"] == 3.0
    assert of_one["total"]["runs"] == {"failed": 1}


@pytest.mark.parametrize("name", PAGED)
async def test_pages_follow_one_another_without_a_gap_or_a_repeat(filled, name):
    everything = (await found(filled.acme, name))[ITEMS[name]]
    items, query = [], {"limit": 2}
    while True:
        page = await found(filled.acme, name, **query)
        items += page[ITEMS[name]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert items == everything
    assert len(items) > 2


@pytest.mark.parametrize("name", PAGED)
async def test_a_cursor_of_another_tenant_is_refused(filled, name):
    theirs = (await found(filled.other, name, limit=1))["next_cursor"]
    everybodys = (await found(filled.all, name, limit=1))["next_cursor"]
    mine = (await found(filled.acme, name, limit=1))["next_cursor"]
    for cursor in filter(None, (theirs, everybodys)):
        answer = await refused(filled.acme, name, cursor=cursor)

        assert (answer.status, answer.code) == (422, "invalid_cursor")
        assert answer.json()["facts"]["reason"] == "filters"
    narrower = await refused(filled.acme, name, cursor=mine, prefix="acme-1")

    assert narrower.json()["facts"]["reason"] == "filters"
    assert everybodys


@pytest.mark.parametrize("name", PATHS)
async def test_a_tenant_sees_its_own_sessions_only(filled, name):
    nothing = await found(filled.acme, name, prefix="other-")
    of_all = await found(filled.acme, name)
    of_some = await found(filled.acme, name, prefix="ac")

    assert "other-1" not in str(of_all)
    assert of_all == of_some
    assert nothing.get("next_cursor") is None
    assert [nothing[field] for field in ("sessions", "runs", "events", "rows") if field in nothing]
    assert not any(nothing.get(field) for field in ("sessions", "runs", "events", "rows"))


@pytest.mark.parametrize("name", [name for name in PATHS if name != "search_sessions"])
async def test_a_session_of_another_tenant_is_told_like_one_that_is_not_there(filled, name):
    theirs = await refused(filled.acme, name, session_id="other-1")
    missing = await refused(filled.acme, name, session_id="other-9")
    own = await refused(filled.acme, name, session_id="acme-9")

    assert theirs.content.replace(b"other-1", b"ID") == missing.content.replace(b"other-9", b"ID")
    assert theirs.content.replace(b"other-1", b"ID") == own.content.replace(b"acme-9", b"ID")
    assert (theirs.status, theirs.code) == (404, "unknown_session")


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("search_sessions", {"limit": 0}),
        ("search_sessions", {"limit": 1001}),
        ("search_sessions", {"states": "old"}),
        ("search_sessions", {"tags": "x"}),
        ("search_sessions", {"descending": "maybe"}),
        ("search_sessions", {"order": "size"}),
        ("search_runs", {"ended_after_ns": "yesterday"}),
        ("search_runs", {"session_id": ""}),
        ("search_events", {"after": 1}),
        ("get_usage", {"limit": 1}),
    ],
)
async def test_what_cannot_be_is_refused_by_name(filled, name, query):
    answer = await refused(filled.all, name, **query)

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert next(iter(query)) in answer.json()["facts"]["errors"][0]["field"]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("search_runs", {"session_id": "acme-1", "prefix": "acme-"}),
        ("search_runs", {"descending": "false"}),
        ("search_events", {"text": " "}),
        ("get_usage", {"by": "colour"}),
    ],
)
async def test_what_the_runtime_refuses_is_refused(filled, name, query):
    answer = await refused(filled.acme, name, **query)

    assert (answer.status, answer.code) == (422, "invalid_argument")


async def test_searches_count_as_what_waits_and_are_bounded(serving):
    async with serving(limits=HttpLimits(streams_max=1)) as service:
        await service.supervisor.session("a")
        async with service.client.stream("/v1/sessions/a/events", accept="text/event-stream"):
            answer = await refused(service.client, "search_sessions")

    assert (answer.status, answer.code) == (429, "too_many_streams")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_search_goes_on_while_the_server_drains_and_ends_with_it(filled):
    filled.app.state.draining = True
    draining = await found(filled.all, "search_sessions")
    filled.app.state.end()
    ended = await refused(filled.all, "search_sessions")

    assert len(draining["sessions"]) == 4
    assert (ended.status, ended.code) == (503, "admission_closed")


async def test_a_sum_ends_when_nobody_waits_for_it_any_more(filled, monkeypatch):
    started, ended = trio.Event(), trio.Event()

    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def sum_for_ever(**filters):
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def receive():
        if bodies:
            return bodies.pop()
        await started.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(filled.supervisor, "usage_summary", sum_for_ever)
    with trio.fail_after(60):
        await filled.app(filled.all.scope("GET", "/v1/usage"), receive, send)

    assert ended.is_set()
