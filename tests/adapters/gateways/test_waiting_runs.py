from __future__ import annotations

from pathlib import Path

import pytest
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.remote import Server
from moorage.adapters.gateways.waiting_runs import described, questions_of
from moorage.runtime import open_supervisor
from moorage.runtime.runs import approval_request
from moorage.stores import MemoryStore


async def agent(request, context):
    if request.input == "tool":
        _, name = approval_request(context.run_id, "call_1")
        await context.park(name, {"tool_name": "rm", "tool_input": {}})
    else:
        await context.park("colour", "which?")


@pytest.mark.parametrize(
    ("input", "asks", "command"),
    [
        ("tool", "asks for approval of rm", "moorage approve s {}:call_1 --url"),
        ("question", "asks 'colour'", "moorage attach s --url"),
    ],
)
async def test_what_a_run_waits_for_is_told_with_what_answers(autojump_clock, input, asks, command):
    store = MemoryStore()
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("s", slots=1)
        run = await session.submit(input)
        await session.wait_idle()
        found = await questions_of(session, await session.status())

    command = command.format(run.id)
    server, local = Server("http://host", None), StoreChoice(None, "sqlite:/d/x.db")
    assert described(run.id, found[run.id], "s", server) == [
        run.id,
        f"  {asks}: {command} http://host",
    ]
    assert described(run.id, found[run.id], "s", local, "my agent") == [
        run.id,
        f"  {asks}: moorage chat --store sqlite:/d/x.db --session s --agent 'my agent'",
        f"    if a server has the session: {command} URL",
    ]


async def test_a_run_that_waits_for_nothing_is_its_id_alone(autojump_clock):
    assert described("run_1", (), "s", StoreChoice(Path("data"))) == ["run_1"]
