from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.http.durable_streams.configs import forks_of
from moorage.adapters.gateways.http.durable_streams.creating import Fork, Wanted, create
from moorage.adapters.gateways.http.durable_streams.offsets import write_offset
from moorage.adapters.gateways.http.durable_streams.reading import contents
from moorage.adapters.gateways.http.durable_streams.refusals import ContentTypeMismatch
from moorage.adapters.gateways.http.durable_streams.states import Write
from moorage.adapters.gateways.http.problems import MalformedRequest, StreamConflict
from moorage.runtime.errors import UnknownSession

TEXT = {"content_type": "text/plain"}


async def made(streams, id, **wanted):
    view, new = await create(streams, id, Wanted(**wanted))
    assert new
    return view


async def body(view):
    pieces, _ = await view.read(await view.start(0), bytes_max=10**9)
    return [
        content.encode() if isinstance(content, str) else content for content in contents(pieces)
    ]


async def test_creating_again_finds_what_is_there(gateways):
    async with gateways() as those:
        streams = those.new()
        first = await made(streams, "s", **TEXT, ttl_seconds=5, body=b"x")
        again, new = await create(those.new(), "s", Wanted(**TEXT, ttl_seconds=5, body=b"x"))

        assert not new
        assert again.tail == first.tail
        assert await body(again) == [b"x"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"content_type": "text/html", "ttl_seconds": 5},
        {"ttl_seconds": 5},
        {**TEXT, "ttl_seconds": 6},
        TEXT,
        {**TEXT, "expires_at": "x", "expires_at_ns": 2 * 10**18},
        {**TEXT, "ttl_seconds": 5, "closes": True},
        {**TEXT, "ttl_seconds": 5, "fork": Fork(source="other")},
    ],
)
async def test_something_else_of_the_same_name_is_a_conflict(gateways, wanted):
    async with gateways() as those:
        streams = those.new()
        await made(streams, "s", **TEXT, ttl_seconds=5)

        with pytest.raises(StreamConflict, match="not as it is wanted"):
            await create(streams, "s", Wanted(**wanted))


async def test_a_session_with_runs_is_neither_made_nor_forked_into_a_raw_stream(gateways):
    async with gateways() as those:
        streams = those.new()
        await those.supervisor.session("runs")

        with pytest.raises(StreamConflict, match="session with runs"):
            await create(streams, "runs", Wanted(content_type="application/json"))
        with pytest.raises(StreamConflict, match="forks"):
            await create(streams, "s", Wanted(fork=Fork(source="runs")))


async def test_two_who_create_the_same_at_once_both_get_it(gateways):
    found = []
    async with gateways() as those:

        async def create_one():
            found.append(await create(those.new(), "s", Wanted(**TEXT, body=b"x")))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(create_one)
        bodies = [await body(view) for view, _ in found]

    assert sorted(new for _, new in found) == [False, False, True]
    assert bodies == [[b"x"]] * 3


async def test_a_fork_begins_with_what_was_there_and_lives_as_long(gateways):
    async with gateways() as those:
        streams = those.new()
        await made(streams, "s", **TEXT, ttl_seconds=9, body=b"one", closes=True)
        fork = await made(streams, "f", fork=Fork(source="s"), body=b"two")
        _, new = await create(streams, "f", Wanted(fork=Fork(source="s")))
        own = await made(streams, "g", fork=Fork(source="s"), expires_at="x", expires_at_ns=2**62)
        source = await streams.view("s")

        assert await body(fork) == [b"one", b"two"]
        assert (fork.config.ttl_seconds, fork.content_type) == (9, "text/plain")
        assert (own.config.ttl_seconds, own.config.expires_at) == (None, "x")
        assert not fork.closed
        assert not new
        assert sorted(forks_of(source.info)) == ["f", "g"]


@pytest.mark.parametrize(
    ("sub_offset", "expected"),
    [(1, [b"a", b"b"]), (3, [b"a", b"bcd"]), (0, [b"a"])],
)
async def test_a_fork_takes_a_part_of_what_was_appended_next(gateways, sub_offset, expected):
    async with gateways() as those:
        streams = those.new()
        first = await made(streams, "s", **TEXT, body=b"a")
        await streams.append(first, Write(contents=("bcd",)))
        await streams.append(first, Write(contents=("e",)))
        place = Fork(source="s", offset=write_offset(first.tail), sub_offset=sub_offset)
        fork = await made(streams, "f", fork=place)

        assert await body(fork) == expected
        with pytest.raises(MalformedRequest, match="1 more than"):
            await create(
                streams, "g", Wanted(fork=Fork(source="s", offset=place.offset, sub_offset=4))
            )


async def test_a_large_append_is_cut_at_a_sub_offset(gateways):
    async with gateways() as those:
        streams = those.new()
        large = bytes(range(256)) * 8_192  # read in several parts, of several pieces
        await made(streams, "s", body=large)
        fork = await made(
            streams, "f", fork=Fork(source="s", offset="-1", sub_offset=len(large) - 1)
        )

        assert b"".join(await body(fork)) == large[:-1]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"content_type": "text/html", "fork": Fork(source="s")}, ContentTypeMismatch),
        ({"fork": Fork(source="s", offset=write_offset(10**9))}, MalformedRequest),
        ({"fork": Fork(source="s", offset="nonsense")}, MalformedRequest),
        ({"fork": Fork(source="s", sub_offset=1)}, MalformedRequest),
        ({"fork": Fork(source="nothing")}, UnknownSession),
    ],
)
async def test_a_fork_that_is_refused_leaves_nothing_behind(gateways, wanted, error):
    async with gateways() as those:
        streams = those.new()
        await made(streams, "s", **TEXT, body=b"x")
        with pytest.raises(error):
            await create(streams, "f", Wanted(**wanted))

        assert forks_of((await streams.view("s")).info) == []
        with pytest.raises(UnknownSession):
            await streams.view("f")


async def test_two_who_fork_at_once_leave_one_fork_that_its_source_knows(gateways):
    async with gateways() as those:
        await made(those.new(), "s", **TEXT, body=b"x")

        async def fork_one():
            await create(those.new(), "f", Wanted(fork=Fork(source="s")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fork_one)
            nursery.start_soon(fork_one)

        assert forks_of((await those.new().view("s")).info) == ["f"]
