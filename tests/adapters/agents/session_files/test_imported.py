from __future__ import annotations

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.session_files.imported import (
    ImportedConversation,
    Mark,
    Summary,
    conversation_events,
    record_conversation,
)
from moorage.runtime import open_supervisor
from moorage.runtime.messages import Message, text_message, tool_call_block, tool_result_block
from moorage.stores import MemoryStore

from tests.runtime.talks import lines

MESSAGES = [
    Message("user", text_message("user", "q1").blocks, time_ns=5),
    Message("assistant", [tool_call_block("a", "t", {}), tool_call_block("b", "t", {})]),
    Message("tool", [tool_result_block("a", "t", 1), tool_result_block("b", "t", 2)]),
    text_message("user", "q2"),
    text_message("assistant", "a2"),
]


@pytest.fixture
async def session(autojump_clock):
    async with open_supervisor(MemoryStore(), ScriptedAgent()) as supervisor:
        yield await supervisor.session("s")


async def test_a_conversation_comes_into_a_session_with_all_that_belongs_to_it(session):
    conversation = ImportedConversation(
        provider="pi",
        messages=MESSAGES,
        settings={"model": "m"},
        summary=Summary("they said q1", 3),
        marks=[Mark("second", 3), Mark("results", 2)],
    )

    events = await record_conversation(session, conversation)

    messages = await session.messages()
    context = await session.context()
    seqs = {label.label: label.seq for label in await session.labels()}
    assert len(events) == 6
    assert lines(messages) == ["u:q1", "a:a? b?", "t:a=1", "t:b=2", "u:q2", "a:a2"]
    assert messages[0].time_ns == 5
    assert "they said q1" in context[0].text
    assert lines(context[1:]) == ["u:q2", "a:a2"]
    assert seqs == {"second": messages[4].seq, "results": messages[2].seq}
    assert (await session.transcript()).settings == {"provider": "pi", "model": "m"}


@pytest.mark.parametrize("messages", [MESSAGES, []])
async def test_a_summary_of_all_there_is_keeps_no_message(session, messages):
    conversation = ImportedConversation(
        provider="codex", messages=messages, summary=Summary("all of it", len(messages))
    )

    await record_conversation(session, conversation)

    (summary,) = await session.context()
    assert "all of it" in summary.text


@pytest.mark.parametrize("messages", [MESSAGES, []])
@pytest.mark.parametrize("settings", [{"model": "m"}, {}])
async def test_the_events_of_a_conversation_are_those_that_recording_it_leaves(
    session, messages, settings
):
    conversation = ImportedConversation(
        provider="pi",
        messages=messages,
        settings=settings,
        summary=Summary("they said q1", len(messages) // 2),
        marks=[Mark("second", 3)] if messages else [],
    )

    await record_conversation(session, conversation)

    recorded = [(event.type, event.data, event.metadata) for event in await session.events()]
    events = conversation_events(conversation, first_seq=2)
    assert [(event.type, event.data, event.metadata) for event in events] == recorded[1:]
