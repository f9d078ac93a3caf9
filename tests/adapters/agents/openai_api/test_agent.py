from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import attrs
import openai
import pytest
import trio.testing
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.model_twin import (
    HttpError,
    ModelTwin,
    Reply,
    Stall,
    Text,
    Thinking,
    ToolUse,
)
from moorage.adapters.agents.openai_api.agent import OpenAIAgent
from moorage.adapters.agents.provider.failures import ContinuationLost, ProviderNotConfigured
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.tools import tool
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.stores import JournalStore, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moorage.adapters.agents.model_twin import TwinRequest
    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.runs import RunRequest


class TwinFixture:
    """Behaviour for the suite, scripted at a twin."""

    cancel_grace_seconds = 1.0

    def __init__(self, api: Literal["responses", "chat"]) -> None:
        self.api = api
        self.environment: dict[str, str | None] = {}
        self.said: Reply = ""

    def script(self, request: TwinRequest) -> Reply:
        return self.said

    def returning(self, output: Any) -> Agent:
        """An agent around ours that reads the answer as JSON, since outputs have one form here."""
        agent = self._agent(json.dumps(output))

        async def run(request: RunRequest, context: RunContext) -> object:
            answer: Any = await agent(request, context)
            return json.loads(answer["content"])

        return run

    def streaming(self, deltas: Sequence[str]) -> Agent:
        return self._agent([Text(delta, pieces=1) for delta in deltas])

    def failing(self, message: str) -> Agent:
        return self._agent(HttpError(400, message))

    def endless(self) -> Agent:
        return self._agent([Text("Well,"), Stall()])

    def _agent(self, said: Reply) -> Agent:
        self.said = said
        agent = OpenAIAgent(model="gpt-test", api=self.api, environment=self.environment)

        async def run(request: RunRequest, context: RunContext) -> object:
            # the suite's input has options that no agent of a provider knows
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_it_conforms(
    check: Check, api: Literal["responses", "chat"], leaves_nothing: None
) -> None:
    fixture = TwinFixture(api)
    async with ModelTwin(fixture.script).serving() as twin:
        fixture.environment.update(twin.environment("openai"))
        await trio.testing.wait_all_tasks_blocked()  # the twin's tasks are there from now on
        await check(fixture)


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDING: list[Reply] = [
    [Thinking("I should add"), Text("Let me see."), ToolUse("add", {"a": 1, "b": 2}, id="call_1")],
    Text("It is 3."),
    Text("You asked for 1 + 2."),
]


async def two_runs(agent: OpenAIAgent, path: Path) -> list[Any]:
    """The outputs of a run, and of another one in the same session after a restart."""
    outputs = []
    for question in ("1 + 2?", "What did I ask?"):
        async with open_supervisor(JournalStore(path / "store"), agent) as supervisor:
            session = await supervisor.session("talk")
            outputs.append((await session.execute(question)).unwrap())
    return outputs


async def test_a_chat_sends_the_whole_conversation_after_a_restart(tmp_path: Path) -> None:
    async with ModelTwin(ADDING).serving() as twin:
        agent = OpenAIAgent(
            model="gpt-test",
            api="chat",
            system_prompt="Be brief.",
            tools=[add],
            base_url=f"{twin.url}/v1",
        )

        outputs = await two_runs(agent, tmp_path)

        assert [output["content"] for output in outputs] == ["It is 3.", "You asked for 1 + 2."]
        assert [one.path for one in twin.requests] == ["/v1/chat/completions"] * 3
        assert [one.system for one in twin.requests] == ["Be brief."] * 3
        last = twin.requests[2]
        assert [one["role"] for one in last.fields["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert [one.text for one in last.tool_results] == ["3"]


async def test_responses_continue_natively_and_send_only_what_is_new(tmp_path: Path) -> None:
    async with ModelTwin(ADDING).serving() as twin:
        agent = OpenAIAgent(
            model="gpt-test",
            system_prompt="Be brief.",
            tools=[add],
            environment=twin.environment("openai"),
            max_tokens=99,
        )

        outputs = await two_runs(agent, tmp_path)

        assert [output["content"] for output in outputs] == ["It is 3.", "You asked for 1 + 2."]
        first, second, third = [one.fields for one in twin.requests]
        assert first["max_output_tokens"] == 99
        assert "previous_response_id" not in first
        assert second["previous_response_id"]
        assert second["input"] == [
            {"type": "function_call_output", "call_id": "call_1", "output": "3"}
        ]
        assert third["previous_response_id"] not in (None, second["previous_response_id"])
        assert third["input"] == [{"role": "user", "content": "What did I ask?"}]
        assert third["instructions"] == "Be brief."


@pytest.mark.parametrize("continuation", ["auto", "native"])
async def test_a_response_that_the_provider_forgot_is_replaced_or_fails_the_run(
    tmp_path: Path, continuation: Literal["auto", "native"]
) -> None:
    def script(request: TwinRequest) -> Reply:
        if request.previous_response_id is not None:
            return HttpError(404, "Previous response not found.")
        return f"You said {request.prompt}"

    async with ModelTwin(script).serving() as twin:
        agent = OpenAIAgent(
            model="gpt-test", continuation=continuation, environment=twin.environment("openai")
        )
        async with open_supervisor(JournalStore(tmp_path / "store"), agent) as supervisor:
            session = await supervisor.session("talk")
            await session.execute("one")
            outcome = await session.execute("two")
            told = await session.events(types={"error_recovered"})

        if continuation == "native":
            assert outcome.error is not None
            assert outcome.error.code == ContinuationLost.code
        else:
            assert outcome.unwrap()["content"] == "You said two"  # type: ignore[index]
            assert [event.data["code"] for event in told] == ["continuation_fallback"]
            assert [text for _, text in twin.requests[-1].texts] == ["one", "You said one", "two"]


async def test_what_a_compatible_endpoint_streams_of_its_reasoning_is_thinking() -> None:
    async with ModelTwin([[Thinking("Hm, hm"), Text("ok")]]).serving() as twin:
        agent = OpenAIAgent(model="m", api="chat", base_url=f"{twin.url}/v1")
        context = RecordingContext()

        await execute(agent, context.request("Hello"), context)

        thoughts = [event.data.get("thinking", "") for event in context.events]
        assert "".join(thoughts) == "Hm, hm"


async def test_options_reach_the_provider_as_they_are() -> None:
    async with ModelTwin(lambda request: "ok").serving() as twin:
        for api, kind in (("responses", "max_output_tokens"), ("chat", "max_tokens")):
            agent = OpenAIAgent(
                model="m",
                api=api,  # type: ignore[arg-type]
                environment=twin.environment("openai"),
                max_tokens=5,
                provider_options={"temperature": 0.5},
            )
            context = RecordingContext()
            await execute(agent, context.request("Hello"), context)

            asked = twin.requests[-1].fields
            assert (asked["temperature"], asked[kind]) == (0.5, 5)


async def test_without_a_key_the_official_endpoint_is_not_asked() -> None:
    environment = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}
    context = RecordingContext()

    ended = await execute(
        OpenAIAgent(model="m", environment=environment), context.request("Hello"), context
    )

    assert isinstance(ended.error, ProviderNotConfigured)
    assert "OPENAI_API_KEY" in str(ended.error)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"api": "completions"}, "api"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stall_seconds_max": 0}, "stall_seconds_max"),
    ],
)
def test_arguments_out_of_range_are_named(options: Any, name: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        OpenAIAgent(**options)


async def test_a_chat_endpoint_keeps_no_conversation_to_continue() -> None:
    context = RecordingContext()
    agent = OpenAIAgent(model="m", api="chat", continuation="native", base_url="http://127.0.0.1:1")

    ended = await execute(agent, context.request("Hello"), context)

    assert isinstance(ended.error, InvalidArgument)
    assert context.events == []


async def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    async with (
        ModelTwin(lambda request: "ok").serving() as twin,
        openai.AsyncOpenAI(
            api_key="mine", base_url=f"{twin.url}/v1", default_headers={"x-mine": "yes"}
        ) as client,
    ):
        context = RecordingContext()
        async with OpenAIAgent(model="m", client=client) as agent:
            await execute(agent, context.request("Hello"), context)

        assert twin.requests[0].headers["x-mine"] == "yes"
        assert not client.is_closed()


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_an_approval_waits_without_a_slot_and_executes_its_call(
    api: Literal["responses", "chat"],
) -> None:
    launched: list[str] = []

    @tool(needs_approval=True)
    async def launch(what: str) -> str:
        launched.append(what)
        return "it is up"

    script = [ToolUse("launch", {"what": "rocket"}, id="call_1"), Text("Off it goes.")]
    async with ModelTwin(script).serving() as twin:
        agent = OpenAIAgent(
            model="m", api=api, tools=[launch], environment=twin.environment("openai")
        )
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("talk")
            run = await session.submit("Launch the rocket")
            async with session.subscribe(types={"run_waiting"}) as events:
                async for _ in events:
                    break
            assert (await session.status()).running == ()
            assert await session.approve(f"{run.id}:call_1", tool_input={"what": "kite"})
            output: Any = (await run.wait()).unwrap()

        assert output["content"] == "Off it goes."
        assert launched == ["kite"]
        assert [one.text for one in twin.requests[1].tool_results] == ["it is up"]
