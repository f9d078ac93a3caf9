from __future__ import annotations

from functools import partial

import pytest
import trio
from moorage.adapters.gateways.http.durable_streams import registry
from moorage.adapters.gateways.http.durable_streams.configs import CONFIG, StreamConfig
from moorage.adapters.gateways.http.durable_streams.reading import contents
from moorage.adapters.gateways.http.durable_streams.refusals import (
    ProducerGap,
    StaleEpoch,
    StreamDamaged,
    StreamIsClosed,
    WriterSeqRegression,
)
from moorage.adapters.gateways.http.durable_streams.states import CREATED, Producer, Write
from moorage.adapters.gateways.http.problems import StreamConflict, StreamGone
from moorage.runtime import NewEvent
from moorage.runtime.errors import SessionChanged, SessionDeleted, UnknownSession

TEXT = StreamConfig(content_type="text/plain")


async def make(streams, id="s", config=TEXT, *writes):
    view = await streams.make(id, config, writes)
    assert view is not None
    return view


async def append(streams, *texts, id="s", producer=None, **facts):
    told = None if producer is None else Producer(*producer)
    return await streams.append(
        await streams.view(id), Write(contents=texts, producer=told, **facts)
    )


async def text(streams, id="s"):
    view = await streams.view(id)
    pieces, end = await view.read(await view.start(0), bytes_max=10**9)
    assert end == view.tail
    return "".join(map(str, contents(pieces)))


async def test_a_stream_is_there_with_its_first_content_or_not_at_all(gateways, monkeypatch):
    async with gateways() as those:
        streams = those.new()

        async def killed(*args, **options):
            raise OSError("killed")

        monkeypatch.setattr("moorage.runtime.Session.append_many", killed)
        with pytest.raises(OSError, match="killed"):
            await streams.make("s", TEXT, [Write(contents=("lost",))])
        monkeypatch.undo()
        with pytest.raises(UnknownSession):
            await those.new().view("s")
        other = StreamConfig(content_type="text/html")
        view = await make(those.new(), "s", other, Write(contents=("a", "b"), closes=True))

        assert (view.content_type, view.closed) == ("text/html", True)
        assert await text(streams) == "ab"


async def test_what_is_there_is_not_made_again(gateways):
    async with gateways() as those:
        await make(those.new())
        await those.supervisor.session("runs")

        assert await those.new().make("s", TEXT, []) is None
        assert await those.new().make("runs", TEXT, []) is None


async def test_of_two_nodes_that_make_the_same_stream_one_does(gateways):
    made = []
    async with gateways() as those:

        async def make_one(name):
            config = StreamConfig(content_type=f"text/{name}")
            made.append(await those.new().make("s", config, [Write(contents=(name,))]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make_one, "a")
            nursery.start_soon(make_one, "b")
        (view,) = [view for view in made if view is not None]

        assert view.content_type == f"text/{await text(those.new())}"
        assert len(await view.own.session.events(types={CREATED})) == 1


@pytest.mark.parametrize("nodes", [1, 5])
async def test_concurrent_appends_are_all_there_once_from_however_many_nodes(gateways, nodes):
    async with gateways() as those:
        several = [those.new() for _ in range(nodes)]
        await make(several[0])

        async def produce(number):
            streams = several[number % nodes]
            for seq in range(10):
                for _ in range(2):  # each is sent twice
                    await append(streams, f"<{number}:{seq}>", producer=(f"p{number}", 0, seq))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(produce, number)
        found = await text(those.new())

    parts = found.strip("<>").split("><")
    assert sorted(parts) == sorted(f"{n}:{seq}" for n in range(10) for seq in range(10))
    for number in range(10):
        mine = [part for part in parts if part.startswith(f"{number}:")]
        assert mine == [f"{number}:{seq}" for seq in range(10)]


async def test_the_same_append_from_two_nodes_at_once_is_there_once(gateways):
    answers = []
    async with gateways() as those:
        one, other = those.new(), those.new()
        await make(one)

        async def send(streams):
            answers.append(await append(streams, "x", producer=("p", 0, 0)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, one)
            nursery.start_soon(send, other)

        assert await text(one) == "x"
    assert sorted(answer.duplicate for answer in answers) == [False, True]


async def test_a_node_that_is_behind_looks_before_it_decides(gateways):
    async with gateways() as those:
        one, other = those.new(), those.new()
        await make(one)
        await append(other, "a", producer=("p", 0, 0))
        await append(one, "b", producer=("p", 1, 0), writer_seq="5")

        with pytest.raises(StaleEpoch):
            await append(other, "c", producer=("p", 0, 1))
        with pytest.raises(WriterSeqRegression):
            await append(other, "c", writer_seq="5")
        with pytest.raises(ProducerGap):
            await append(other, "c", producer=("p", 1, 2))
        await append(one, closes=True)
        with pytest.raises(StreamIsClosed):
            await append(other, "c")

        assert await text(other) == "ab"


async def test_who_lost_the_race_decides_again(gateways, monkeypatch):
    async with gateways() as those:
        streams = those.new()
        await make(streams)
        real = streams._refresh
        late = []

        async def refresh(known, info):
            state = await real(known, info)
            if not late:  # somebody else appends what we are about to
                late.append(await append(those.new(), "x", producer=("p", 0, 0)))
            return state

        view = await streams.view("s")
        monkeypatch.setattr(streams, "_refresh", refresh)
        done = await streams.append(view, Write(contents=("x",), producer=Producer("p", 0, 0)))

        assert (done.duplicate, done.producer_seq) == (True, 0)
        assert await text(those.new()) == "x"


async def test_a_closed_stream_closes_again_and_takes_a_retry_of_its_last_append(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams)
        await append(streams, "a", producer=("p", 0, 0), closes=True)

        again = await append(those.new(), "a", producer=("p", 0, 0), closes=True)
        only = await append(those.new(), closes=True)
        with pytest.raises(StreamIsClosed):
            await append(streams, closes=True, producer=("p", 0, 1))

        assert again.duplicate
        assert only.duplicate
        assert await text(streams) == "a"


async def test_what_somebody_else_records_in_the_session_is_no_part_of_the_stream(gateways):
    async with gateways() as those:
        streams = those.new()
        view = await make(streams)
        session = view.own.session
        for number in range(registry.BEHIND_EVENTS_MAX + 10):
            await session.append("note", number)
        await append(streams, "a")
        await session.execute("hello")
        await append(streams, "b", producer=("p", 0, 0))

        assert await text(streams) == await text(those.new()) == "ab"
        assert (await append(those.new(), "b", producer=("p", 0, 0))).duplicate


async def test_a_long_stream_is_known_from_its_last_events(gateways, monkeypatch):
    async with gateways() as those:
        streams = those.new()
        await make(streams)
        await append(streams, "first", producer=("old", 3, 0))
        for number in range(600):
            await append(streams, f"{number},", writer_seq=f"{number:04}")
        view = await streams.view("s")
        read = []
        real = type(view.own.session).events

        async def events(self, **options):
            page = await real(self, **options)
            read.extend(page)
            return page

        monkeypatch.setattr(type(view.own.session), "events", events)
        again = await append(those.new(), "first", producer=("old", 3, 0))

    assert again.duplicate
    assert again.view.tail == view.tail
    assert len(read) < 350


async def test_after_a_deletion_the_name_is_free_and_old_offsets_lead_nowhere(gateways):
    async with gateways() as those:
        streams, other = those.new(), those.new()
        await make(streams)
        first = await append(streams, "old", producer=("p", 0, 0), writer_seq="9")
        assert await text(other) == "old"
        await streams.remove("s")
        for gateway in (streams, other):
            with pytest.raises(UnknownSession):
                await gateway.view("s")
        await make(streams, "s", TEXT, Write(contents=("new",)))

        assert await text(other) == await text(streams) == "new"
        assert not (await append(other, "!", producer=("p", 0, 0), writer_seq="1")).duplicate
        view = await streams.view("s")
        assert view.tail > first.view.tail
        with pytest.raises(StreamGone):
            await view.start(first.view.tail)


async def test_a_stream_expires_when_nobody_has_used_it_for_so_long(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams, "s", StreamConfig(content_type="text/plain", ttl_seconds=80))
        those.clock.pass_seconds(79)
        await append(streams, "a")
        those.clock.pass_seconds(79)
        await streams.touch(await streams.view("s"))
        those.clock.pass_seconds(79)
        view = await streams.view("s")  # to look at it is not to use it
        those.clock.pass_seconds(1)
        with pytest.raises(UnknownSession):
            await streams.view("s")
        left = [info.id async for info in those.supervisor.sessions()]

    assert view.config.ttl_seconds == 80
    assert left == []


async def test_reads_are_remembered_over_a_restart_but_for_a_small_part_of_the_time(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams, "s", StreamConfig(content_type="text/plain", ttl_seconds=80))
        for _ in range(40):
            those.clock.pass_seconds(4)
            await streams.touch(await streams.view("s"))
        written = len(await those.supervisor.handle("s").events(types={"session_configured"}))
        those.clock.pass_seconds(79)
        await those.new().view("s")
        those.clock.pass_seconds(12)
        with pytest.raises(UnknownSession):
            await those.new().view("s")

    assert 10 <= written <= 16


async def test_a_stream_expires_at_its_time_whoever_uses_it(gateways):
    async with gateways() as those:
        streams = those.new()
        at_ns = those.clock.now_ns + 10 * 10**9
        config = StreamConfig(content_type="text/plain", expires_at="x", expires_at_ns=at_ns)
        await make(streams, "s", config)
        those.clock.pass_seconds(9)
        await append(streams, "a")
        those.clock.pass_seconds(1)

        with pytest.raises(UnknownSession):
            await append(streams, "b")


async def test_a_session_that_is_closed_or_deleted_is_so_as_a_stream(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams, "s", StreamConfig(content_type="text/plain", ttl_seconds=1))
        session = await those.supervisor.session("s")
        await session.close()
        those.clock.pass_seconds(0.5)
        view = await streams.view("s")
        await streams.touch(view)
        with pytest.raises(StreamIsClosed):
            await append(streams, "a")
        await those.supervisor.delete_session("s", soft=True)
        with pytest.raises(SessionDeleted):
            await streams.view("s")

    assert view.closed


async def test_a_stream_whose_log_was_trimmed_goes_on(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams)
        for number in range(5):
            done = await append(streams, str(number), producer=("p", 0, number))
        session = those.supervisor.handle("s")
        await session.trim(before=done.view.tail)
        fresh = those.new()

        assert await text(fresh) == "4"
        assert (await append(fresh, "4", producer=("p", 0, 4))).duplicate
        with pytest.raises(StreamGone):
            await (await fresh.view("s")).start(2)


async def test_what_was_begun_by_somebody_slow_is_not_taken_from_under_their_hands(gateways):
    async with gateways() as those:
        await those.supervisor.session("s", metadata={CONFIG: TEXT.data()})
        session = those.supervisor.handle("s")
        await make(those.new(), "s", TEXT, Write(contents=("fast",)))

        with pytest.raises(SessionChanged):
            await session.append_many([NewEvent(CREATED, {})], expected_seq=1)
        assert await text(those.new()) == "fast"


async def test_a_session_with_runs_is_a_stream_of_its_events(gateways):
    async with gateways() as those:
        session = await those.supervisor.session("runs")
        await session.execute("hello")
        streams = those.new()
        view = await streams.view("runs")
        read = partial(view.read, bytes_max=10**9)
        pieces, end = await read(await view.start(0))
        head_seq = (await session.info()).head_seq
        await session.trim(before=3)
        rest, _ = await read(await view.start(0))

    assert end == view.tail == head_seq == len(pieces)
    assert [piece.position for piece in rest] == list(range(3, head_seq + 1))
    assert view.config is None


async def forge(those, id, events=(), **config):
    """A session that somebody who holds the supervisor makes look like a stream."""
    data = {"content_type": "text/plain"} | config
    session = await those.supervisor.session(id, metadata={CONFIG: data})
    await session.append_many([NewEvent(type, data) for type, data in events])
    return session


@pytest.mark.parametrize("ids", ["a", "ab", "abc"])
@pytest.mark.parametrize("position", [1, 100])
async def test_streams_that_inherit_from_each_other_in_a_circle_are_refused(
    gateways, ids, position
):
    async with gateways() as those:
        for id, source in zip(ids, ids[1:] + ids[0], strict=True):
            await forge(those, id, [(CREATED, {})], forked_from=source, fork_position=position)
        with pytest.raises(StreamConflict, match="more than 32"):
            await those.new().view("a")


async def test_nothing_is_made_that_would_inherit_from_too_many(gateways):
    async with gateways() as those:
        streams = those.new()
        await make(streams, "f0", TEXT, Write(contents=("x",)))
        position = (await streams.view("f0")).tail
        config = partial(StreamConfig, content_type="text/plain", fork_position=position)
        for number in range(1, registry.FORKS_DEEP_MAX + 1):
            await make(streams, f"f{number}", config(forked_from=f"f{number - 1}"))
        last = registry.FORKS_DEEP_MAX
        assert await text(streams, f"f{last}") == "x"
        with pytest.raises(StreamConflict):
            await streams.make("more", config(forked_from=f"f{last}"), [])
        with pytest.raises(UnknownSession):
            await those.supervisor.handle("more").info()


async def test_what_a_stream_says_it_inherits_is_read_only_for_whoever_may_read_it(gateways):
    async with gateways() as those:
        source = await make(those.new(), "b-secret", TEXT, Write(contents=("secret",)))
        await make(
            those.new(),
            "a-x",
            StreamConfig(
                content_type="text/plain", forked_from="b-secret", fork_position=source.tail
            ),
        )
        streams = those.new()
        assert await text(streams, "a-x") == "secret"
        streams.prefix = "a-"
        with pytest.raises(StreamGone):
            await streams.view("a-x")


@pytest.mark.parametrize("source", ["", "a\n", "x" * 500])
async def test_a_source_that_no_session_can_be_called_is_none(gateways, source):
    async with gateways() as those:
        await forge(those, "a", [(CREATED, {})], forked_from=source, fork_position=9)
        with pytest.raises(StreamGone):
            await those.new().view("a")


async def test_a_session_is_no_stream_for_what_its_metadata_says(gateways):
    async with gateways() as those:
        session = await forge(those, "s", expires_at_ns=0)
        await session.execute("hello")
        streams = those.new()
        view = await streams.view("s")
        made = await streams.make("s", TEXT, [])

        assert (view.config, made) == (None, None)
        assert (await session.info()).runs["completed"] == 1


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("stream_checkpointed", {}),
        ("stream_checkpointed", []),
        ("stream_appended", {}),
        ("stream_appended", None),
        ("stream_closed", {"producer": ["p", 0]}),
    ],
)
async def test_an_event_that_no_stream_records_is_told_each_time(gateways, type, data):
    async with gateways() as those:
        streams = those.new()
        view = await make(streams)
        await view.own.session.append(type, data)

        for gateway in (streams, streams, those.new()):
            with pytest.raises(StreamDamaged, match=type) as refused:
                await gateway.view("s")
            assert refused.value.seq == 3


@pytest.mark.parametrize("change", ["append", "make"])
async def test_what_is_used_at_the_moment_of_its_expiry_stays(gateways, monkeypatch, change):
    async with gateways() as those:
        streams, other = those.new(), those.new()
        config = StreamConfig(content_type="text/plain", ttl_seconds=10)
        await make(other, "s", config)
        view = await other.view("s")
        those.clock.pass_seconds(20)
        real = type(those.supervisor).delete_session
        late = []

        async def delete_session(self, id, **options):
            if not late:
                late.append(change)
                if change == "append":
                    late.append(await other.append(view, Write(contents=("kept",))))
                else:
                    await real(self, id)
                    await make(other, "s", config, Write(contents=("kept",)))
            return await real(self, id, **options)

        monkeypatch.setattr(type(those.supervisor), "delete_session", delete_session)
        await streams.view("s")

        assert late
        assert await text(those.new()) == "kept"
