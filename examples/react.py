"""Reasoning and acting in turns: the model thinks, calls a tool, looks at what it gave, goes on.

python examples/react.py --twin
"""

import trio
from asked_model import asked_model
from moorage.adapters import agents
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

POPULATIONS = {"Bergen": 291_000, "Graz": 303_000}


@agents.tool
async def population(city: str) -> int:
    """How many people live in a city."""
    return POPULATIONS[city]


@agents.tool
async def compare(first: int, second: int) -> str:
    """Which of two numbers is larger: "first", "second" or "neither"."""
    return "first" if first > second else "second" if second > first else "neither"


async def main() -> None:
    async with asked_model() as variables:
        agent = agents.AnthropicAgent(
            model="claude-sonnet-4-5",
            system_prompt="Think, act by calling a tool, look at what it gave, and go on.",
            tools=[population, compare],
            environment=variables("anthropic"),
        )
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("react")
            run = await session.submit("Is Bergen larger than Graz?")
            async with session.subscribe(run_id=run.id) as events:
                async for event in events:
                    if event.type == "message_received":
                        print("thought:", event.data["content"])
                    elif event.type == "tool_call_completed":
                        print("act:", event.data["tool_name"], "->", event.data["tool_output"])


if __name__ == "__main__":
    trio.run(main)
