from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
import trio
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse
from moorage.adapters.agents.openai_api.agents_sdk_session import MoorageSession
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.agents.real_agents import require

sdk: Any = require("agents")
pytestmark = pytest.mark.real_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from moorage.runtime import RunContext, RunRequest, Session


async def idle(request: RunRequest, context: RunContext) -> None:
    return None


@pytest.fixture
async def log() -> AsyncIterator[Session]:
    async with open_supervisor(MemoryStore(), idle) as supervisor:
        yield await supervisor.session("user-42")


async def in_asyncio(function: Callable[[], Awaitable[Any]]) -> Any:
    """Call it in an event loop of asyncio, in a thread, as a service would have it."""

    async def main() -> Any:
        return await function()

    return await trio.to_thread.run_sync(lambda: asyncio.run(main()))


def said(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_items_come_back_in_order_and_the_latest_of_them(log: Session) -> None:
    session = MoorageSession(log)
    items = [said("1"), said("2"), {"type": "reasoning", "id": "r", "summary": []}]

    await session.add_items(items[:2])
    await session.add_items(items[2:])
    await session.add_items([])

    assert await session.get_items() == items
    assert await session.get_items(limit=2) == items[1:]
    assert await session.get_items(limit=0) == []
    assert await MoorageSession(log).get_items() == items
    assert session.session_id == "user-42"
    assert isinstance(session, sdk.Session)


async def test_popping_takes_the_last_item_until_there_is_none(log: Session) -> None:
    session = MoorageSession(log)
    await session.add_items([said("1"), said("2")])

    assert await session.pop_item() == said("2")
    await session.add_items([said("3")])
    assert await session.get_items() == [said("1"), said("3")]
    assert [await session.pop_item() for _ in range(3)] == [said("3"), said("1"), None]
    assert await session.get_items() == []


async def test_clearing_removes_all_and_the_log_keeps_it(log: Session) -> None:
    session = MoorageSession(log)
    await session.add_items([said("1")])

    await session.clear_session()
    await session.add_items([said("2")])

    assert await session.get_items() == [said("2")]
    events = await log.events()
    assert [event.type for event in events[1:]] == [
        "message_sent",
        "conversation_cleared",
        "message_sent",
    ]


async def test_two_that_pop_at_once_get_different_items(log: Session) -> None:
    session = MoorageSession(log)
    await session.add_items([said("1"), said("2")])
    popped: list[Any] = []

    async def pop() -> None:
        popped.append(await session.pop_item())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pop)
        nursery.start_soon(pop)

    assert sorted(one["content"] for one in popped) == ["1", "2"]


async def test_settings_of_the_sdk_limit_what_is_given(log: Session) -> None:
    session = MoorageSession(log, session_settings=sdk.SessionSettings(limit=1))
    await session.add_items([said("1"), said("2")])

    assert await session.get_items() == [said("2")]
    assert await session.get_items(limit=2) == [said("1"), said("2")]


async def test_it_works_from_asyncio(log: Session) -> None:
    session = MoorageSession(log)

    async def talk() -> Any:
        await session.add_items([said("1"), said("2")])
        return await session.pop_item(), await session.get_items()

    assert await in_asyncio(talk) == (said("2"), [said("1")])


async def test_a_cancelled_wait_ends_when_the_change_is_made(log: Session) -> None:
    session = MoorageSession(log)

    async def talk() -> bool:
        task = asyncio.ensure_future(session.add_items([said("1")]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert await in_asyncio(talk)
    assert await session.get_items() == [said("1")]


def test_outside_of_trio_it_has_to_be_told_where_the_supervisor_is() -> None:
    log: Any = None

    with pytest.raises(InvalidArgument, match="trio_token"):
        MoorageSession(log)


async def test_what_is_no_item_is_refused_and_changes_nothing(log: Session) -> None:
    session = MoorageSession(log)
    bad: list[Any] = [said("1"), {"role": "user", "content": object()}]

    with pytest.raises(InvalidArgument):
        await session.add_items(bad)
    with pytest.raises(InvalidArgument, match="must be a map"):
        await session.add_items(["text"])  # type: ignore[list-item]

    assert await session.get_items() == []


async def test_an_agent_of_the_sdk_remembers_after_a_restart(tmp_path: Path) -> None:
    @sdk.function_tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    script = [ToolUse("add", {"a": 1, "b": 2}), Text("It is 3."), Text("You asked for 1 + 2.")]
    async with ModelTwin(script).serving() as twin:

        async def ask(session: MoorageSession, question: str) -> Any:
            async def run() -> Any:
                async with openai.AsyncOpenAI(api_key="none", base_url=f"{twin.url}/v1") as client:
                    model = sdk.OpenAIResponsesModel("gpt-test", client)
                    agent = sdk.Agent(name="adder", model=model, tools=[add])
                    config = sdk.RunConfig(tracing_disabled=True)
                    found = await sdk.Runner.run(
                        agent, question, session=session, run_config=config
                    )
                    return found.final_output

            return await in_asyncio(run)

        for question, answer in (
            ("1 + 2?", "It is 3."),
            ("What did I ask?", "You asked for 1 + 2."),
        ):
            async with open_supervisor(JournalStore(tmp_path / "store"), idle) as supervisor:
                session = MoorageSession(await supervisor.session("user-42"))
                assert await ask(session, question) == answer

        assert "1 + 2?" in twin.requests[-1].text
        assert "It is 3." in twin.requests[-1].text
