from __future__ import annotations

import pytest
from moorage.adapters.gateways.http_client import conversation
from moorage.runtime import (
    InvalidArgument,
    NewEvent,
    SessionChanged,
    SessionExists,
    UnknownCheckpoint,
)

from tests.adapters.gateways.http_client.both_loops import both_loops, listening


@both_loops
async def test_a_conversation_is_the_one_the_runtime_tells(loop):
    async def work(client):
        session = await client.session("a")
        await session.execute("hello")
        await session.add_messages([{"role": "user", "content": "and more"}])
        label = await session.label("here", description="d")
        await session.append("note", {"behind": True})
        checkpoint = await session.checkpoint(metadata={"b": b"1"}, label="c")
        since = await session.events_since_label("here", types={"note"})
        told = {
            "messages": await session.messages(),
            "context": await session.context(),
            "labels": await session.labels(),
            "checkpoints": await session.checkpoints(),
            "branches": await session.branches(),
            "export_messages": await session.export_messages(),
        }
        assert checkpoint in told["checkpoints"]
        assert label in told["labels"]
        return told, since

    async with listening() as server:
        told, since = await server.client(loop, work)
        own = server.service.supervisor.handle("a")
        for name, value in told.items():
            assert value == await getattr(own, name)(), name

    assert [event.data for event in since] == [{"behind": True}]
    assert len(told["messages"]) == 3


async def test_one_goes_back_forks_and_goes_on_elsewhere():
    async def work(client):
        session = await client.session("a")
        await session.add_messages([{"role": "user", "content": "one"}])
        checkpoint = await session.checkpoint()
        await session.add_messages([{"role": "user", "content": "two"}])
        forked = await session.fork("fork")
        with pytest.raises(SessionExists):
            await session.fork("fork")
        await session.restore(checkpoint.checkpoint_id)
        restored = [message.text for message in await session.messages()]
        with pytest.raises(UnknownCheckpoint):
            await session.restore("nothing")
        await session.branch(0, name="new")
        branched = await session.messages()
        rotated = await session.rotate("what was said", session_id="next")
        await rotated.clear()
        return (
            restored,
            branched,
            [message.text for message in await forked.messages()],
            (forked.id, rotated.id),
            (await session.info()).state.value,
            await rotated.context(),
        )

    async with listening() as server:
        restored, branched, forked, ids, state, cleared = await server.client("trio", work)

    assert (restored, branched, forked) == (["one"], [], ["one", "two"])
    assert (ids, state, cleared) == (("fork", "next"), "closed", [])


async def test_labels_are_taken_away_once():
    async def work(client):
        session = await client.session("a")
        await session.label("x/y", seq=1)
        with pytest.raises(InvalidArgument, match="no label"):
            await session.events_since_label("nowhere")
        return [await session.unlabel("x/y"), await session.unlabel("x/y")]

    async with listening() as server:
        assert await server.client("trio", work) == [True, False]


async def test_events_are_appended_together_or_not_at_all():
    async def work(client):
        session = await client.session("a")
        assert await session.append_many([]) == []
        events = await session.append_many([NewEvent("x", b"1", {"m": 1}), NewEvent("y", None)])
        with pytest.raises(InvalidArgument):
            await session.append_many([NewEvent("x", 1), NewEvent("run_started", {})])
        with pytest.raises(SessionChanged) as changed:
            await session.append_many([NewEvent("x", 1)], expected_seq=2)
        assert changed.value.head_seq == 3
        return events, (await session.info()).head_seq

    async with listening() as server:
        events, head_seq = await server.client("trio", work)

    assert [(event.seq, event.data, event.metadata) for event in events] == [
        (2, b"1", {"m": 1}),
        (3, None, None),
    ]
    assert head_seq == 3


async def test_a_long_conversation_goes_in_batches(monkeypatch):
    monkeypatch.setattr(conversation, "BATCH_MESSAGES_MAX", 2)
    said = [{"role": "user", "content": f"text {number}"} for number in range(5)]

    async def work(client):
        session = await client.session("a")
        events = await session.add_messages(said)
        with pytest.raises(InvalidArgument, match="message 1"):
            await session.add_messages([said[0], {"role": "nobody"}])
        with pytest.raises(InvalidArgument, match="limit"):
            await session.messages(limit=0)
        some = await session.messages(after=events[1].seq, limit=2)
        return len(events), await session.export_messages(), [message.text for message in some]

    async with listening() as server:
        count, messages, some = await server.client("trio", work)

    assert (count, len(messages)) == (5, 5)
    assert some == ["text 2", "text 3"]
