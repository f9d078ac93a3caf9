"""What one does with a session, from its first word to its deletion, each step looked at."""

from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.anthropic_api import AnthropicAgent
from moorage.adapters.agents.model_twin import ModelTwin, Text
from moorage.runtime import SessionExists, UnknownSession, open_supervisor
from moorage.stores import JournalStore

TALK = [("user", "Hello, I am Ada"), ("assistant", "Hello Ada")]
MORE = [("user", "Who am I?"), ("assistant", "You are Ada")]


def said(messages):
    return [(message.role, message.text) for message in messages]


async def test_a_session_from_its_first_word_to_its_deletion(tmp_path):
    async with ModelTwin([Text(text) for _, text in TALK[1:] + MORE[1:]]).serving() as twin:
        agent = AnthropicAgent(model="twin", base_url=twin.url, api_key="any")
        store = JournalStore(tmp_path / "data")

        # create one with an id of our own, talk, and leave
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("user-42", mode="create", tags={"tenant": "acme"})
            outcome = await session.execute(TALK[0][1], key="message-1")
            assert outcome.unwrap()["content"] == TALK[1][1]
            with pytest.raises(SessionExists):
                await supervisor.session("user-42", mode="create")

        # resume it in another process's place: what was said is there, and goes on
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("user-42", mode="resume")
            assert said(await session.messages()) == TALK
            bookmark = await session.label("before the question", description="only a greeting")
            again = await session.submit(TALK[0][1], key="message-1")
            assert (await again.wait()).run_id == outcome.run_id
            await session.execute(MORE[0][1], key="message-2")
            assert twin.requests[-1].texts == [*TALK, MORE[0]]
            assert len(twin.requests) == 2

            # list, look behind the label, export
            listed = [info async for info in supervisor.sessions(tags={"tenant": "acme"})]
            assert [(info.id, info.summary, info.runs) for info in listed] == [
                ("user-42", TALK[0][1], {"completed": 2})
            ]
            labels = await session.labels()
            assert [(label.label, label.description) for label in labels] == [
                ("before the question", "only a greeting")
            ]
            since = await session.events_since_label(bookmark.label, types={"message_received"})
            assert [event.data["content"] for event in since] == [MORE[1][1]]
            exported = await session.export_messages()
            assert [(one["role"], one["content"]) for one in exported] == TALK + MORE
            assert json.loads(json.dumps(exported)) == exported

            # import it elsewhere, fork it, delete it
            copy = await supervisor.session("copy")
            await copy.add_messages(exported)
            assert said(await copy.messages()) == TALK + MORE
            fork = await session.fork("user-42-fork", seq=bookmark.seq)
            assert said(await fork.messages()) == TALK
            assert await supervisor.delete_session("user-42") is True
            with pytest.raises(UnknownSession):
                await session.messages()
            assert said(await fork.messages()) == TALK
            with pytest.raises(UnknownSession):
                await supervisor.session("user-42", mode="resume")
            left = [info.id async for info in supervisor.sessions()]
            assert sorted(left) == ["copy", "user-42-fork"]
