"""A service that holds one conversation, step by step, until it is told to die by SIGKILL.

    python conversation_service.py DIRECTORY TWIN_URL STEPS

STEPS is a JSON list of lists: a verb and what it takes. What each step gave is a JSON line on
standard output, written after it is durable. Verbs are the methods of ``Service``; ``die`` kills
this process as ``kill -9`` would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.agents.anthropic_api import AnthropicAgent
from moorage.adapters.agents.tools import tool
from moorage.runtime import RunState, open_supervisor
from moorage.stores import JournalStore

if TYPE_CHECKING:
    from moorage.runtime import Run, Session

SESSION_ID = "talk"


def tools_of(directory: Path) -> list[Any]:
    """Tools that leave a line in a file each time they are executed."""

    def note(line: str) -> None:
        with (directory / "executed").open("a") as file:
            file.write(line + "\n")

    @tool(needs_approval=True)
    async def launch(target: str) -> str:
        """Launch something at a target."""
        note(f"launch {target}")
        return f"launched at {target}"

    @tool
    async def look(place: str) -> str:
        """Look at a place."""
        note(f"look {place}")
        return f"{place} is calm"

    @tool
    async def hang(what: str) -> str:
        """Begin, and never end."""
        note(f"hang {what}")
        print(json.dumps("hanging"), flush=True)
        await trio.sleep_forever()
        return ""

    return [launch, look, hang]


class Service:
    """The verbs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run: Run | None = None

    async def say(self, text: str) -> Any:
        """Submit, wait for the end, and tell the output's content, or the outcome's state."""
        outcome = await self._session.execute(text, on_interrupt="requeue")
        completed = outcome.state is RunState.COMPLETED
        return outcome.output["content"] if completed else str(outcome.error)

    async def ask(self, text: str) -> str:
        """Submit, and tell the request id of the approval that it comes to."""
        self._run = await self._session.submit(text, on_interrupt="requeue")
        return await self.pending()

    async def begin(self, text: str) -> str:
        """Submit only, and tell the run's id."""
        self._run = await self._session.submit(text, on_interrupt="requeue")
        return self._run.id

    async def pending(self) -> str:
        """The request id of the last approval that was requested."""
        async with self._session.subscribe(types={"tool_approval_requested"}) as events:
            async for event in events:
                return str(event.data["request_id"])
        raise AssertionError("the session closed")

    async def approve(self, request_id: str) -> bool:
        return await self._session.approve(request_id, by="test")

    async def wait(self, run_id: str) -> Any:
        outcome = await self._session.wait(run_id)
        return [str(outcome.state), outcome.output and outcome.output["content"]]

    async def checkpoint(self) -> str:
        return (await self._session.checkpoint()).checkpoint_id

    async def restore(self, checkpoint_id: str) -> None:
        await self._session.restore(checkpoint_id)

    async def messages(self) -> list[Any]:
        return [[message.role, message.text] for message in await self._session.messages()]

    async def sleep(self) -> None:
        await trio.sleep_forever()

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(directory: Path, url: str, steps: list[list[Any]]) -> None:
    agent = AnthropicAgent(
        model="twin", base_url=url, api_key="any", tools=tools_of(directory), retries_max=0
    )
    async with open_supervisor(JournalStore(directory / "data"), agent) as supervisor:
        service = Service(await supervisor.session(SESSION_ID))
        for verb, *facts in steps:
            told = await getattr(service, verb)(*facts)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
