"""A session's conversation: read from its log, changed by events, torn by nothing."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    CorruptLog,
    CursorExpired,
    InvalidArgument,
    RecordTooLarge,
    SessionBusy,
    SessionClosed,
    SupervisorLimits,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.runtime import conversation as conversation_module
from moorage.runtime.conversation import SUMMARY_BYTES_MAX
from moorage.runtime.errors import CheckpointMismatch, UnknownCheckpoint
from moorage.runtime.messages import Message, text_message, tool_call_block, tool_result_block
from moorage.runtime.testing import wait_until
from moorage.runtime.transcript_pages import read_transcript
from moorage.stores import JournalStore, MemoryStore

from tests.runtime.talks import lines


class Chat:
    """An agent that records what it was asked and answers with what it sees of the conversation:
    the number of messages. ``wait`` makes it wait for ``go`` in the middle."""

    def __init__(self) -> None:
        self.contexts: list[list[str]] = []
        self.go = trio.Event()
        self.waiting = 0

    async def __call__(self, request, context):
        await context.emit("message_sent", {"role": "user", "content": request.input})
        await context.flush()
        transcript = await read_transcript(context.session)
        seen = lines(transcript.context(context.run_id))
        self.contexts.append(seen)
        if request.input == "wait":
            self.waiting += 1
            await self.go.wait()
        if request.input == "park":
            await context.park("approval")
        await context.emit("message_received", {"content": f"{len(seen)} seen"})
        return {"content": f"{len(seen)} seen"}


@pytest.fixture
def chat():
    return Chat()


@pytest.fixture
async def supervisor(autojump_clock, chat):
    async with open_supervisor(MemoryStore(), chat) as supervisor:
        yield supervisor


@pytest.fixture
async def session(supervisor):
    return await supervisor.session("s")


async def said(session):
    return lines(await session.messages())


async def test_messages_are_what_was_said(session):
    await session.execute("one")
    await session.execute("two")

    messages = await session.messages()

    assert lines(messages) == ["u:one", "a:1 seen", "u:two", "a:3 seen"]
    assert lines(await session.messages(after=messages[0].seq, limit=2)) == ["a:1 seen", "u:two"]
    assert await session.context() == messages


async def test_messages_of_no_session_raise(supervisor):
    with pytest.raises(UnknownSession):
        await supervisor.handle("nobody").messages()


@pytest.mark.parametrize("bad", [{"after": -1}, {"limit": 0}])
async def test_bad_pages_of_messages_are_refused(session, bad):
    with pytest.raises(InvalidArgument):
        await session.messages(**bad)


async def test_a_session_made_again_has_none_of_the_old_messages(supervisor, session):
    await session.execute("one")
    await session.messages()

    await supervisor.delete_session("s")
    await supervisor.session("s")

    assert await session.messages() == []


async def test_a_reader_beside_the_owner_sees_the_conversation_too(autojump_clock, chat):
    store = MemoryStore()
    async with open_supervisor(store, chat) as supervisor:
        session = await supervisor.session("s")
        await session.execute("one")
        await session.label("here", description="after one")
        point = await session.checkpoint()
    async with open_reader(store) as reader:
        session = reader.session("s")

        assert await said(session) == ["u:one", "a:1 seen"]
        assert [label.label for label in await session.labels()] == ["here"]
        assert await session.checkpoints() == [point]
        assert [branch.active for branch in await session.branches()] == [True]


# ---- messages from elsewhere ----


MESSAGES = [
    text_message("user", "look"),
    Message("assistant", [tool_call_block("c1", "look", {})]),
    Message("tool", [tool_result_block("c1", "look", b"png")]),
    text_message("assistant", "a cat"),
]


async def test_messages_can_be_taken_from_one_session_to_another(supervisor, session):
    await session.add_messages(MESSAGES)
    other = await supervisor.session("other")

    await other.add_messages(await session.export_messages())

    assert await said(other) == ["u:look", "a:c1?", "t:c1=b'png'", "a:a cat"]
    assert [m.blocks for m in await other.messages()] == [m.blocks for m in MESSAGES]
    assert await other.add_messages([]) == []


async def test_a_long_conversation_is_added_in_batches(session, monkeypatch):
    monkeypatch.setattr(conversation_module, "BATCH_EVENTS", 4)
    monkeypatch.setattr(conversation_module, "BATCH_BYTES", 100)
    texts = [f"{number}" for number in range(10)] + ["long" * 20, "long" * 30, "end"]

    events = await session.add_messages([text_message("user", text) for text in texts])

    assert [event.data["content"] for event in events] == texts
    assert [event.seq for event in events] == list(range(2, 15))


async def test_a_message_that_cannot_be_kept_leaves_nothing_of_the_others(autojump_clock, chat):
    limits = SupervisorLimits(record_bytes_max=1_024)
    async with open_supervisor(MemoryStore(), chat, limits=limits) as supervisor:
        session = await supervisor.session("s")

        with pytest.raises(RecordTooLarge):
            await session.add_messages([{"role": "user", "content": x} for x in ("a", "b" * 2_000)])
        with pytest.raises(InvalidArgument, match="message 1 must be a map"):
            await session.add_messages([{"role": "user", "content": "a"}, {"role": "cat"}])

        assert await session.messages() == []


# ---- labels ----


async def test_a_label_is_a_bookmark_that_can_be_moved_and_taken_away(session):
    await session.execute("one")
    first = await session.label("here", description="the start")
    await session.execute("two")
    since = await session.events_since_label("here", types={"message_sent"})

    moved = await session.label("here", seq=1)

    assert (first.label, first.description) == ("here", "the start")
    assert [event.data["content"] for event in since] == ["two"]
    assert await session.labels() == [moved]
    assert (moved.seq, moved.description) == (1, None)
    assert await session.unlabel("here") is True
    assert await session.unlabel("here") is False
    assert await session.labels() == []


async def test_since_an_unknown_label_there_is_nothing(session):
    with pytest.raises(InvalidArgument, match="no label 'there'"):
        await session.events_since_label("there")


@pytest.mark.parametrize(
    "bad",
    [
        {"label": ""},
        {"label": "a", "seq": 0},
        {"label": "a", "seq": 99},
        {"label": "a", "description": 7},
        {"label": "a", "description": "x" * 5_000},
    ],
)
async def test_bad_labels_are_refused(session, bad):
    with pytest.raises(InvalidArgument):
        await session.label(**bad)

    assert await session.labels() == []


# ---- going back ----


async def test_restoring_goes_back_to_the_checkpoint_and_on_from_there(session, chat):
    await session.execute("one")
    point = await session.checkpoint(metadata={"why": "before two"}, label="safe")
    await session.execute("two")

    await session.restore(point.checkpoint_id)
    await session.execute("three")

    assert chat.contexts[-1] == ["u:one", "a:1 seen", "u:three"]
    assert await said(session) == ["u:one", "a:1 seen", "u:three", "a:3 seen"]
    assert await session.checkpoints() == [point]
    assert (point.metadata, point.label) == ({"why": "before two"}, "safe")


@pytest.mark.parametrize("kind", ["memory", "journal"])
async def test_after_restore_and_a_restart_the_next_run_sees_the_restored_branch(kind, tmp_path):
    memory = MemoryStore()

    def store():
        return memory if kind == "memory" else JournalStore(tmp_path)

    with pytest.raises(RuntimeError, match="crash"):
        async with open_supervisor(store(), Chat()) as supervisor:
            session = await supervisor.session("s")
            await session.execute("one")
            point = await session.checkpoint()
            await session.execute("two")
            await session.restore(point.checkpoint_id)
            raise RuntimeError("crash")
    chat = Chat()
    async with open_supervisor(store(), chat) as supervisor:
        session = await supervisor.session("s")
        await session.execute("three")
        messages = await said(session)

    assert chat.contexts == [["u:one", "a:1 seen", "u:three"]]
    assert messages == ["u:one", "a:1 seen", "u:three", "a:3 seen"]


async def test_an_unknown_checkpoint_is_refused(session):
    with pytest.raises(UnknownCheckpoint) as refused:
        await session.restore("chk_none")

    assert refused.value.checkpoint_id == "chk_none"


async def test_a_checkpoint_that_does_not_match_is_refused_and_changes_nothing(session):
    await session.execute("one")
    forged = {"checkpoint_id": "forged", "seq": 5, "checksum": "0" * 64}
    await session.append("checkpoint_created", forged)
    head_seq = (await session.info()).head_seq

    with pytest.raises(CheckpointMismatch) as refused:
        await session.restore("forged")

    assert (refused.value.seq, refused.value.expected) == (5, "0" * 64)
    assert (await session.info()).head_seq == head_seq


async def test_a_checkpoint_whose_messages_were_trimmed_away_is_refused(session):
    await session.execute("one")
    point = await session.checkpoint()
    await session.trim(before=point.seq)

    with pytest.raises(CheckpointMismatch):
        await session.restore(point.checkpoint_id)


@pytest.mark.parametrize("change", ["restore", "clear", "branch"])
@pytest.mark.parametrize("input", ["wait", "park"])
async def test_nothing_goes_back_while_a_run_is_under_way(
    autojump_clock, session, chat, change, input
):
    point = await session.checkpoint()
    run = await session.submit(input)
    await wait_until(lambda: chat.contexts)
    await session.events(after=4, types={"run_waiting"}, wait_seconds=1)
    argument = {"restore": [point.checkpoint_id], "clear": [], "branch": [1]}[change]

    with pytest.raises(SessionBusy):
        await getattr(session, change)(*argument)

    await run.cancel()
    await run.wait()
    await getattr(session, change)(*argument)
    assert await session.messages() == []


async def test_a_queued_run_keeps_nobody_from_going_back(session):
    await session.pause()
    run = await session.submit("one")

    await session.clear()
    await session.resume()
    await run.wait()

    assert await said(session) == ["u:one", "a:1 seen"]


async def test_a_branch_can_be_left_with_a_summary_and_come_back_to(session, chat):
    await session.execute("one")
    fork = (await session.info()).head_seq
    await session.execute("two")
    left = (await session.info()).head_seq

    await session.branch(fork, summary="two was tried", name="other")
    await session.execute("three")
    other = await said(session)
    await session.branch(left)

    assert other[:2] == ["u:one", "a:1 seen"]
    assert "two was tried" in other[2]
    assert chat.contexts[-1] == [*other[:3], "u:three"]
    assert await said(session) == ["u:one", "a:1 seen", "u:two", "a:3 seen"]
    assert [branch.name for branch in await session.branches()] == [None, "other", None]


@pytest.mark.parametrize(
    ("seq", "options"),
    [
        (99, {}),
        (-1, {}),
        (1, {"summary": " "}),
        (1, {"summary": 7}),
        (1, {"summary": "x" * (SUMMARY_BYTES_MAX + 1)}),
        (1, {"name": ""}),
    ],
)
async def test_bad_branches_are_refused(session, seq, options):
    with pytest.raises(InvalidArgument):
        await session.branch(seq, **options)

    assert len(await session.branches()) == 1


async def test_a_branch_from_what_was_trimmed_away_is_refused(session):
    await session.execute("one")
    await session.trim(before=5)

    with pytest.raises(CursorExpired):
        await session.branch(2)


async def test_clearing_forgets_what_was_said_and_keeps_the_settings(session, chat):
    await session.append("conversation_configured", {"model": "m"})
    await session.execute("one")

    await session.clear()
    await session.execute("two")

    assert chat.contexts[-1] == ["u:two"]
    assert (await session.transcript()).settings == {"model": "m"}


async def test_a_closed_conversation_can_be_read_and_not_changed(session):
    await session.execute("one")
    point = await session.checkpoint()
    await session.close()

    for change in (session.label("l"), session.clear(), session.restore(point.checkpoint_id)):
        with pytest.raises(SessionClosed):
            await change

    assert await said(session) == ["u:one", "a:1 seen"]
    assert not issubclass(CheckpointMismatch, CorruptLog)
