"""Nodes are listed from beside them, with what nobody can serve."""

from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.nodes_listing import node_to_json, show_nodes
from moorage.runtime import InvalidArgument, SupervisorLimits, open_supervisor
from moorage.runtime.placement import NodeInfo
from moorage.stores import JournalStore, MemoryStore


@pytest.fixture
def store():
    return MemoryStore(lease_seconds=10.0)


async def cluster(store, then):
    """Two nodes, one of which drains, and a session that demands what neither has."""
    agents = {"default": ScriptedAgent(), "coder": ScriptedAgent()}
    limits = SupervisorLimits(sessions_resident_max=40)
    async with (
        open_supervisor(store.peer(), agents, limits=limits, node_tags={"region": "eu"}) as eu,
        open_supervisor(store.peer(), ScriptedAgent()) as other,
    ):
        session = await eu.session("far", node_tags={"region": "mars"})
        await session.submit("hello")
        await eu.session("near")
        await other.drain(timeout_seconds=0)
        await trio.sleep(5)
        await then()


async def test_a_table_says_who_is_there_and_what_nobody_can_serve(store, autojump_clock, capsys):
    await cluster(store, lambda: show_nodes(store.peer(), as_json=False))

    table = capsys.readouterr().out.splitlines()
    first, second = table[1], table[2]
    assert table[0].split() == [
        *("NODE", "OWNER", "STATE", "TAGS", "AGENTS", "SESSIONS", "BUSY", "LEASE", "OPENED")
    ]
    assert " live " in first
    assert " region=eu " in first
    assert " (unnamed) coder default " in first
    assert " 0 of 40 " in first
    assert " draining " in second
    assert table[4].split() == ["SESSION", "THAT", "NO", "NODE", "CAN", "SERVE", "TAGS", "AGENTS"]
    assert table[5].split() == ["far", "region=mars", "(unnamed)"]


async def test_as_json_everything_is_there(store, autojump_clock, capsys):
    await cluster(store, lambda: show_nodes(store.peer(), as_json=True))

    told = json.loads(capsys.readouterr().out)
    first, second = told["nodes"]
    assert told["unserved"] == [
        {"session_id": "far", "node_tags": {"region": "mars"}, "agents": [""]}
    ]
    assert (first["state"], second["state"]) == ("live", "draining")
    assert first["node_tags"] == {"region": "eu"}
    assert first["agents"] == ["", "coder", "default"]
    assert (first["sessions"], first["sessions_max"], first["free"]) == (1, 40, 40)
    assert 0 < first["lease_seconds_left"] <= 10


async def test_nobody_there_is_told_apart_from_data(store, autojump_clock, capsys):
    await show_nodes(store.peer(), as_json=False)

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "moorage: no nodes\n")


async def test_a_store_of_one_process_has_none(tmp_path):
    store = JournalStore(tmp_path / "journal")
    async with open_supervisor(store, ScriptedAgent()):
        pass

    with pytest.raises(InvalidArgument, match="one process at a time"):
        await show_nodes(store, as_json=False)


def test_a_node_that_died_and_has_said_nothing_is_gone():
    told = node_to_json(NodeInfo("7", "me", 1.0, -3.0, 5))

    assert told["opened_at_ns"] == 1_000_000_000  # as all times are in JSON

    assert (told["state"], told["sessions"], told["node_tags"]) == ("gone", 5, None)
