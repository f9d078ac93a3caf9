from __future__ import annotations

from moorage.adapters.gateways.http import TokenFile
from moorage.stores import JournalStore, MemoryStore
from trio.testing import wait_all_tasks_blocked


async def test_nodes_are_those_that_the_supervisor_knows(serving):
    async with serving(store=MemoryStore(lease_seconds=60.0)) as service:
        await wait_all_tasks_blocked()  # until it has said what it offers
        answer = await service.client("GET", "/v1/nodes")
        (node,) = await service.supervisor.nodes()

    (told,) = answer.json()["nodes"]
    assert (told["id"], told["owner"], told["sessions"]) == (node.id, node.owner, node.sessions)
    assert told["state"]["offer"] == sorted(node.state.offer)
    assert told["state"]["runs_max"] == node.state.runs_max


async def test_a_store_of_one_process_has_none(serving, tmp_path):
    async with serving(store=JournalStore(tmp_path / "journal")) as service:
        answer = await service.client("GET", "/v1/nodes")

    assert (answer.status, answer.code) == (422, "invalid_argument")


async def test_who_operates_one_tenant_only_is_not_told(serving, tmp_path):
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.issue("acme", scopes=["admin"], prefix="acme-").token
    async with serving(store=MemoryStore(lease_seconds=60.0), auth=tokens) as service:
        client = service.client.with_headers(authorization=f"Bearer {token}")
        answer = await client("GET", "/v1/nodes")

    assert (answer.status, answer.code) == (403, "scope_missing")
