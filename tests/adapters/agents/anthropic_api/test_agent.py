from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import attrs
import pytest
import trio
import trio.testing
from moorage.adapters.agents.anthropic_api.agent import AnthropicAgent
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.model_twin import (
    HttpError,
    ModelTwin,
    Reply,
    Stall,
    Text,
    Thinking,
    ToolUse,
    Usage,
)
from moorage.adapters.agents.provider.failures import ProviderNotConfigured
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

    def __init__(self) -> None:
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
        agent = AnthropicAgent(model="claude-test", environment=self.environment)

        async def run(request: RunRequest, context: RunContext) -> object:
            # the suite's input has options that no agent of a provider knows
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, leaves_nothing: None) -> None:
    fixture = TwinFixture()
    async with ModelTwin(fixture.script).serving() as twin:
        fixture.environment.update(twin.environment("anthropic"))
        await trio.testing.wait_all_tasks_blocked()  # the twin's tasks are there from now on
        await check(fixture)


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_conversation_with_tools_goes_on_after_a_restart(tmp_path: Path) -> None:
    script: list[Reply] = [
        [
            Thinking("I should add", signature="signed"),
            Text("Let me see."),
            ToolUse("add", {"a": 1, "b": 2}),
            ToolUse("add", {"a": 3, "b": 4}),
        ],
        [Text("3 and 7"), Usage(input_tokens=10, output_tokens=100_000, cache_read_tokens=7)],
        Text("You asked for sums."),
    ]
    async with ModelTwin(script).serving() as twin:
        agent = AnthropicAgent(
            model="claude-test",
            system_prompt="Be brief.",
            tools=[add],
            environment=twin.environment("anthropic"),
            prices={"claude": {"input": 1, "output": 10, "cache_read": 0}},
        )

        async with open_supervisor(JournalStore(tmp_path / "store"), agent) as supervisor:
            session = await supervisor.session("talk")
            first: Any = (await session.execute("1 + 2 and 3 + 4?")).unwrap()
        async with open_supervisor(JournalStore(tmp_path / "store"), agent) as supervisor:
            session = await supervisor.session("talk")
            second: Any = (await session.execute("What did I ask?")).unwrap()
            usages = await session.events(types={"token_usage_updated"})

        asked = twin.requests[1]
        assert [(one.text, one.is_error) for one in asked.tool_results] == [
            ("3", False),
            ("7", False),
        ]
        assert asked.fields["messages"][1]["content"][0] == {
            "type": "thinking",
            "thinking": "I should add",
            "signature": "signed",
        }
        assert (asked.system, asked.tools) == ("Be brief.", ["add"])
        last = twin.requests[2]
        assert "1 + 2 and 3 + 4?" in last.text
        assert "3 and 7" in last.text
        assert last.prompt == "What did I ask?"
    assert (first["content"], first["turns"]) == ("3 and 7", 2)
    assert second["content"] == "You asked for sums."
    assert usages[1].data == {
        "input_tokens": 10,
        "output_tokens": 100_000,
        "cache_read_tokens": 7,
        "cost_usd": pytest.approx(1.00001),
    }


async def test_options_reach_the_provider_as_they_are() -> None:
    async with ModelTwin([Text("ok")]).serving() as twin:
        agent = AnthropicAgent(
            model="claude-test",
            environment=twin.environment("anthropic"),
            max_tokens=77,
            prompt_caching=True,
            provider_options={"thinking": {"type": "enabled", "budget_tokens": 1024}},
        )
        context = RecordingContext()
        given = {
            "prompt": "Hello",
            "options": {"model": "other", "provider_options": {"top_k": 5}},
        }

        await execute(agent, context.request(given), context)

        asked = twin.requests[0].fields
        assert (asked["model"], asked["max_tokens"], asked["top_k"]) == ("other", 77, 5)
        assert asked["thinking"] == {"type": "enabled", "budget_tokens": 1024}
        (block,) = asked["messages"][0]["content"]
        assert block["cache_control"] == {"type": "ephemeral"}


async def test_without_a_key_nothing_is_asked() -> None:
    async with ModelTwin([]).serving() as twin:
        environment = {"ANTHROPIC_API_KEY": None, "ANTHROPIC_AUTH_TOKEN": None}
        agent = AnthropicAgent(model="m", environment=environment, base_url=twin.url)
        context = RecordingContext()

        ended = await execute(agent, context.request("Hello"), context)

        assert isinstance(ended.error, ProviderNotConfigured)
        assert "ANTHROPIC_API_KEY" in str(ended.error)
        assert twin.requests == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"retries_max": -1}, "retries_max"),
        ({"turns_max": 0}, "turns_max"),
        ({"permission_mode": "yolo"}, "permission_mode"),
        ({"continuation": "magic"}, "continuation"),
        ({"tools": [add, add]}, "add"),
        ({"coalesce_seconds": "soon"}, "coalesce_seconds"),
    ],
)
def test_arguments_out_of_range_are_named(options: Any, name: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        AnthropicAgent(**options)


async def test_connections_are_shared_and_kept_as_long_as_the_agent_is_entered(
    leaves_nothing: None,
) -> None:
    async with ModelTwin(lambda request: "ok").serving() as twin:
        agent = AnthropicAgent(model="m", environment=twin.environment("anthropic"))

        async def ask() -> None:
            context = RecordingContext()
            await execute(agent, context.request("Hello"), context)

        async with agent:
            await ask()
            await ask()
        kept = twin.statistics().connections
        await ask()
        await ask()

        assert kept == 1
        assert twin.statistics().connections == 3


async def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    async with (
        ModelTwin(lambda request: "ok").serving() as twin,
        anthropic.AsyncAnthropic(
            api_key="mine", base_url=twin.url, default_headers={"x-mine": "yes"}
        ) as client,
    ):
        agent = AnthropicAgent(model="m", client=client)
        for _ in range(2):
            context = RecordingContext()
            async with agent:
                await execute(agent, context.request("Hello"), context)

        assert [one.headers["x-mine"] for one in twin.requests] == ["yes", "yes"]
        assert not client.is_closed()


async def test_runs_at_once_in_one_session_see_what_has_ended_and_not_each_other() -> None:
    def script(request: TwinRequest) -> Reply:
        return [Stall(0.02), Text(f"You said {request.prompt}")]

    async with ModelTwin(script).serving() as twin:
        agent = AnthropicAgent(model="m", environment=twin.environment("anthropic"))
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("both", slots=2)
            runs = [await session.submit(f"{number}") for number in range(6)]
            outputs: list[Any] = [(await run.wait()).unwrap() for run in runs]

        assert [one["content"] for one in outputs] == [f"You said {n}" for n in range(6)]
        for asked in twin.requests:
            *earlier, (_, prompt) = asked.texts
            questions, answers = earlier[::2], earlier[1::2]
            assert prompt == asked.prompt
            assert [text for _, text in answers] == [f"You said {text}" for _, text in questions]


async def test_a_requeued_run_goes_on_behind_the_tool_that_it_has_executed(
    tmp_path: Path,
) -> None:
    added: list[int] = []

    @tool
    async def count(number: int) -> int:
        added.append(number)
        return number

    script: list[Reply] = [
        ToolUse("count", {"number": 1}),
        [Text("It is"), Stall()],
        Text("It is 1."),
    ]
    async with ModelTwin(script).serving() as twin:
        agent = AnthropicAgent(
            model="m", tools=[count], environment=twin.environment("anthropic"), coalesce_seconds=0
        )

        with pytest.raises(KeyError):
            async with open_supervisor(JournalStore(tmp_path / "store"), agent) as supervisor:
                session = await supervisor.session("talk")
                run = await session.submit("Count to 1", on_interrupt="requeue")
                async with session.subscribe(types={"message_streamed"}) as events:
                    async for _ in events:
                        raise KeyError("the service ends")
        async with open_supervisor(JournalStore(tmp_path / "store"), agent) as supervisor:
            session = await supervisor.session("talk")
            output: Any = (await session.wait(run.id)).unwrap()
            messages = await session.messages()

        assert output["content"] == "It is 1."
        assert added == [1]
        assert len(twin.requests) == 3
        assert twin.requests[2].fields["messages"] == twin.requests[1].fields["messages"]
    assert [(one.role, one.text) for one in messages] == [
        ("user", "Count to 1"),
        ("assistant", ""),
        ("tool", ""),
        ("assistant", "It is 1."),
    ]
