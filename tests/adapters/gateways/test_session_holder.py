"""``moorage status`` says which node has a session, and since when its lease is over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.http import TokenFile
from moorage.adapters.gateways.listing import show_status
from moorage.adapters.gateways.remote import Server
from moorage.adapters.gateways.session_holder import describe_holder
from moorage.runtime import SessionHolder, open_supervisor
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.conformance.scenario import opened

from tests.adapters.gateways.http_client.both_loops import listening

CHOICE = StoreChoice(Path("data"))


async def told(capsys, source):
    """The line of a table that says it, and the JSON."""
    capsys.readouterr()  # what a server has logged
    await show_status(source, "s", choice=CHOICE, as_json=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if "held by" in line]
    await show_status(source, "s", choice=CHOICE, as_json=True)
    return lines, json.loads(capsys.readouterr().out)


async def test_a_node_that_has_it_and_one_whose_lease_is_over(autojump_clock, capsys):
    store = MemoryStore(lease_seconds=10.0)
    async with open_supervisor(store.peer(), ScriptedAgent()) as supervisor:
        await supervisor.session("s")
    async with opened(store.peer) as node:
        claim = await node.claim("s")
        await trio.sleep(2)
        live, as_json = await told(capsys, store)
        await trio.sleep(20)
        over, _ = await told(capsys, store)
        await node.release(claim)
        nobody, without = await told(capsys, store)
        (info,) = await node.nodes()

    assert live == [f"held by  node 2 ({info.owner}), epoch 2, lease 8.0 s"]
    assert as_json["holder"] == {
        "node_id": "2",
        "owner": info.owner,
        "epoch": 2,
        "lease_seconds_left": 8.0,
    }
    assert over == [f"held by  node 2 ({info.owner}), epoch 2, lease over for 12 s"]
    assert nobody == ["held by  nobody"]
    assert without["holder"] is None


async def test_a_store_of_one_process_has_no_such_line(tmp_path, capsys):
    store = JournalStore(tmp_path / "journal")
    async with open_supervisor(store, ScriptedAgent()) as supervisor:
        await supervisor.session("s")

    lines, as_json = await told(capsys, store)

    assert lines == []
    assert "holder" not in as_json


async def test_a_server_tells_who_operates_it(tmp_path, capsys):
    tokens = TokenFile(tmp_path / "tokens.json")
    operator = tokens.issue("operator", scopes=["admin", "read"]).token
    tenant = tokens.issue("tenant", scopes=["read"]).token
    async with listening(store=MemoryStore(lease_seconds=60.0), auth=tokens) as server:
        await server.service.supervisor.session("s")
        (line,), _ = await told(capsys, Server(server.address, operator))
        lines, as_json = await told(capsys, Server(server.address, tenant))

    assert line.startswith("held by  node 1 (")
    assert lines == []
    assert "holder" not in as_json


def test_a_claim_without_an_end_is_of_who_has_the_store_open():
    described = describe_holder(SessionHolder("1", "me", 2, math.inf))

    assert described == "node 1 (me), epoch 2, for as long as it is open"
