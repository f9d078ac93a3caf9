from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.adapters.agents.context_window import ContextWindow
from moorage.adapters.agents.provider.failures import ContextOverflow
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.agents.recording_session import RecordingSession

from tests.adapters.agents.model_api.scripted_api import (
    Says,
    ScriptedAgent,
    ScriptedApi,
    after,
    data,
)

if TYPE_CHECKING:
    from moorage.runtime.events import Event

OVERFLOW = ContextOverflow("prompt is too long", provider="scripted")


async def long_talk(turns: int = 4) -> RecordingContext:
    """The context of a run behind others that said much."""
    context = RecordingContext()
    for number in range(turns):
        agent = ScriptedAgent(ScriptedApi(f"answer {number} " * 50))
        _, context = await agent.execute(context, input=f"question {number} " * 50)
        context = after(context)
        context.run_id = f"later-{number}"
    return context


async def test_an_overflow_is_asked_again_once_with_a_summary_by_the_same_model() -> None:
    api = ScriptedApi(Says(failure=OVERFLOW), "They counted to 2.", "They counted to 3.", "4")

    ended, context = await ScriptedAgent(api).execute(await long_talk(), input="And then?")

    assert ended.output["content"] == "4"
    assert "question 0" in api.questions[1].messages[0].text
    # in two parts, since all of it would be as long as what was too long
    assert "They counted to 2." in api.questions[2].messages[0].text
    assert api.questions[1].tools == api.questions[2].tools == ()
    texts = [message.text for message in api.questions[3].messages]
    assert "They counted to 3." in texts[0]
    assert texts[-1] == "And then?"
    assert data(context, "context_compacted")[0]["summary"] == "They counted to 3."
    assert data(context, "error_recovered")[0]["code"] == "context_overflow"
    # the summary is nothing that was said
    assert "They counted to 3." not in context.deltas()
    assert len(data(context, "token_usage_updated")) == len(data(context, "turn_completed")) + 2


async def test_an_overflow_that_comes_again_fails_the_run_with_what_the_provider_said() -> None:
    summaries = ("They began.", "They counted.")
    api = ScriptedApi(Says(failure=OVERFLOW), *summaries, Says(failure=OVERFLOW))

    ended, _ = await ScriptedAgent(api).execute(await long_talk(), input="And then?")

    assert ended.error is OVERFLOW
    assert len(api.questions) == 4


async def test_a_window_keeps_what_is_sent_below_its_limit() -> None:
    api = ScriptedApi("4")
    window = ContextWindow(messages_max=3)

    await ScriptedAgent(api, context_window=window).execute(await long_talk(), input="And?")

    assert len(api.questions[0].messages) <= 3
    assert api.questions[0].messages[-1].text == "And?"


async def test_an_overflow_of_the_providers_own_conversation_is_replayed_with_a_summary() -> None:
    api = ScriptedApi(
        Says("1 " * 200, id="m1"),
        Says(failure=OVERFLOW),
        Says(failure=OVERFLOW),
        "They were asked.",
        "They counted.",
        Says("2", id="m2"),
        keeps_answers=True,
    )
    agent = ScriptedAgent(api)
    _, first = await agent.execute(input="Count " * 200)
    metadata = dict((await first.session.info()).metadata)
    context = RecordingContext(
        history=after(first).events, run_id="second", session_metadata=metadata
    )

    ended, _ = await agent.execute(context, input="And?")

    assert ended.output["content"] == "2"
    assert [one.previous for one in api.questions] == [None, "m1", None, None, None, None]
    assert data(context, "error_recovered")[0]["code"] == "continuation_fallback"


async def test_tokens_are_told_with_their_price() -> None:
    prices = {"scripted": {"input": 1_000_000, "output": 2_000_000}}

    _, context = await ScriptedAgent(ScriptedApi("1"), prices=prices).execute()

    assert data(context, "token_usage_updated") == [
        {"input_tokens": 10, "output_tokens": 5, "cost_usd": 20.0}
    ]


async def test_a_summary_is_asked_for_without_what_only_fits_with_tools() -> None:
    api = ScriptedApi(Says(failure=OVERFLOW), "They began.", "They counted.", "4")
    options = {"tool_choice": "any", "top_k": 5}

    await ScriptedAgent(api, provider_options=options).execute(await long_talk(), input="And?")

    assert [one.provider_options for one in api.questions] == [
        options,
        {"top_k": 5},
        {"top_k": 5},
        options,
    ]


class CountingSession(RecordingSession):
    """Counts the events that are read of it."""

    read = 0

    async def events(self, **options: Any) -> list[Event]:
        found = await super().events(**options)
        self.read += len(found)
        return found


async def test_a_run_reads_only_what_is_new_in_its_session() -> None:
    context = await long_talk(turns=20)
    agent = ScriptedAgent(ScriptedApi("1", "2", "3"))
    counts = []
    for number in range(3):
        context.session = session = CountingSession(context.session_id, context)
        _, context = await agent.execute(context, input="And?")
        counts.append(session.read)
        context = after(context)
        context.run_id = f"again-{number}"

    assert counts[0] > 80
    assert counts[1] < 20
    assert counts[2] < 20


async def test_what_a_provider_counted_in_one_session_is_nothing_to_another() -> None:
    api = ScriptedApi(Says("dense", input_tokens=100_000), "4")
    agent = ScriptedAgent(api, context_window=ContextWindow(tokens_max=2_000), tools=[])
    await agent.execute(RecordingContext(session_id="dense"), input="Hello")
    context = await long_talk()

    ended, context = await agent.execute(context, input="And?")

    assert ended.output["content"] == "4"
    assert len(api.questions[1].messages) == 9


async def test_the_first_request_leaves_room_for_what_is_beside_its_messages() -> None:
    requests = []
    for prompt in (None, "Be brief. " * 400):
        api = ScriptedApi("The talk so far.", "4")
        window = ContextWindow(tokens_max=2_000)
        if prompt is None:
            api.answers.pop(0)
        agent = ScriptedAgent(api, context_window=window, system_prompt=prompt)
        await agent.execute(await long_talk(), input="And?")
        requests.append(len(api.questions))

    assert requests == [1, 2]  # the second one had to be summed up first


async def test_a_conversation_that_is_not_sent_is_not_summed_up() -> None:
    api = ScriptedApi("4")
    window = ContextWindow(tokens_max=300, keep_recent_tokens=10)
    agent = ScriptedAgent(api, context_window=window, continuation="none")

    _, context = await agent.execute(await long_talk(), input="And?")

    assert api.asked() == [("user", "And?")]
    assert data(context, "context_compacted") == []
