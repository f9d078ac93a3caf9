from __future__ import annotations

import math

import pytest
from moorage.adapters.gateways.http.durable_streams.configs import (
    CONFIG,
    FORK,
    StreamConfig,
    forks_of,
)
from moorage.adapters.gateways.http.durable_streams.creating import Fork, Wanted, create
from moorage.adapters.gateways.http.durable_streams.removal import (
    BEING_MADE_SECONDS,
    KEPT_FOR_FORKS,
    register,
    release,
    retained_seconds,
)
from moorage.adapters.gateways.http.durable_streams.states import Write
from moorage.adapters.gateways.http.problems import StreamConflict
from moorage.runtime.errors import SessionDeleted, UnknownSession

NOW_NS = 10**18


async def chain(streams, *ids):
    """Each is a fork of the one before."""
    source = None
    for id in ids:
        fork = None if source is None else Fork(source=source)
        await create(streams, id, Wanted(fork=fork, body=id.encode()))
        source = id


async def left(those):
    return sorted([info.id async for info in those.supervisor.sessions(include_deleted=True)])


async def test_a_source_stays_out_of_reach_until_its_last_fork_is_gone(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a", "b", "c")
        await create(streams, "d", Wanted(fork=Fork(source="a")))
        await streams.remove("a")
        await streams.remove("b")
        for id in ("a", "b"):
            with pytest.raises(SessionDeleted):
                await streams.view(id)
            with pytest.raises(StreamConflict):
                await create(streams, id, Wanted())
            with pytest.raises(StreamConflict):
                await create(streams, "e", Wanted(fork=Fork(source=id)))
        at_first = await left(those)
        await streams.remove("c")
        then = await left(those)
        await streams.remove("d")

        assert at_first == ["a", "b", "c", "d"]
        assert then == ["a", "d"]
        assert await left(those) == []


async def test_a_source_that_is_not_deleted_forgets_forks_that_are(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a", "b")
        kept = (await streams.view("a")).info.expire_after_seconds
        await streams.remove("b")
        info = (await streams.view("a")).info
        await streams.remove("a")

        assert kept == math.inf
        assert (forks_of(info), info.expire_after_seconds) == ([], None)
        assert await left(those) == []


async def test_what_happens_while_a_stream_is_deleted_is_looked_at_again(gateways, monkeypatch):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a")
        real = type(those.supervisor).delete_session
        late = []

        async def delete_session(self, id, **options):
            if not late:
                late.append(await create(those.new(), "b", Wanted(fork=Fork(source="a"))))
            return await real(self, id, **options)

        monkeypatch.setattr(type(those.supervisor), "delete_session", delete_session)
        await streams.remove("a")

        assert await left(those) == ["a", "b"]
        pieces, _ = await (await streams.view("b")).read(0, bytes_max=9)
        assert [piece.content for piece in pieces] == ["a"]


async def test_a_fork_whose_maker_was_killed_holds_its_source_for_a_minute(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a")
        await register(those.supervisor, "a", "never", those.clock())
        await streams.remove("a")
        with pytest.raises(SessionDeleted):
            await streams.view("a")
        held = await left(those)
        await those.supervisor.restore_session("a")
        those.clock.pass_seconds(BEING_MADE_SECONDS)
        await streams.remove("a")

        assert held == ["a"]
        assert await left(those) == []


async def test_a_stream_that_took_the_name_of_a_fork_holds_nothing(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a", "b")
        await those.supervisor.delete_session("b")  # not as a stream: the source is not told
        await chain(streams, "b")
        await streams.remove("a")

        assert await left(those) == ["b"]


async def test_telling_a_source_that_is_gone_is_no_error(gateways):
    async with gateways() as those:
        await release(those.supervisor, "nothing", "f", those.clock)
        with pytest.raises(UnknownSession):
            await register(those.supervisor, "nothing", "f", those.clock())


async def test_a_source_has_as_many_forks_as_its_metadata_has_room_for(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a")
        with pytest.raises(StreamConflict, match="too many forks"):
            for number in range(1_000):
                await register(those.supervisor, "a", f"{number:0100}", those.clock())
        count = len(forks_of((await streams.view("a")).info))
        view = await streams.append(await streams.view("a"), Write(contents=("x",)))

        assert 100 < count < 200
        assert view.view.tail


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {FORK + "a-x": 0},
        {CONFIG: {"content_type": "a/b"}},
        {CONFIG: {"content_type": "a/b"}, FORK + "b": 0},
    ],
    ids=["a session", "an entry", "a stream", "the source of others"],
)
async def test_what_does_not_know_of_a_fork_is_left_as_it_is(gateways, metadata, deleted):
    async with gateways() as those:
        session = await those.supervisor.session("b-theirs", metadata=metadata)
        if deleted:
            await those.supervisor.delete_session("b-theirs", soft=True, reason=KEPT_FOR_FORKS)
        before = await session.info()
        await make_forged_fork(those, source="b-theirs")
        await those.new().remove("a-x")

        assert await session.info() == before


async def make_forged_fork(those, source):
    made = StreamConfig(content_type="a/b", forked_from=source, fork_position=9)
    await those.supervisor.session("a-x", metadata={CONFIG: made.data()})


async def test_a_source_that_somebody_has_hidden_can_be_restored_without_its_forks(gateways):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a", "b")
        await those.supervisor.delete_session("a", soft=True, reason="by mistake")
        await streams.remove("b")
        hidden = await left(those)
        await those.supervisor.restore_session("a")

        assert hidden == ["a"]
        assert (await streams.view("a")).tail


async def test_a_source_that_is_restored_while_its_last_fork_goes_stays(gateways, monkeypatch):
    async with gateways() as those:
        streams = those.new()
        await chain(streams, "a", "b")
        await streams.remove("a")
        real = type(those.supervisor).delete_session

        async def delete_session(self, id, **options):
            if id == "a":
                await self.restore_session("a")
            return await real(self, id, **options)

        monkeypatch.setattr(type(those.supervisor), "delete_session", delete_session)
        await streams.remove("b")

        assert await left(those) == ["a"]
        assert forks_of((await streams.view("a")).info) == []


async def test_a_session_that_is_no_stream_keeps_no_forks(gateways):
    async with gateways() as those:
        session = await those.supervisor.session("runs")
        before = await session.info()
        with pytest.raises(StreamConflict, match="no raw stream"):
            await register(those.supervisor, "runs", "f", those.clock())

        assert await session.info() == before


def test_retention_comes_by_when_a_stream_is_over():
    def config(**facts):
        return StreamConfig(content_type="a/b", **facts)

    assert retained_seconds(config(), NOW_NS) is None
    assert retained_seconds(config(ttl_seconds=80), NOW_NS) > 90
    assert retained_seconds(config(expires_at_ns=NOW_NS + 5 * 10**9), NOW_NS) == 5
    assert retained_seconds(config(expires_at_ns=NOW_NS - 5 * 10**9), NOW_NS) == 0
