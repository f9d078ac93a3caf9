"""Two hundred turns in a small context window, and many sessions at once, against a ModelTwin."""

from __future__ import annotations

import json

import trio
from moorage.adapters.agents.anthropic_api import AnthropicAgent
from moorage.adapters.agents.context_window import ContextWindow
from moorage.adapters.agents.model_twin import HttpError, ModelTwin, Text, ToolUse
from moorage.adapters.agents.tools import tool
from moorage.runtime import RunState, open_supervisor
from moorage.stores import MemoryStore

TOKENS_MAX = 3_000
CHARACTERS_PER_TOKEN = 4
TURNS = 200
OVERFLOWS_AT = 120
"""The turn at which the model says once that the conversation is too long for it."""


@tool
async def measure(what: str) -> dict:
    """Measure something."""
    return {"what": what, "readings": [f"{what}-{n}" for n in range(40)]}


def tokens_of(request):
    """What a request weighs: everything in it that is not a declaration of tools."""
    conversation = json.dumps([request.fields["messages"], request.fields.get("system")])
    return len(conversation) / CHARACTERS_PER_TOKEN


class Model:
    """Answers each turn with a paragraph, every tenth with a tool call; knows only what it is
    shown. A summary that it makes has what it was shown of the cat."""

    def __init__(self):
        self.requests = []
        self.summaries = 0
        self.refusals = 0

    def __call__(self, request):
        shown = request.text
        if request.prompt.startswith("Sum up the conversation"):
            self.summaries += 1
            return Text("The cat is called Miso." if "Miso" in shown else "Nothing of a cat.")
        self.requests.append(request)
        said = request.texts[-1][1] if request.texts else ""
        if said.startswith(f"turn {OVERFLOWS_AT} ") and not self.refusals:
            self.refusals += 1
            return HttpError(400, kind="context_overflow")
        if said == "What is the cat called?":
            return Text("Miso" if "Miso" in shown else "You never told me")
        if (
            request.tool_results
            and request.fields["messages"][-1]["content"][-1].get("type") == "tool_result"
        ):
            return Text("Measured.")
        number = int(said.split()[1])
        return ToolUse("measure", {"what": f"w{number}"}) if number % 10 == 0 else Text("ok " * 40)


def assert_paired(request):
    """Each call that the request shows is followed by its result in the next message."""
    messages = request.fields["messages"]
    for index, message in enumerate(messages):
        content = message["content"] if isinstance(message["content"], list) else []
        calls = {block["id"] for block in content if block["type"] == "tool_use"}
        after = messages[index + 1]["content"] if calls else []
        results = {block["tool_use_id"] for block in after if block["type"] == "tool_result"}
        assert calls == results
    shown = {call.id for call in request.tool_calls}
    assert {result.id for result in request.tool_results} == shown


async def test_two_hundred_turns_stay_under_a_small_limit_and_keep_the_first_one_in_mind():
    model = Model()
    window = ContextWindow(tokens_max=TOKENS_MAX, keep_recent_tokens=800)
    async with ModelTwin(model).serving() as twin:
        agent = AnthropicAgent(
            model="twin",
            base_url=twin.url,
            api_key="any",
            tools=[measure],
            context_window=window,
            retries_max=0,
        )
        async with agent, open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("long")
            first = await session.execute("turn 1 My cat is called Miso, remember that")
            for number in range(2, TURNS):
                outcome = await session.execute(f"turn {number} " + "word " * 40)
                assert outcome.state is RunState.COMPLETED, (number, outcome.error)
            last = await session.execute("What is the cat called?")
            messages = await session.messages()
            events = await session.events(types={"context_compacted", "error_recovered"})

    assert first.state is RunState.COMPLETED
    assert last.output["content"] == "Miso"
    assert len([message for message in messages if message.role == "user"]) == TURNS
    heaviest = max(tokens_of(request) for request in model.requests)
    assert heaviest <= TOKENS_MAX, heaviest
    for request in model.requests:
        assert_paired(request)
    assert sum(event.type == "context_compacted" for event in events) == model.summaries >= 5
    assert [event.data["code"] for event in events if event.type == "error_recovered"] == [
        "context_overflow"
    ]
    assert model.refusals == 1


async def test_fifty_sessions_talk_at_once_and_none_sees_what_another_said():
    def echo(request):
        return Text(f"You said: {request.prompt}", pieces=5, seconds_between=0.002)

    async with ModelTwin(echo).serving() as twin:
        agent = AnthropicAgent(model="twin", base_url=twin.url, api_key="any", retries_max=0)
        async with agent, open_supervisor(MemoryStore(), agent) as supervisor:
            told = {}

            async def talk(number):
                session = await supervisor.session(f"s{number}")
                for turn in ("one", "two"):
                    outcome = await session.execute(f"secret-{number} {turn}")
                    told.setdefault(number, []).append(outcome.unwrap()["content"])

            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(talk, number)
        requests = twin.requests

    assert told == {
        number: [f"You said: secret-{number} {turn}" for turn in ("one", "two")]
        for number in range(50)
    }
    assert len(requests) == 100
    for request in requests:
        number = request.prompt.split()[0]
        assert {word for word in request.text.split() if word.startswith("secret-")} == {number}
