from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.adapters.agents.acp.files import WorkingFiles
from moorage.adapters.agents.acp.terminals import TERMINALS_MAX, Terminals
from moorage.adapters.agents.provider.json_rpc import RpcRefused

from tests.adapters.agents.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.adapters.agents.conftest import Pace

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[Terminals]:
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            yield Terminals(nursery, WorkingFiles(str(root)), {"WORD": "hello"})
            nursery.cancel_scope.cancel()


async def test_a_command_runs_in_the_directory_with_its_variables(tmp_path: Path) -> None:
    async with opened(tmp_path) as terminals:
        code = "import os; print(os.getcwd(), os.environ['WORD'], os.environ['OTHER'])"
        id = await terminals.create(sys.executable, ["-c", code], environment={"OTHER": "x"})

        assert await terminals.wait_exit(id) == {"exitCode": 0, "signal": None}
        assert terminals.output(id) == {
            "output": f"{tmp_path} hello x\n",
            "truncated": False,
            "exitStatus": {"exitCode": 0, "signal": None},
        }
        terminals.release(id)


async def test_a_line_is_for_the_shell(tmp_path: Path) -> None:
    async with opened(tmp_path) as terminals:
        id = await terminals.create("echo out; echo err >&2; exit 3")

        assert (await terminals.wait_exit(id))["exitCode"] == 3
        assert sorted(str(terminals.output(id)["output"]).split()) == ["err", "out"]


async def test_the_end_of_a_long_output_is_kept_whole_characters_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as terminals:
        code = "print('ü' * 1000, end='')"
        id = await terminals.create(sys.executable, ["-c", code], output_bytes_max=5)

        await terminals.wait_exit(id)

        told = terminals.output(id)
        assert (told["output"], told["truncated"]) == ("üü", True)


async def test_a_killed_command_is_told_with_its_signal_and_can_be_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as terminals:
        id = await terminals.create("echo begun; sleep 600")
        while not terminals.output(id)["output"]:
            await trio.sleep(0.01)

        assert "exitStatus" not in terminals.output(id)
        terminals.kill(id)

        assert (await terminals.wait_exit(id))["signal"] == "SIGKILL"
        assert terminals.output(id)["output"] == "begun\n"


async def test_commands_end_with_the_run(tmp_path: Path, pace: Pace) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def one_run() -> None:
        async with opened(tmp_path) as terminals:
            id = await terminals.create("trap '' TERM; echo begun; sleep 600")
            while not terminals.output(id)["output"]:
                await trio.sleep(0.01)
            begun.set()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_run)
        await begun.wait()
        await pace.ends_within(1.0, ended.is_set)


async def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as terminals:
        with pytest.raises(RpcRefused, match="outside of the working directory"):
            await terminals.create("true", cwd="/")
        with pytest.raises(RpcRefused, match="no such program"):
            await terminals.create("no-such-program-anywhere")
        with pytest.raises(RpcRefused, match="there is no terminal 'x'"):
            terminals.output("x")
        for _ in range(TERMINALS_MAX):
            await terminals.create("true")
        with pytest.raises(RpcRefused, match="release one"):
            await terminals.create("true")
