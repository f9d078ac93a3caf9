from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from moorage.adapters.agents.claude_code import session_store
from moorage.adapters.agents.claude_code.session_store import (
    ClaudeSessionStore,
    LoadedTranscript,
    cost_state,
)
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.agents.real_agents import require

MAIN = {"project_key": "-work", "session_id": "s1"}
SUB = {**MAIN, "subpath": "subagents/agent-1"}


async def nothing(request, context):
    return None


@asynccontextmanager
async def opened_session(name="session"):
    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        yield await supervisor.session(name)


def entry(uuid=None, **fields):
    return {"type": "user", **({"uuid": uuid} if uuid else {}), **fields}


class ManySessions:
    """A session of its own for each contract of the SDK's suite."""

    def __init__(self, supervisor):
        self._supervisor = supervisor
        self._made = 0

    async def store(self):
        self._made += 1
        return ClaudeSessionStore(await self._supervisor.session(f"session-{self._made}"))


@pytest.mark.real_agent
async def test_it_passes_the_sdks_own_conformance_suite():
    testing = require("claude_agent_sdk.testing")

    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        await testing.run_session_store_conformance(ManySessions(supervisor).store)


async def test_any_json_comes_back_as_it_was():
    odd = entry("u1", big=2**70, half="\ud800", deep=[{"a": None}, 1.5, True], text="Straße")

    async with opened_session() as session:
        store = ClaudeSessionStore(session)
        await store.append(MAIN, [odd])

        assert await store.load(MAIN) == [odd]


async def test_an_entry_that_is_appended_again_after_a_failure_counts_once():
    async with opened_session() as session:
        store = ClaudeSessionStore(session)
        await store.append(MAIN, [entry("u1"), entry(n=1)])
        await store.append(MAIN, [entry("u1"), entry(n=1), entry("u2")])

        assert await store.load(MAIN) == [entry("u1"), entry(n=1), entry(n=1), entry("u2")]


async def test_much_at_once_becomes_several_events_and_comes_back_in_order(monkeypatch):
    monkeypatch.setattr(session_store, "LINES_BYTES_MAX", 100)
    monkeypatch.setattr(session_store, "PAGE_EVENTS", 3)
    entries = [entry(f"u{n}", text="x" * 60) for n in range(10)]

    async with opened_session() as session:
        store = ClaudeSessionStore(session)
        await store.append(MAIN, entries)
        events = await session.events(types={session_store.TRANSCRIPT_TYPE})

        assert len(events) == 10
        assert await store.load(MAIN) == entries


async def test_a_transcript_is_found_from_another_working_directory_if_that_is_asked_for():
    elsewhere = {**MAIN, "project_key": "-other"}

    async with opened_session() as session:
        await ClaudeSessionStore(session).append(MAIN, [entry("u1")])
        await ClaudeSessionStore(session).append(elsewhere, [entry("u2")])
        await ClaudeSessionStore(session).append(SUB, [entry("u3")])
        anywhere = ClaudeSessionStore(session, any_project=True)

        assert await ClaudeSessionStore(session).load(elsewhere) == [entry("u2")]
        assert await anywhere.load({**MAIN, "project_key": "-third"}) == [entry("u1"), entry("u2")]
        assert await anywhere.list_subkeys(elsewhere) == ["subagents/agent-1"]


async def test_what_was_deleted_can_be_written_again():
    async with opened_session() as session:
        store = ClaudeSessionStore(session)
        await store.append(MAIN, [entry("u1")])
        await store.append(SUB, [entry("u2")])
        await store.delete(MAIN)
        await store.append(MAIN, [entry("u1", n=2)])

        assert await store.load(MAIN) == [entry("u1", n=2)]
        assert await store.load(SUB) is None
        assert await store.list_subkeys(MAIN) == []


async def test_a_transcript_that_was_loaded_is_not_read_again():
    class Closed:
        async def events(self, **arguments):
            await trio.lowlevel.checkpoint()
            raise AssertionError("it was read")

    loaded = LoadedTranscript(ClaudeSessionStore(Closed()), [entry("u1")])

    assert await loaded.load(MAIN) == [entry("u1")]
    with pytest.raises(AssertionError):
        await loaded.load(SUB)
    with pytest.raises(AssertionError):
        await loaded.list_subkeys(MAIN)


async def test_what_a_loaded_transcripts_owner_appends_is_kept():
    async with opened_session() as session:
        store = ClaudeSessionStore(session)
        await LoadedTranscript(store, []).append(MAIN, [entry("u1")])

        assert await store.load(MAIN) == [entry("u1")]


def test_the_last_cost_state_is_where_usage_is_counted_from():
    models = {"m": {"inputTokens": 20}}
    entries = [
        {"type": "cost-state", "modelUsage": {"m": {"inputTokens": 10}}},
        entry("u1"),
        {"type": "cost-state", "modelUsage": models},
        {"type": "cost-state"},
    ]

    assert cost_state(entries) == models
    assert cost_state([entry("u1")]) == {}
