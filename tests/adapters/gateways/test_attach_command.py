from __future__ import annotations

from functools import partial

import pytest
import trio
from moorage.adapters.gateways.attach_command import attach_to
from moorage.adapters.gateways.remote import Server

from tests.adapters.gateways.http_client.both_loops import listening


class Typist:
    """Types its lines, each when the condition before it holds, and then goes away."""

    def __init__(self, *lines):
        self._lines = list(lines)

    def __call__(self):
        if not self._lines:
            return ""
        line, condition = self._lines.pop(0)
        trio.from_thread.run(until, condition)
        return line


async def until(condition):
    while not await condition():
        await trio.sleep(0.01)


async def always():
    return True


async def test_lines_are_runs_or_go_to_the_run_that_runs(capfd):
    async with listening() as server:
        session = await server.service.supervisor.session("a")

        async def runs():
            return bool((await session.status()).running)

        async def steered_and_shown():
            shown.append(capfd.readouterr().out)
            return await session.events(
                types={"run_steered", "run_submitted"}, after=4
            ) and "session_opened" in "".join(shown)

        shown = []
        typist = Typist(
            ("wait\n", always), ("  \n", always), ("stop it\n", runs), ("", steered_and_shown)
        )
        await attach_to(
            Server(server.address, None),
            session_id="a",
            after=0,
            format="jsonl",
            read_line=typist,
        )
        said = await session.events(types={"run_submitted", "run_steered"})
        state = (await session.info()).state.value

    assert said[0].data["input"] == "wait"
    assert "stop it" in str(said[1].data)
    assert state == "open"
    assert "session_opened" in "".join(shown)


async def test_it_follows_from_now_on_and_ends_with_the_session(capfd):
    async with listening() as server, trio.open_nursery() as nursery:
        session = await server.service.supervisor.session("a")
        await session.append("note", {"text": "before"})
        nursery.start_soon(
            partial(
                attach_to,
                Server(server.address, None),
                session_id="a",
                after="head",
                format="jsonl",
                read_line=None,
            )
        )
        while server.service.app.state.streams == 0:
            await trio.sleep(0.01)
        await session.append("note", {"text": "after"})
        await session.close()

    told = capfd.readouterr().out
    assert "after" in told
    assert "session_closed" in told
    assert "before" not in told


@pytest.mark.parametrize("place", [(), ("--url", "nonsense")])
def test_it_needs_a_server(moorage, place):
    result = moorage("attach", "a", *place, code=2)

    assert "--url" in result.stderr or "http://HOST:PORT" in result.stderr
