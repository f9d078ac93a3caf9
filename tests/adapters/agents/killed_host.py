"""A host of an agent that is a process of its own, so that tests can kill it with SIGKILL.

``Host`` starts this file as a program: a supervisor on a journal, one session, commands as lines of
JSON on its standard input, answers on its standard output.
"""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

SECONDS = 120


class Host:
    """The process. ``agent`` is "module:class", made with ``arguments`` (plain data)."""

    def __init__(self, directory: Path, agent: str, arguments: dict[str, Any]) -> None:
        # a file and not the command line: arguments have variables in them
        (directory / "host.json").write_text(json.dumps({"agent": agent, "arguments": arguments}))
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def do(self, what: str, **more: Any) -> Any:
        """Send a command and return the host's answer."""

        def exchange() -> bytes:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()

        with trio.fail_after(SECONDS):
            line = await trio.to_thread.run_sync(exchange, abandon_on_cancel=True)
        assert line, "the host has ended"
        return json.loads(line)

    def descendants(self) -> set[int]:
        """Ids of all processes below the host, but for the watcher, which outlives it by design."""
        found: set[int] = set()
        waiting = [self.process.pid]
        while waiting:
            for file in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                pids = {int(pid) for pid in file.read_text().split()}
                waiting += pids - found
                found |= pids
        return {pid for pid in found if b"watcher_program" not in _command_line(pid)}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.kill()


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


async def main(directory: Path) -> None:
    made = json.loads((directory / "host.json").read_text())
    module, _, name = made["agent"].partition(":")
    agent = getattr(importlib.import_module(module), name)(**made["arguments"])
    async with open_supervisor(JournalStore(str(directory / "journal")), agent) as supervisor:
        session = await supervisor.session("talk")
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            command = json.loads(line)
            what = command.pop("do")
            answer: Any = None
            if what == "submit":
                kind = command.get("on_interrupt", "fail")
                answer = (await session.submit(command["input"], on_interrupt=kind)).id
            elif what == "wait":
                outcome = await session.wait(command["run_id"])
                answer = {"state": outcome.state.value, "output": outcome.output}
            elif what == "approve":
                answer = await session.approve(command["request_id"])
            elif what == "event":  # wait until there are so many of that type; the last one's data
                left = command.get("count", 1)
                async with session.subscribe(after=0, run_id=command["run_id"]) as events:
                    async for event in events:
                        left -= event.type == command["type"]
                        if not left:
                            answer = event.data
                            break
            elif what == "events":
                page = await session.events(limit=1000, types={command["type"]})
                answer = [event.data for event in page]
            elif what == "types":
                page = await session.events(after=0, limit=1000)
                answer = [[event.run_id, event.type] for event in page]
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
