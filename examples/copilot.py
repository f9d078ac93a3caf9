import trio
from asked_model import asked_model
from moorage.adapters import agents
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore


async def main() -> None:
    async with asked_model() as variables:
        agent = agents.CopilotAgent(environment=variables("copilot"))
        print("version:", await agent.version())
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("example")
            for said in ("My name is Ada.", "What is my name?"):
                outcome = await session.execute(said)
                print(said, "->", outcome.unwrap()["content"])


if __name__ == "__main__":
    trio.run(main)
