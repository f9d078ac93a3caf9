from __future__ import annotations

import json

import pytest
from moorage.adapters.gateways.http.durable_streams.configs import StreamConfig
from moorage.adapters.gateways.http.durable_streams.reading import PAGE_EVENTS, contents
from moorage.adapters.gateways.http.durable_streams.refusals import StreamDamaged
from moorage.adapters.gateways.http.durable_streams.states import APPENDED, CLOSED, Write
from moorage.adapters.gateways.http.problems import StreamGone
from moorage.runtime.reversible_json import event_to_json

TEXT = StreamConfig(content_type="text/plain")


async def forked(streams, id, source, position):
    config = StreamConfig(content_type="text/plain", forked_from=source, fork_position=position)
    return await streams.make(id, config, [])


async def append(streams, id, *texts):
    return (await streams.append(await streams.view(id), Write(contents=texts))).view


async def read(view, position=0):
    pieces, end = await view.read(await view.start(position), bytes_max=10**9)
    return "".join(map(str, contents(pieces))), end


async def test_a_large_stream_is_read_part_by_part(gateways):
    async with gateways() as those:
        streams = those.new()
        texts = tuple(f"{number:09}" for number in range(PAGE_EVENTS * 3))
        view = await streams.make("s", TEXT, [Write(contents=texts)])
        await streams.append(view, Write(closes=True))
        view = await streams.view("s")
        parts, position = [], await view.start(0)
        while position < view.tail:
            pieces, position = await view.read(position, bytes_max=100)
            parts.append(contents(pieces))
        rest, end = await view.read(position, bytes_max=100)

    assert [text for part in parts for text in part] == list(texts)
    assert max(map(len, parts)) == 12
    assert (rest, end) == ([], view.tail)


async def test_a_fork_of_a_fork_has_the_offsets_of_what_it_inherits(gateways):
    async with gateways() as those:
        streams = those.new()
        await streams.make("a", TEXT, [])
        ends = [(await append(streams, "a", f"a{number}")).tail for number in range(4)]
        await forked(streams, "b", "a", ends[2])
        await append(streams, "a", "later")
        b_ends = [(await append(streams, "b", f"b{number}")).tail for number in range(2)]
        deep = await forked(streams, "c", "b", b_ends[0])
        shallow = await forked(streams, "d", "b", ends[0])
        await append(streams, "c", "c0")
        fresh = those.new()
        deep = await fresh.view("c")

        assert await read(deep) == ("a0a1a2b0c0", deep.tail)
        for position, expected in ((ends[0], "a1a2b0c0"), (ends[2], "b0c0"), (b_ends[0], "c0")):
            assert (await read(deep, position))[0] == expected
        assert await read(shallow) == ("a0", ends[0])
        assert [segment.session.id for segment in deep.segments] == ["a", "b", "c"]
        assert [segment.session.id for segment in shallow.segments] == ["a", "d"]


async def test_streams_of_names_that_were_used_before_are_forked_like_others(gateways):
    async with gateways() as those:
        streams = those.new()
        for id in ("a", "b"):
            await streams.make(id, TEXT, [Write(contents=("old",))])
            await streams.remove(id)
        end = (await streams.make("a", TEXT, [Write(contents=("new",))])).tail
        await forked(streams, "b", "a", end)
        view = await append(streams, "b", "!")

        assert await read(view) == ("new!", view.tail)
        assert await read(view, end) == ("!", view.tail)


async def test_what_was_inherited_and_is_gone_is_told(gateways):
    async with gateways() as those:
        streams = those.new()
        await streams.make("a", TEXT, [])
        ends = [(await append(streams, "a", f"a{number}")).tail for number in range(3)]
        await forked(streams, "b", "a", ends[2])
        view = await append(streams, "b", "b")
        await those.supervisor.handle("a").trim(before=ends[1])
        with pytest.raises(StreamGone):
            await read(view)
        rest = await read(view, ends[0])
        own = await read(view, ends[2])
        await those.supervisor.delete_session("a")
        with pytest.raises(StreamGone):
            await streams.view("b")

    assert rest[0] == "a1a2b"
    assert own[0] == "b"


async def test_events_of_a_session_are_the_same_json_as_everywhere(gateways):
    async with gateways() as those:
        session = await those.supervisor.session("runs")
        await session.append("note", {"bytes": b"\x00", "text": "two\nlines"})
        view = await those.new().view("runs")
        pieces, _ = await view.read(0, bytes_max=1)
        rest, _ = await view.read(pieces[-1].position, bytes_max=10**6)
        events = await session.events()

    assert len(pieces) == 1
    read_back = [json.loads(text) for text in contents([*pieces, *rest])]
    assert read_back == [event_to_json(event) for event in events]


@pytest.mark.parametrize("data", [None, {}, {"content": 1}, []])
async def test_what_was_forged_before_it_was_read_last_is_told(gateways, data):
    async with gateways() as those:
        streams = those.new()
        view = await streams.make("s", TEXT, [])
        await view.own.session.append(APPENDED, data)
        with pytest.raises(StreamDamaged):
            await read(view)
        await view.own.session.trim(before=4)
        await view.own.session.append(CLOSED, "closed")
        with pytest.raises(StreamDamaged, match=CLOSED):
            await view.own.pieces(3)
