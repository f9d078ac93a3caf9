from __future__ import annotations

import pytest
from moorage.adapters.gateways.http_client import InvalidRequest
from moorage.adapters.gateways.http_client.named_cursors import _path
from moorage.runtime import CursorHeld, InvalidArgument, UnknownSession

from tests.adapters.gateways.http_client.both_loops import both_loops, listening


@both_loops
async def test_a_cursor_is_moved_by_name_and_told(loop):
    async def work(client):
        session = client.handle("a")
        answers = [await session.cursor("mine")]
        answers += [await session.acknowledge("mine", seq) for seq in (2, 1, 3)]
        return [*answers, await session.cursor("mine")]

    async with listening() as server:
        session = await server.service.supervisor.session("a")
        for number in range(3):
            await session.append("note", {"n": number})

        assert await server.client(loop, work) == [None, 2, 2, 3, 3]


async def test_it_is_refused_with_what_the_runtime_raises():
    async def work(client):
        session = client.handle("a")
        with pytest.raises(CursorHeld) as held:
            await session.acknowledge("mine", 1)
        with pytest.raises(InvalidArgument):
            await session.acknowledge("yours", 2)
        with pytest.raises(InvalidRequest, match="webhook/"):
            await session.acknowledge("webhook/x", 1)
        with pytest.raises(UnknownSession):
            await client.handle("b").cursor("mine")
        return held.value

    async with listening() as server:
        session = await server.service.supervisor.session("a")
        async with session.subscribe(name="mine"):
            held = await server.client("trio", work)

    assert (held.session_id, held.name) == ("a", "mine")


def test_a_name_may_have_anything_in_it_but_nothing():
    assert _path("a/b", "c/d ?") == "/v1/sessions/a%2Fb/cursors/c%2Fd%20%3F"
    assert _path("a", "..") == "/v1/sessions/a/cursors/%2E%2E"
    with pytest.raises(InvalidArgument, match="cursor name"):
        _path("a", "")
