"""Queries over all sessions, as a supervisor and a reader answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    InvalidCursor,
    RunState,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from moorage.runtime import RunContext, RunRequest


async def agent(request: RunRequest, context: RunContext) -> object:
    """Uses what its input says."""
    if request.input.get("hold"):
        await trio.sleep_forever()
    if request.input.get("park"):
        await context.park("approval")
    usage = request.input.get("usage")
    if usage:
        await context.emit("token_usage_updated", usage)
    if request.input.get("fail"):
        raise ValueError(request.input["fail"])
    return {"content": "done", "model": request.input.get("model")}


async def every_page(search: Any, **arguments: Any) -> list[Any]:
    items: list[Any] = []
    cursor = None
    for _ in range(1_000):
        page = await search(cursor=cursor, **arguments)
        assert len(page.items) <= arguments.get("limit", 100)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
    raise AssertionError("there is no end of pages")


async def test_sessions_are_found_by_what_a_listing_shows_of_them(autojump_clock: object) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        for name, tenant in (("user-1", "a"), ("user-2", "b"), ("job-3", "a")):
            session = await supervisor.session(name, tags={"tenant": tenant})
            await session.execute({"prompt": f"Hello from {name.upper()}"})
        await (await supervisor.session("user-2")).close()

        async def ids(**filter: Any) -> list[str]:
            page = await supervisor.search_sessions(order="id", descending=False, **filter)
            return [info.id for info in page.items]

        assert await ids() == ["job-3", "user-1", "user-2"]
        assert await ids(prefix="user-") == ["user-1", "user-2"]
        assert await ids(tags={"tenant": "a"}) == ["job-3", "user-1"]
        assert await ids(states={"closed"}) == ["user-2"]
        assert await ids(text="from USER-1") == ["user-1"]
        assert await ids(text="nowhere") == []


async def test_runs_show_how_they_ended_and_what_they_used(autojump_clock: object) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        used = {"input_tokens": 7, "output_tokens": 2, "cost_usd": 0.5}
        await session.execute({"usage": used, "model": "m1"}, key="k")
        await session.execute({"fail": "no luck", "usage": {"input_tokens": 1}})
        held = await session.submit({"hold": True})
        queued = await session.submit({"prompt": "later"})
        await trio.sleep(1)
        page = await supervisor.search_runs(session_id="s", descending=False)
        first, second, third, fourth = page.items
        await held.cancel()

    assert (first.state, first.key, first.usage, first.model) == ("completed", "k", used, "m1")
    assert (second.state, second.error_message) == (RunState.FAILED, "no luck")
    assert second.usage == {"input_tokens": 1}
    assert (third.run_id, third.state, third.ended_at_ns) == (held.id, "running", None)
    assert (fourth.run_id, fourth.state, fourth.started_at_ns) == (queued.id, "queued", None)
    assert page.next_cursor is None


async def test_a_run_that_waits_for_an_answer_is_told_from_one_that_runs(
    autojump_clock: object,
) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        parked = await session.submit({"park": True})
        held = await session.submit({"hold": True})
        await trio.sleep(1)
        both = (await supervisor.search_runs(descending=False, session_id="s")).items
        (waiting,) = (await supervisor.search_runs(states={"waiting"})).items
        (running,) = (await supervisor.search_runs(states={"running"})).items
        usage = await supervisor.usage_summary()
        of_waiting = await supervisor.usage_summary(states={RunState.WAITING})
        await held.cancel()

    assert [(run.run_id, run.state) for run in both] == [
        (parked.id, RunState.WAITING),
        (held.id, RunState.RUNNING),
    ]
    assert (waiting, running) == (both[0], both[1])
    assert usage.total.runs == {"waiting": 1, "running": 1}
    assert of_waiting.total.runs == {"waiting": 1}


async def test_the_newest_runs_of_all_sessions_come_first(autojump_clock: object) -> None:
    store = MemoryStore()
    submitted = []
    async with open_supervisor(store, agent) as supervisor:
        for number in range(12):
            session = await supervisor.session(f"s{number * 5 % 4}")
            submitted.append((await session.submit({"n": number})).id)
            await session.wait_idle()
    async with open_reader(store) as reader:
        newest = await every_page(reader.search_runs, limit=5)
        by_session = await every_page(reader.search_runs, limit=5, order="session")

    assert [run.run_id for run in newest] == submitted[::-1]
    keys = [(run.session_id, run.seq) for run in by_session]
    assert keys == sorted(keys, reverse=True)
    assert len(keys) == 12


async def test_events_are_found_by_their_texts(autojump_clock: object) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        for name in ("a", "b", "c"):
            session = await supervisor.session(name)
            await session.append("note", {"deep": [{"text": f"Needle in {name}"}]})
            await session.append("note", {"needle": "only a name"})
        found = await every_page(supervisor.search_events, text="needle", limit=2)
        backwards = await every_page(
            supervisor.search_events, text="needle", limit=2, descending=True
        )

    assert [event.session_id for event in found] == ["a", "b", "c"]
    assert backwards == found[::-1]


async def test_usage_is_added_up_and_what_is_missing_is_counted(autojump_clock: object) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        for name in ("a", "b"):
            session = await supervisor.session(name, tags={"tenant": name * 2})
            await session.execute({"usage": {"input_tokens": 5, "cost_usd": 0.25}, "model": "m"})
            await session.execute({"usage": {"input_tokens": 1}})
            await session.execute({})
        by_tag = await supervisor.usage_summary(by="tag:tenant")
        by_model = await supervisor.usage_summary(by="model", session_id="a")

    assert [row.group for row in by_tag.rows] == ["aa", "bb"]
    assert by_tag.total.runs == {"completed": 6}
    assert (by_tag.total.input_tokens, by_tag.total.cost_usd) == (12, 0.5)
    assert (by_tag.total.runs_without_usage, by_tag.total.runs_without_cost) == (2, 4)
    assert [(row.group, row.runs_total) for row in by_model.rows] == [("m", 1), (None, 2)]


async def test_a_cursor_is_refused_by_any_other_search(autojump_clock: object) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        for name in ("a", "b", "c"):
            await (await supervisor.session(name)).execute({})
        cursor = (await supervisor.search_sessions(limit=1)).next_cursor
        for search, arguments, reason in (
            (supervisor.search_sessions, {"order": "id"}, "order"),
            (supervisor.search_sessions, {"descending": False}, "order"),
            (supervisor.search_sessions, {"prefix": "a"}, "filters"),
            (supervisor.search_runs, {}, "kind"),
            (supervisor.search_events, {}, "kind"),
        ):
            with pytest.raises(InvalidCursor) as refused:
                await search(cursor=cursor, **arguments)
            assert refused.value.reason == reason
        with pytest.raises(UnknownSession):
            await supervisor.search_runs(session_id="nobody")
        with pytest.raises(InvalidArgument, match="descending"):
            await supervisor.search_runs(descending=False)
