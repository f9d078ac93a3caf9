"""A conversation goes on in another session, whole or not at all."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    MoorageError,
    SessionBusy,
    SessionExists,
    StoreFailed,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.transcript_pages import read_transcript
from moorage.stores import MemoryStore

from tests.runtime.conftest import FailingStore
from tests.runtime.talks import lines


async def chat(request, context):
    """Records input and answer; the answer tells how many messages there were."""
    await context.emit("message_sent", {"role": "user", "content": request.input})
    await context.flush()
    seen = (await read_transcript(context.session)).context(context.run_id)
    if request.input == "wait":
        await context.emit("message_streamed", {"delta": "half"})
        await trio.sleep_forever()
    await context.emit("message_received", {"content": f"{len(seen)} seen"})
    return {"content": f"{len(seen)} seen"}


@pytest.fixture
async def supervisor(autojump_clock):
    async with open_supervisor(MemoryStore(), chat) as supervisor:
        yield supervisor


@pytest.fixture
async def session(supervisor):
    session = await supervisor.session(
        "s",
        slots=2,
        tags={"tenant": "acme"},
        metadata={"user": 7, "provider_session.claude": {"id": "x"}},
        summary="a talk",
    )
    await session.append("conversation_configured", {"model": "m"})
    await session.execute("one")
    return session


async def said(session):
    return lines(await session.messages())


async def test_a_fork_begins_with_what_was_said_and_goes_its_own_way(session):
    fork = await session.fork("child")

    await fork.execute("two")
    await session.execute("three")

    assert await said(fork) == ["u:one", "a:1 seen", "u:two", "a:3 seen"]
    assert await said(session) == ["u:one", "a:1 seen", "u:three", "a:3 seen"]


async def test_a_fork_takes_over_what_it_should(session):
    seq = (await session.info()).head_seq

    fork = await session.fork("child")

    info = await fork.info()
    assert (info.slots, info.tags, info.summary) == (2, {"tenant": "acme"}, "a talk")
    assert info.metadata == {
        "user": 7,
        "forked_from": {"session_id": "s", "seq": seq, "complete": True},
    }
    assert info.state == "open"
    assert (await fork.transcript()).settings == {"model": "m"}
    assert (await session.transcript()).forks == [("child", seq)]


async def test_a_fork_at_a_seq_has_what_was_said_up_to_there(session):
    seq = (await session.messages())[-1].seq
    await session.execute("two")

    fork = await session.fork(seq=seq)

    assert await said(fork) == ["u:one", "a:1 seen"]
    assert fork.id.startswith("ses_")


async def test_a_fork_keeps_compaction_and_the_labels_of_its_path(session):
    await session.label("one", description="the first")
    left = await session.execute("left")
    await session.label("left behind")
    await session.branch((await session.events(types={"session_labelled"}))[0].seq)
    await session.execute("two")
    kept = (await session.messages())[2].seq
    await session.append("context_compacted", {"summary": "was one", "first_kept_seq": kept})
    await session.label("last")

    fork = await session.fork()

    context = lines(await fork.context())
    labels = {label.label: label for label in await fork.labels()}
    messages = await fork.messages()
    assert left.state == "completed"
    assert "was one" in context[0]
    assert context[1:] == ["u:two", "a:3 seen"]
    assert await said(fork) == await said(session)
    assert sorted(labels) == ["last", "one"]
    assert (labels["one"].seq, labels["one"].description) == (messages[1].seq, "the first")
    assert labels["last"].seq == messages[-1].seq


async def test_a_fork_of_which_all_was_summed_up_keeps_only_the_summary(session):
    first_kept_seq = (await session.info()).head_seq + 1
    data = {"summary": "was one", "first_kept_seq": first_kept_seq}
    await session.append("context_compacted", data)
    cleared = await session.fork()
    await session.clear()
    await session.append("context_compacted", data)

    empty = await session.fork()

    assert [len(await fork.context()) for fork in (cleared, empty)] == [1, 1]


async def test_a_fork_during_a_run_has_only_what_is_certain(autojump_clock, session):
    await session.submit("wait")
    await session.events(types={"message_streamed"}, wait_seconds=1)

    fork = await session.fork()

    assert await said(fork) == ["u:one", "a:1 seen", "u:wait"]
    assert (await fork.context())[-1].text == "wait"


async def test_a_closed_session_can_be_forked(session):
    await session.close()

    fork = await session.fork()

    assert await said(fork) == ["u:one", "a:1 seen"]
    assert (await fork.info()).state == "open"


async def test_a_fork_is_made_once_under_its_id(supervisor, session):
    seq = (await session.info()).head_seq
    await session.fork("child", seq=seq)

    again = await session.fork("child", seq=seq)

    assert await said(again) == ["u:one", "a:1 seen"]
    assert (await session.transcript()).forks == [("child", seq)]
    for options in ({}, {"seq": seq - 1}):
        with pytest.raises(SessionExists):
            await session.fork("child", **options)
    await supervisor.session("other")
    with pytest.raises(SessionExists):
        await session.fork("other")


@pytest.mark.parametrize(
    "options", [{"session_id": "s"}, {"session_id": ""}, {"seq": 0}, {"seq": 99}]
)
async def test_bad_forks_are_refused(session, options):
    with pytest.raises(InvalidArgument):
        await session.fork(**options)


async def test_two_forks_at_once_under_one_id_do_not_mix(session):
    outcomes: list[object] = []

    async def fork():
        try:
            outcomes.append(await said(await session.fork("child")))
        except SessionExists:
            outcomes.append("exists")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fork)
        nursery.start_soon(fork)

    assert sorted(outcomes, key=str) == sorted([["u:one", "a:1 seen"], "exists"], key=str)


async def test_a_fork_that_fails_is_taken_away_again(autojump_clock):
    store = FailingStore()
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")
        await session.execute("one")
        store.only = lambda records: any(r.type == "message_sent" for r in records)
        store.fail()

        with pytest.raises(StoreFailed):
            await session.fork("child")

        with pytest.raises(UnknownSession):
            await supervisor.handle("child").info()
        assert (await session.transcript()).forks == []


async def test_a_fork_that_a_crash_left_half_done_does_not_look_complete_and_is_made_anew(
    autojump_clock,
):
    store = FailingStore()
    with pytest.raises(MoorageError):
        async with open_supervisor(store, chat) as supervisor:
            session = await supervisor.session("s")
            await session.execute("one")
            store.only = lambda records: any(r.type == "message_sent" for r in records)
            store.fail_sync()
            await session.fork("child")
    store.poison, store.broken = None, False
    async with open_supervisor(store, chat) as supervisor:
        half = await supervisor.session("child", mode="resume")
        info = await half.info()
        session = await supervisor.session("s")

        fork = await session.fork("child")

        assert info.metadata["forked_from"]["complete"] is False
        assert info.state == "paused"
        assert (await fork.info()).metadata["forked_from"]["complete"] is True
        assert await said(fork) == ["u:one", "a:1 seen"]
        assert (await fork.execute("two")).state == "completed"


async def test_a_fork_that_its_parent_does_not_know_of_is_noted_by_the_next_call(autojump_clock):
    store = FailingStore()
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")
        await session.execute("one")
        seq = (await session.info()).head_seq
        store.only = lambda records: any(r.type == "session_forked" for r in records)
        store.fail()
        with pytest.raises(StoreFailed):
            await session.fork("child", seq=seq)
        forks = (await session.transcript()).forks

        fork = await session.fork("child", seq=seq)

        assert forks == []
        assert (await session.transcript()).forks == [("child", seq)]
        assert await said(fork) == ["u:one", "a:1 seen"]


async def test_rotation_goes_on_in_a_new_session_with_the_summary(session):
    head_seq = (await session.info()).head_seq

    new = await session.rotate("one was asked", session_id="next")
    await new.execute("two")

    context = lines(await new.context())
    info, old = await new.info(), await session.info()
    assert "one was asked" in context[0]
    assert context[1:] == ["u:two", "a:2 seen"]
    assert (old.state, old.reason) == ("closed", "rotated into next")
    assert info.metadata["rotated_from"] == {"session_id": "s", "seq": head_seq, "complete": True}
    assert info.tags == {"tenant": "acme"}
    assert (await new.transcript()).settings == {"model": "m"}
    assert (await session.transcript()).forks == [("next", head_seq)]


async def test_rotation_is_refused_while_work_is_left(autojump_clock, supervisor, session):
    await session.submit("wait")

    with pytest.raises(SessionBusy):
        await session.rotate("one was asked", session_id="next")
    with pytest.raises(InvalidArgument):
        await session.rotate(" ")

    with pytest.raises(UnknownSession):
        await supervisor.handle("next").info()


async def test_a_session_that_gets_work_while_it_is_rotated_has_no_successor(
    autojump_clock, supervisor, session, monkeypatch
):
    append_many = type(session).append_many

    async def busily(self, events):
        if self.id == "next":
            await session.submit("wait")
        return await append_many(self, events)

    monkeypatch.setattr(type(session), "append_many", busily)
    with pytest.raises(SessionBusy):
        await session.rotate("one was asked", session_id="next")

    with pytest.raises(UnknownSession):
        await supervisor.handle("next").info()
    assert (await session.info()).state == "open"


@pytest.mark.parametrize("type", ["session_closed", "session_configured", "session_resumed"])
async def test_a_rotation_that_a_crash_left_half_done_is_finished_by_the_same_call(
    autojump_clock, type
):
    store = FailingStore()
    with pytest.raises(MoorageError):
        async with open_supervisor(store, chat) as supervisor:
            session = await supervisor.session("s")
            await session.execute("one")
            store.only = lambda records: any(r.type == type for r in records)
            store.fail_sync()
            await session.rotate("one was asked", session_id="next")
    store.poison, store.broken = None, False
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")

        for _ in range(2):
            new = await session.rotate("one was asked", session_id="next")

        info, old = await new.info(), await session.info()
        assert (info.state, info.metadata["rotated_from"]["complete"]) == ("open", True)
        assert (old.state, old.reason) == ("closed", "rotated into next")
        assert (await new.execute("two")).state == "completed"


async def test_a_fork_that_was_complete_when_the_process_died_is_opened_by_the_same_call(
    autojump_clock,
):
    store = FailingStore()
    with pytest.raises(MoorageError):
        async with open_supervisor(store, chat) as supervisor:
            session = await supervisor.session("s")
            await session.execute("one")
            seq = (await session.info()).head_seq
            store.only = lambda records: records[0].type == "session_resumed"
            store.fail_sync()
            await session.fork("child", seq=seq)
    store.poison, store.broken = None, False
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")

        fork = await session.fork("child", seq=seq)

        assert (await fork.info()).state == "open"
        await fork.pause()
        assert (await (await session.fork("child", seq=seq)).info()).state == "paused"


async def test_a_quarantined_session_can_be_forked(autojump_clock):
    store = FailingStore()
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")
        await session.execute("one")
        store.crashing = "s"
        for _ in range(4):
            with pytest.raises(MoorageError):
                await session.append("note", 1)
        store.crashing = None
        assert (await session.info()).state == "quarantined"

        fork = await session.fork("child")

        assert await said(fork) == ["u:one", "a:1 seen"]
        assert (await fork.info()).state == "open"
