from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.command_line import app
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore
from typer.testing import CliRunner

from tests.redis_server import new_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[3]


class Moorage:
    """The command line in this process, on a directory of its own, or another store."""

    def __init__(self, data: Path, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.environment = {"MOORAGE_DATA": str(data)} if environment is None else environment

    def __call__(self, *arguments: str, input: str | bytes | None = None, code: int = 0) -> Any:
        """Run a command; fails unless it exits with ``code``."""
        result = CliRunner().invoke(app, list(arguments), input=input, env=self.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert code == result.exit_code, result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def lines(self, *arguments: str) -> list[Any]:
        return [json.loads(line) for line in self(*arguments).stdout.splitlines()]

    def fill(self, work: Callable[..., Any], agent: Any = None) -> Any:
        """Do something with a supervisor on the journal."""

        async def main() -> Any:
            store = JournalStore(self.data)
            async with open_supervisor(store, agent or ScriptedAgent()) as supervisor:
                return await work(supervisor)

        return trio.run(main)


@pytest.fixture
def moorage_at() -> Callable[[Path], Moorage]:
    """The command line on another directory."""
    return Moorage


@pytest.fixture
def moorage(tmp_path: Path) -> Iterator[Moorage]:
    yield Moorage(tmp_path / "data")
    structlog.reset_defaults()


@pytest.fixture(params=["journal", "sqlite", "jsonl", "postgres", "redis"])
def store_spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind, empty and new."""
    if request.param == "postgres":
        schema = request.getfixturevalue("postgres")
        return f"postgres:{schema.server.dsn}?schema={schema.name}"
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}?prefix={new_prefix()}"
    return f"{request.param}:{tmp_path / request.param}"


@pytest.fixture
def on_store(store_spec: str) -> Iterator[Moorage]:
    """The command line on each kind of store, which the environment names."""
    yield Moorage(Path("not here"), {"MOORAGE_STORE": store_spec})
    structlog.reset_defaults()


@pytest.fixture
def filled(moorage: Moorage) -> Moorage:
    """Session a has two runs and an event of all kinds of data, session b is empty."""

    async def work(supervisor: Any) -> None:
        session = await supervisor.session("a", slots=2, tags={"team": "x"}, metadata={"n": 1})
        await session.execute("hello", key="first")
        await session.append("note", {"b": b"\0\xff", "f": float("nan"), "i": 2**64 - 1, "$k": 1})
        await session.execute({"x": 1})
        await supervisor.session("b")

    moorage.fill(work)
    return moorage


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process; whatever is left of it at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=options.pop("stdin", subprocess.PIPE),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            cwd=options.pop("cwd", REPOSITORY),
            env={**os.environ, "COLUMNS": "200", **options.pop("environment", {})},
            **options,
        )
        started.append(process)
        return process

    yield start

    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


OWNER = """
import math, sys, trio
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import JournalStore
from moorage.adapters.agents import ScriptedAgent

async def main():
    store, agent = JournalStore(sys.argv[1]), ScriptedAgent()
    limits = SupervisorLimits(loop_blocked_seconds=math.inf)  # a busy machine is nothing to report
    async with open_supervisor(store, agent, limits=limits) as supervisor:
        session = await supervisor.session("live")
        await session.execute("first")
        print("ready", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            if line == "close\\n":
                await session.close()
            elif line == "run\\n":
                await session.execute("more")
            else:
                await session.append("note", {"text": line.strip()})
            print("done", flush=True)

trio.run(main)
"""


class Owner:
    """Another process that owns the journal and appends when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._expect("ready\n")

    def _expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert line == self.process.stdout.readline()

    def tell(self, line: str) -> None:
        """Returns when it is durable."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._expect("done\n")

    def stop(self) -> None:
        """Let it leave, and see that nothing has disturbed it."""
        _, errors = self.process.communicate()
        assert (self.process.returncode, errors) == (0, "")


@pytest.fixture
def owner(moorage: Moorage, start: Callable[..., subprocess.Popen[str]]) -> Owner:
    return Owner(start("-c", OWNER, str(moorage.data)))
