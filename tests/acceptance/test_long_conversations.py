"""Two hundred turns in a small context window, and many sessions at once, against a ModelTwin."""

from __future__ import annotations

import itertools
import json

import pytest
import trio
from moorage.adapters.agents.anthropic_api import AnthropicAgent
from moorage.adapters.agents.context_window import ContextWindow
from moorage.adapters.agents.model_twin import HttpError, ModelTwin, Text, ToolUse
from moorage.adapters.agents.openai_api import OpenAIAgent
from moorage.adapters.agents.tools import tool
from moorage.runtime import RunState, open_supervisor
from moorage.stores import MemoryStore

TOKENS_MAX = 3_000
CHARACTERS_PER_TOKEN = 4
TURNS = 200
OVERFLOWS_AT = 120
"""The turn at which the model says once that the conversation is too long for it."""
APIS = ("anthropic", "responses", "chat")
WEIGHS = ("messages", "input", "system", "instructions", "tools")
"""What of a request goes to the model, in any API."""


@tool
async def measure(what: str) -> dict:
    """Measure something."""
    return {"what": what, "readings": [f"{what}-{n}" for n in range(40)]}


def tokens_of(request):
    """What a request weighs: everything in it that goes to the model, as it is sent."""
    sent = {name: request.fields[name] for name in WEIGHS if name in request.fields}
    assert sent
    return len(json.dumps(sent)) / CHARACTERS_PER_TOKEN


def wants_summary(request):
    return request.prompt.startswith("Sum up the conversation")


def agent_of(api, twin, **options):
    options |= {"model": "twin", "api_key": "any", "retries_max": 0}
    if api == "anthropic":
        return AnthropicAgent(base_url=twin.url, **options)
    # the Responses API would else keep what was said, and be sent only what is new
    return OpenAIAgent(api=api, base_url=f"{twin.url}/v1", continuation="replay", **options)


class Model:
    """Answers each turn with a paragraph, every tenth with a tool call; knows only what it is
    shown. A summary that it makes has what it was shown of the cat."""

    def __init__(self):
        self.refusals = 0

    def __call__(self, request):
        shown = request.text
        if wants_summary(request):
            return Text("The cat is called Miso." if "Miso" in shown else "Nothing of a cat.")
        said = request.texts[-1][1] if request.texts else ""
        if said.startswith(f"turn {OVERFLOWS_AT} ") and not self.refusals:
            self.refusals += 1
            return HttpError(400, kind="context_overflow")
        if said == "What is the cat called?":
            return Text("Miso" if "Miso" in shown else "You never told me")
        if ends_with_results(request):
            return Text("Measured.")
        number = int(said.split()[1])
        return ToolUse("measure", {"what": f"w{number}"}) if number % 10 == 0 else Text("ok " * 40)


def items_of(request):
    """(ids of calls, ids of results) in each message of the conversation, in order."""
    for item in request.fields.get("messages") or request.fields["input"]:
        parts = [item]
        if isinstance(item.get("content"), list):
            parts += item["content"]
        parts += item.get("tool_calls") or []
        calls = {
            part.get("call_id") or part["id"]
            for part in parts
            if part.get("type") in ("tool_use", "function", "function_call")
        }
        results = {
            part.get("tool_use_id") or part.get("tool_call_id") or part["call_id"]
            for part in parts
            if part.get("type") in ("tool_result", "function_call_output")
            or part.get("role") == "tool"
        }
        yield calls, results


def ends_with_results(request):
    *_, (_, results) = items_of(request)
    return bool(results)


def assert_paired(request):
    """Each call that the request shows is followed by its result in the next message."""
    items = [*items_of(request), (set(), set())]
    for (calls, _), (_, results) in itertools.pairwise(items):
        assert calls == results
    shown = {call.id for call in request.tool_calls}
    assert {result.id for result in request.tool_results} == shown


@pytest.mark.parametrize("api", APIS)
async def test_two_hundred_turns_stay_under_a_small_limit_and_keep_the_first_one_in_mind(api):
    model = Model()
    window = ContextWindow(tokens_max=TOKENS_MAX, keep_recent_tokens=800)
    async with ModelTwin(model).serving() as twin:
        agent = agent_of(api, twin, tools=[measure], context_window=window)
        async with agent, open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("long")
            first = await session.execute("turn 1 My cat is called Miso, remember that")
            for number in range(2, TURNS):
                outcome = await session.execute(f"turn {number} " + "word " * 40)
                assert outcome.state is RunState.COMPLETED, (number, outcome.error)
            last = await session.execute("What is the cat called?")
            messages = await session.messages()
            events = await session.events(types={"context_compacted", "error_recovered"})
        requests = twin.requests

    assert first.state is RunState.COMPLETED
    assert last.output["content"] == "Miso"
    assert len([message for message in messages if message.role == "user"]) == TURNS
    heaviest = max(requests, key=tokens_of)
    assert tokens_of(heaviest) <= TOKENS_MAX, (tokens_of(heaviest), wants_summary(heaviest))
    for request in requests:
        assert_paired(request)
    summaries = sum(map(wants_summary, requests))
    compactions = sum(event.type == "context_compacted" for event in events)
    # one after an overflow keeps next to nothing, and may need two requests for the rest
    assert 5 <= compactions <= summaries <= compactions + 1
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
