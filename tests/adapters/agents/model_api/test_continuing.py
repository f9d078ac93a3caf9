from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.provider.failures import ContinuationLost
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import Event

from tests.adapters.agents.model_api.scripted_api import Says, ScriptedAgent, ScriptedApi

LOST = ContinuationLost("no such answer", provider="scripted")


async def add(a: int, b: int) -> int:
    return a + b


def keeping(*answers: Says | str, **options: Any) -> ScriptedAgent:
    return ScriptedAgent(ScriptedApi(*answers, keeps_answers=True), **options)


async def later(context: RecordingContext) -> RecordingContext:
    """The context of the session's next run."""
    end = Event(context.session_id, len(context.events) + 1, 0, "run_completed", context.run_id, {})
    metadata = dict((await context.session.info()).metadata)
    return RecordingContext(
        history=[*context.events, end],
        run_id=f"{context.run_id}+",
        session_metadata=metadata,
    )


def fallbacks(context: RecordingContext) -> list[Any]:
    return [e.data["code"] for e in context.events if e.type == "error_recovered"]


async def test_each_request_of_a_run_carries_what_came_behind_the_last_answer() -> None:
    agent = keeping(Says("I add", [("c", "add", {"a": 1, "b": 2})], id="m1"), Says("3", id="m2"))
    agent = ScriptedAgent(agent.api, tools=[add])

    ended, context = await agent.execute()

    assert ended.output["provider_session"] == "m2"
    received = [
        event.metadata or {} for event in context.events if event.type == "message_received"
    ]
    assert [metadata["provider_session"] for metadata in received] == ["m1", "m2"]
    assert [one.previous for one in agent.api.questions] == [None, "m1"]
    assert agent.api.asked() == [("tool", [("add", 3)])]
    handle = (await context.session.info()).metadata["provider_session.scripted"]
    assert handle["id"] == "m2"


async def test_the_next_run_sends_only_what_is_new() -> None:
    agent = keeping(Says("1", id="m1"), Says("2", id="m2"))
    _, first = await agent.execute()

    _, second = await agent.execute(await later(first), input="And?")

    assert agent.api.questions[1].previous == "m1"
    assert agent.api.asked() == [("user", "And?")]
    assert fallbacks(second) == []


async def test_an_answer_that_is_forgotten_is_replaced_by_the_whole_and_told() -> None:
    agent = keeping(Says("1", id="m1"), Says(failure=LOST), Says("2", id="m2"))
    _, first = await agent.execute()

    ended, second = await agent.execute(await later(first), input="And?")

    assert ended.output["content"] == "2"
    assert agent.api.questions[2].previous is None
    assert agent.api.asked() == [("user", "Hello"), ("assistant", "1"), ("user", "And?")]
    assert fallbacks(second) == ["continuation_fallback"]
    handle = (await second.session.info()).metadata["provider_session.scripted"]
    assert handle["id"] == "m2"


async def test_native_fails_where_the_answer_is_forgotten_or_was_never_kept() -> None:
    agent = keeping(Says("1", id="m1"), Says(failure=LOST), continuation="native")
    _, first = await agent.execute()

    forgotten, second = await agent.execute(await later(first), input="And?")
    never, _ = await agent.execute(await later(second), input="And?")

    assert isinstance(forgotten.error, ContinuationLost)
    assert isinstance(never.error, ContinuationLost)
    assert len(agent.api.questions) == 2


async def test_what_somebody_else_said_since_makes_it_replay() -> None:
    agent = keeping(Says("1", id="m1"), Says("2", id="m2"))
    _, first = await agent.execute()
    context = await later(first)
    await context.session.append("message_sent", {"role": "user", "content": "By the way"})

    _, second = await agent.execute(context, input="And?")

    assert agent.api.questions[1].previous is None
    assert ("user", "By the way") in agent.api.asked()
    assert fallbacks(second) == ["continuation_fallback"]


@pytest.mark.parametrize(
    "options",
    [{"continuation": "replay"}, {"provider_options": {"store": False}}, {"continuation": "none"}],
)
async def test_no_answer_is_continued_where_that_is_not_wanted(options: dict[str, Any]) -> None:
    agent = keeping(Says("1", id="m1"), Says("2", id="m2"), **options)
    _, first = await agent.execute()

    _, second = await agent.execute(await later(first), input="And?")

    assert [one.previous for one in agent.api.questions] == [None, None]
    assert (await second.session.info()).metadata == {}
    assert fallbacks(second) == []


async def test_an_api_that_keeps_nothing_refuses_native() -> None:
    ended, context = await ScriptedAgent(ScriptedApi(), continuation="native").execute()

    assert isinstance(ended.error, InvalidArgument)
    assert context.events == []
