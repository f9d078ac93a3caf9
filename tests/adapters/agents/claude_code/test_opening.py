from __future__ import annotations

import attrs
import pytest
from moorage.adapters.agents.claude_code.opening import open_run
from moorage.adapters.agents.claude_code.putting_off import PutOff
from moorage.adapters.agents.claude_code.session_store import ClaudeSessionStore
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.failures import ContinuationLost
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.provider.opened_run import AgentParts
from moorage.adapters.agents.provider.provider_sessions import (
    Fresh,
    Native,
    Replay,
    save_handle,
)
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument

KEY = {"project_key": "-work", "session_id": "claude-1"}
ENTRIES = [{"type": "user", "uuid": "u1"}]


async def opened(context, said="two", *, hooks=None, alone=True, put_off=None, **settings):
    store = ClaudeSessionStore(context.session, any_project=True)
    request = context.request(said)
    parts = AgentParts(provider="claude", settings=AgentSettings(**settings), hooks=hooks)
    return await open_run(parts, request, context, store, alone=alone, put_off=put_off)


async def after_a_run(*, transcript=True):
    """A context whose session has had one run of Claude Code."""
    context = RecordingContext(run_id="second")
    record = context.session.record
    record("run_submitted", "first", {"input": "one"})
    record("run_started", "first", {})
    record("message_sent", "first", {"role": "user", "content": "one"})
    record("message_received", "first", {"content": "answer"})
    record("run_completed", "first", {"output": None})
    if transcript:
        await ClaudeSessionStore(context.session).append(KEY, ENTRIES)
    await save_handle(context, "claude", "claude-1")
    return context


async def test_a_session_without_a_past_begins_one():
    opening = await opened(RecordingContext(), "Hello")

    assert isinstance(opening.run.continuation, Fresh)
    assert opening.resume is None
    assert opening.content == "Hello"


async def test_a_session_in_which_a_call_waits_is_left_to_who_goes_on_with_it():
    context = await after_a_run()
    handle = (await context.session.info()).metadata["provider_session.claude"]
    marked = {**handle, "run_id": "first", "put_off": True}
    await context.session.configure(metadata_update={"provider_session.claude": marked})

    opening = await opened(context)
    going_on = await opened(context, put_off=PutOff(ToolCall("t1", "Bash", {}), "claude-1"))

    assert isinstance(opening.run.continuation, Replay)
    assert opening.resume is None
    assert isinstance(going_on.run.continuation, Native)
    with pytest.raises(ContinuationLost, match="waits"):
        await opened(context, continuation="native")


async def test_a_call_that_was_put_off_is_gone_on_with_in_its_session_and_nothing_is_said():
    context = await after_a_run()
    put_off = PutOff(ToolCall("t1", "Bash", {}), "claude-2")

    opening = attrs.evolve(await opened(context), put_off=put_off)
    await opening.tell(context)

    assert (opening.resume, opening.content) == ("claude-2", None)
    assert "message_sent" not in [
        event.type for event in context.events if event.run_id == "second"
    ]


async def test_the_sessions_own_conversation_of_claude_code_is_resumed():
    opening = await opened(await after_a_run())

    assert isinstance(opening.run.continuation, Native)
    assert opening.resume == "claude-1"
    assert opening.entries == ENTRIES
    assert opening.content == "two"


async def test_a_transcript_that_is_not_in_the_log_is_replaced_by_a_replay():
    context = await after_a_run(transcript=False)

    opening = await opened(context)
    await opening.tell(context)

    assert isinstance(opening.run.continuation, Replay)
    assert opening.resume is None
    assert "answer" in opening.content[0]["text"]
    (recovered,) = [e.data for e in context.events if e.type == "error_recovered"]
    assert recovered["code"] == "continuation_fallback"
    assert "no transcript of claude-1" in recovered["message"]


async def test_native_continuation_raises_where_the_transcript_is_lost():
    with pytest.raises(ContinuationLost):
        await opened(await after_a_run(transcript=False), continuation="native")


async def test_a_run_beside_another_one_does_not_continue_what_that_continues():
    opening = await opened(await after_a_run(), alone=False)

    assert isinstance(opening.run.continuation, Replay)
    assert opening.resume is None
    assert opening.entries == []


async def test_what_was_said_by_others_since_is_replayed():
    context = await after_a_run()
    await context.session.append("message_sent", {"role": "user", "content": "said elsewhere"})

    opening = await opened(context)

    assert isinstance(opening.run.continuation, Replay)
    assert "said elsewhere" in opening.content[0]["text"]


async def test_after_a_restore_only_the_restored_branch_is_told():
    context = await after_a_run()
    context.session.record("session_restored", None, {"to_seq": 3, "branch": "b"})

    opening = await opened(context)

    assert isinstance(opening.run.continuation, Replay)
    assert "one" in opening.content[0]["text"]
    assert "answer" not in opening.content[0]["text"]


async def test_settings_that_have_changed_are_recorded_and_hold_for_the_next_run():
    context = RecordingContext()
    first = await opened(context, "one", model="m", turns_max=3)
    await first.tell(context)
    await context.session.append("message_received", {"content": "answer"})

    second = await opened(context, {"prompt": "two", "options": {"turns_max": 4}})
    await second.tell(context)

    configured = [e.data for e in context.events if e.type == "conversation_configured"]
    assert second.run.settings.model == "m"
    assert configured == [
        {"model": "m", "turns_max": 3, "provider": "claude"},
        {"turns_max": 4},
    ]


async def test_prompt_hooks_change_what_users_say_and_nothing_else():
    async def shout(content):
        return content.upper()

    said = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
        ]
    }
    context = RecordingContext()

    opening = await opened(context, said, hooks=Hooks(prompt=[shout]))
    await opening.tell(context)

    sent = [e.data for e in context.events if e.type == "message_sent"]
    assert opening.content == "HELLO"
    assert sent == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "HELLO"},
    ]


async def test_a_second_attempt_does_not_tell_again_what_is_said():
    first = RecordingContext()
    await (await opened(first)).tell(first)
    second = RecordingContext(attempt=2, history=first.events)

    await (await opened(second)).tell(second)

    sent = [e for e in second.events if e.type == "message_sent"]
    assert len(sent) == 1


@pytest.mark.parametrize("said", [None, "", {"prompt": "x", "options": {"no": 1}}])
async def test_bad_input_is_refused_and_nothing_is_told(said):
    context = RecordingContext()

    with pytest.raises(InvalidArgument):
        await opened(context, said)

    assert context.events == []
