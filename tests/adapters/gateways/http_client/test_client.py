from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.http import TokenFile
from moorage.adapters.gateways.http_client import (
    ClientLimits,
    RequestRefused,
    WaitTimedOut,
    client,
    connect,
)
from moorage.runtime import (
    InvalidArgument,
    SessionChanged,
    SessionDeleted,
    SessionExists,
    UnknownSession,
)
from moorage.stores import JournalStore, MemoryStore
from trio.testing import wait_all_tasks_blocked

from tests.adapters.gateways.http_client.both_loops import both_loops, listening


@both_loops
async def test_sessions_are_opened_as_a_supervisor_opens_them(loop):
    async def work(client):
        made = await client.session()
        await client.session("a", mode="create", slots=2, metadata={"b": b"1"}, summary="s")
        with pytest.raises(SessionExists) as exists:
            await client.session("a", mode="create")
        with pytest.raises(UnknownSession):
            await client.session("b", mode="resume")
        again = await client.session("a", mode="resume", node_tags={"region": "eu"})
        info = await again.info()
        return made.id, exists.value.session_id, info

    async with listening() as server:
        made, existing, info = await server.client(loop, work)
        own = await server.service.supervisor.handle("a").info()

    assert made.startswith("ses_")
    assert existing == "a"
    assert info == own
    assert info.node_tags == {"region": "eu"}


async def test_all_sessions_are_listed_over_many_pages(monkeypatch):
    monkeypatch.setattr(client, "SESSIONS_PAGE", 3)

    async def work(client):
        for number in range(8):
            await client.session(f"s{number}", tags={"odd": str(number % 2), "l": "a,b"})
        await client.session("other")
        return [
            [info.id async for info in client.sessions(**filters)]
            for filters in ({}, {"prefix": "s", "tags": {"odd": "1"}}, {"tags": {"l": "a,b"}})
        ]

    async with listening() as server:
        everything, odd, commas = await server.client("trio", work)

    assert everything == ["other", *(f"s{number}" for number in reversed(range(8)))]
    assert odd == ["s7", "s5", "s3", "s1"]
    assert len(commas) == 8


@both_loops
async def test_one_run_has_a_session_of_its_own(loop):
    async def work(client):
        done = await client.run_once("x", tags={"kind": "once"})
        failed = await client.run_once("fail")
        with pytest.raises(WaitTimedOut):
            await client.run_once("wait", wait_seconds=0.05)
        return done, failed

    async with listening() as server:
        done, failed = await server.client(loop, work)
        infos = [info async for info in server.service.supervisor.sessions()]

    assert (done.state.value, failed.state.value) == ("completed", "failed")
    assert {info.state.value for info in infos} == {"closed"}
    assert [info.outcome for info in reversed(infos)] == ["completed", "failed", "cancelled"]


async def test_deleting_and_lifting_a_quarantine():
    async def work(client):
        await client.session("a")
        lifted = await client.unquarantine("a")
        return lifted, await client.delete_session("a"), await client.delete_session("a")

    async with listening() as server:
        assert await server.client("trio", work) == (False, True, False)


async def test_a_token_says_who_one_is(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("acme", prefix="acme-").token

    async def work(client):
        with pytest.raises(RequestRefused) as outside:
            await client.session("other")
        with pytest.raises(RequestRefused) as scope:
            await client.delete_session("acme-1")
        return (await client.session()).id, outside.value, scope.value

    async def without(client):
        with pytest.raises(RequestRefused) as caught:
            await client.session()
        return caught.value

    async with listening(auth=file) as server:
        made, outside, scope = await server.client("trio", work, token=token)
        unknown = await server.client("trio", without)

    assert made.startswith("acme-")
    assert (outside.code, outside.prefix) == ("outside_tenant", "acme-")
    assert (scope.code, scope.needed) == ("scope_missing", "admin")
    assert (unknown.code, unknown.status) == ("unauthenticated", 401)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://x", "http://", "http://x?y=1", "http://x:99999", None, 7]
)
async def test_what_is_no_address_is_refused(url):
    with pytest.raises(InvalidArgument, match="http://HOST:PORT"):
        async with connect(url):
            pass


async def test_a_token_is_one_word():
    with pytest.raises(InvalidArgument, match="token"):
        async with connect("http://127.0.0.1:1", token="two words\n"):
            pass


async def test_an_address_may_have_a_path():
    async with connect("http://127.0.0.1:1/below/", limits=ClientLimits()) as client:
        assert client.url == "http://127.0.0.1:1/below"
        assert "below" in repr(client)


@both_loops
async def test_what_is_deleted_softly_is_hidden_and_comes_back(loop):
    async def work(client):
        session = await client.session("a")
        await client.session("b")
        with pytest.raises(SessionChanged):
            await client.delete_session("a", soft=True, expected_seq=9)
        told = [
            await client.delete_session("a", soft=True, reason="asked for", expected_seq=1),
            await client.delete_session("a", soft=True),
            await client.delete_session("nobody", soft=True),
        ]
        with pytest.raises(SessionDeleted):
            await client.session("a")
        with pytest.raises(InvalidArgument, match="soft=True"):
            await client.delete_session("b", reason="why")
        hidden = [info.id async for info in client.sessions()]
        shown = sorted([info.id async for info in client.sessions(include_deleted=True)])
        opened = await client.session("a", include_deleted=True)
        (*_, last) = await opened.events()
        told += [await client.restore_session("a"), await client.restore_session("a")]
        with pytest.raises(UnknownSession):
            await client.restore_session("nobody")
        return told, hidden, shown, last, (await session.info()).state

    async with listening() as server:
        told, hidden, shown, last, state = await server.client(loop, work)

    assert told == [True, False, False, True, False]
    assert (hidden, shown) == (["b"], ["a", "b"])
    assert (last.type, last.data["reason"], state) == ("session_deleted", "asked for", "open")


@both_loops
async def test_nodes_are_those_that_the_supervisor_knows(loop):
    async def work(client):
        return await client.nodes()

    async with listening(store=MemoryStore(lease_seconds=60.0)) as server:
        await wait_all_tasks_blocked()  # until it has said what it offers
        (node,) = await server.client(loop, work)
        (own,) = await server.service.supervisor.nodes()

    assert attrs.evolve(node, lease_seconds_left=0) == attrs.evolve(own, lease_seconds_left=0)
    assert type(node.state) is type(own.state)


@both_loops
async def test_who_has_a_session_is_told(loop):
    async def work(client):
        return await client.holder("s")

    async with listening(store=MemoryStore(lease_seconds=60.0)) as server:
        await server.service.supervisor.session("s")
        told = await server.client(loop, work)
        own = await server.service.supervisor.holder("s")

    assert attrs.evolve(told, lease_seconds_left=0) == attrs.evolve(own, lease_seconds_left=0)


async def test_a_store_of_one_process_has_no_nodes(tmp_path):
    async def work(client):
        with pytest.raises(InvalidArgument):
            await client.nodes()
        with pytest.raises(InvalidArgument):
            await client.holder("s")

    async with listening(store=JournalStore(tmp_path / "journal")) as server:
        await server.service.supervisor.session("s")
        await server.client("trio", work)
