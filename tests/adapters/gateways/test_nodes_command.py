"""``moorage nodes`` reads a store beside its nodes, and is none itself."""

from __future__ import annotations

import json
import subprocess
import sys

import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.runtime import open_supervisor

from tests.adapters.gateways.served import served
from tests.redis_server import new_prefix


def moorage(*arguments, code=0, store=None):
    ran = subprocess.run(
        [sys.executable, "-m", "moorage.adapters.gateways", "nodes", *arguments],
        env={"PATH": ""} | ({} if store is None else {"MOORAGE_STORE": store}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stderr
    return ran


async def listed(spec):
    return await trio.to_thread.run_sync(lambda: json.loads(moorage("--json", store=spec).stdout))


async def test_nodes_on_postgres(postgres):
    async with open_supervisor(
        postgres.store(), ScriptedAgent(), node_tags={"region": "eu"}
    ) as supervisor:
        while not any(node.state for node in await supervisor.nodes()):
            await trio.sleep(0.01)
        told = await listed(f"postgres:{postgres.server.dsn}?schema={postgres.name}")
        rows = postgres.rows("SELECT count(*) FROM node")

    assert [node["node_tags"] for node in told["nodes"]] == [{"region": "eu"}]
    assert told["unserved"] == []
    assert rows == [(1,)]


async def test_nodes_on_redis(redis_url):
    from moorage.stores import RedisStore

    prefix = new_prefix()
    store = RedisStore(redis_url, key_prefix=prefix)
    async with open_supervisor(store, ScriptedAgent()) as supervisor:
        while not any(node.state for node in await supervisor.nodes()):
            await trio.sleep(0.01)
        told = await listed(f"{redis_url}?prefix={prefix}")
        nodes = await supervisor.nodes()

    assert [node["agents"] for node in told["nodes"]] == [[""]]
    assert len(nodes) == 1


def test_without_a_store_or_with_one_that_has_no_nodes_it_says_so(tmp_path):
    without = moorage(code=2)
    journal = tmp_path / "journal"

    async def make():
        from moorage.stores import JournalStore

        async with open_supervisor(JournalStore(journal), ScriptedAgent()):
            pass

    trio.run(make)
    single = moorage("--store", str(journal), code=1)

    assert "--store" in without.stderr
    assert "one process at a time" in single.stderr


def test_a_server_is_asked_and_not_together_with_a_store(tmp_path):
    nowhere = "http://127.0.0.1:1"
    both = moorage("--url", nowhere, "--store", "postgres:x", code=2)
    alone = moorage("--token-file", str(tmp_path), code=2)
    with served(tmp_path) as server:
        (tmp_path / "token").write_text(server.token)
        asked = moorage("--url", server.url, "--token-file", str(tmp_path / "token"), code=1)

    assert "--url" in both.stderr
    assert "--token-file" in alone.stderr
    assert "one process at a time" in asked.stderr  # it serves a journal
