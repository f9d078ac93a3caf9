from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio
from moorage.adapters.agents.model_twin.__main__ import main

PROGRAM = [sys.executable, "-m", "moorage.adapters.agents.model_twin"]


class Started:
    """The program, with what it said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = ""

    @property
    def url(self) -> str:
        return self.said.split("serving at ")[1].split()[0]

    async def wait_said(self, text: str) -> None:
        while text not in self.said:
            chunk = bytes(await self.process.stdout.receive_some())
            assert chunk, f"it ended without saying {text!r}: {self.said}"
            self.said += chunk.decode()


@asynccontextmanager
async def program(*arguments):
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE
        )
        async with process.stdout:
            try:
                yield Started(process)
            finally:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_the_same_to_everybody_until_it_is_interrupted(ask, number):
    async with program("--say", "Hello there") as started:
        await started.wait_said("COPILOT_MODEL")
        answers = [await ask(started, "/v1/messages", {"model": f"m{i}"}) for i in range(2)]
        await started.wait_said("2: POST /v1/messages  answered  200  m1\n")
        started.process.send_signal(number)
        code = await started.process.wait()

    assert [answer.json["content"][0]["text"] for answer in answers] == ["Hello there"] * 2
    assert code == 0
    assert f"export ANTHROPIC_BASE_URL={started.url}\n" in started.said
    assert "CODEX_HOME" not in started.said


async def test_it_plays_a_file_and_writes_configuration(ask, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["one", {"type": "http_error", "status": 529}]))

    async with program("--script", script, "--directory", tmp_path / "clients") as started:
        await started.wait_said("PI_CODING_AGENT_DIR")
        answers = [await ask(started, "/v1/messages", {"model": "m"}) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 529]
    assert f"export CODEX_HOME={tmp_path}/clients/codex\n" in started.said
    assert started.url in (tmp_path / "clients" / "codex" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("content", "why"), [("{}", "a script must be a list"), (None, "No such file")]
)
def test_a_script_that_cannot_be_read_is_one_sentence(tmp_path, capsys, content, why):
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)

    code = main(["--script", str(path)])

    assert code == 1
    assert why in capsys.readouterr().err


def test_it_wants_something_to_say(capsys):
    with pytest.raises(SystemExit):
        main([])

    assert "--say" in capsys.readouterr().err
