from __future__ import annotations

import pytest
from moorage.adapters.gateways.http import TokenFile
from moorage.stores import JournalStore, MemoryStore
from trio.testing import wait_all_tasks_blocked

PATHS = ["/v1/nodes", "/v1/nodes/holder?session_id=acme-s"]


async def test_nodes_are_those_that_the_supervisor_knows(serving):
    async with serving(store=MemoryStore(lease_seconds=60.0)) as service:
        await wait_all_tasks_blocked()  # until it has said what it offers
        answer = await service.client("GET", "/v1/nodes")
        (node,) = await service.supervisor.nodes()

    (told,) = answer.json()["nodes"]
    assert (told["id"], told["owner"], told["sessions"]) == (node.id, node.owner, node.sessions)
    assert told["state"]["offer"] == sorted(node.state.offer)
    assert told["state"]["runs_max"] == node.state.runs_max


async def test_who_has_a_session_is_told(serving):
    async with serving(store=MemoryStore(lease_seconds=60.0)) as service:
        await service.supervisor.session("s")
        held = await service.client("GET", "/v1/nodes/holder?session_id=s")
        unknown = await service.client("GET", "/v1/nodes/holder?session_id=t")
        nothing = await service.client("GET", "/v1/nodes/holder")
        (node,) = await service.supervisor.nodes()

    told = held.json()["holder"]
    assert (told["node_id"], told["owner"], told["epoch"]) == (node.id, node.owner, 1)
    assert 0 < told["lease_seconds_left"] <= 60
    assert (unknown.status, unknown.code) == (404, "unknown_session")
    assert (nothing.status, nothing.code) == (422, "invalid_request")


@pytest.mark.parametrize("path", PATHS)
async def test_a_store_of_one_process_has_none(serving, tmp_path, path):
    async with serving(store=JournalStore(tmp_path / "journal")) as service:
        await service.supervisor.session("acme-s")
        answer = await service.client("GET", path)

    assert (answer.status, answer.code) == (422, "invalid_argument")


@pytest.mark.parametrize("path", PATHS)
async def test_who_operates_one_tenant_only_is_not_told(serving, tmp_path, path):
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.issue("acme", scopes=["admin"], prefix="acme-").token
    async with serving(store=MemoryStore(lease_seconds=60.0), auth=tokens) as service:
        client = service.client.with_headers(authorization=f"Bearer {token}")
        answer = await client("GET", path)

    assert (answer.status, answer.code) == (403, "scope_missing")
