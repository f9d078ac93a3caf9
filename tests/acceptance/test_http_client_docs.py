"""The client's example in docs/http.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import trio
from moorage.adapters.gateways.offline_agent import offline_agent

from tests.adapters.gateways.http_client.both_loops import listening

DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"


async def test_the_example_works_under_asyncio(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    [example] = [block for block in blocks if "http_client" in block]

    async with listening(agent=offline_agent()) as server:
        program = example.replace("http://127.0.0.1:8040", server.address)
        await trio.to_thread.run_sync(exec, compile(program, str(DOCUMENT), "exec"), {})

    told = capsys.readouterr().out
    assert "You said: hello there" in told
    assert "run_completed" in told
