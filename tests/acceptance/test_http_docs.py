"""The examples of docs/http.md do what it says, with curl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.gateways.http.problems import STATUS
from moorage.adapters.gateways.http.routes import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"
SECONDS_MAX = 120
LIMIT = "--max-time 1"
"""With which the document leaves a stream that goes on: a machine may be slower than that."""


def commands() -> list[str]:
    """The lines of all ``sh`` blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def answer_to(command: str, address: str, *, until: str | None = None) -> str:
    """What a command writes: all of it, or, of one with LIMIT, as much as has what ``until`` asks
    for as a regular expression."""
    limited = command.replace(LIMIT, f"--max-time {SECONDS_MAX}")
    assert (limited != command) == (until is not None), command
    with subprocess.Popen(
        ["bash", "-c", f"exec {limited}"], env={"URL": address}, stdout=subprocess.PIPE, text=True
    ) as curl:
        assert curl.stdout is not None
        told = ""
        for line in curl.stdout:
            told += line
            if until is not None and re.search(until, told):
                curl.terminate()
                return told
    assert (curl.returncode, until) == (0, None), command
    return told


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "moorage.adapters.gateways", "serve", "--agent", "scripted"]
    command += ["--data", str(tmp_path / "data"), "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_example_of_the_document_works(address: str) -> None:
    awaited = iter([r"\nid: 4\n", r'"seq": ?1\b.*\n'])  # of what goes on, as much as is looked at
    answers: list[Any] = [
        answer_to(command, address, until=next(awaited) if LIMIT in command else None)
        for command in commands()
    ]
    opened, run, page, polled, stream, lines, closed, runs, found, usage = answers

    assert json.loads(opened)["tags"] == {"plan": "pro"}
    assert json.loads(run)["outcome"]["output"]["content"] == "You said: hello there"
    types = [event["type"] for event in json.loads(page)["events"]]
    assert types == ["message_received", "run_completed"]
    assert json.loads(polled)["events"] == []
    assert stream.splitlines()[3].startswith("id: 4")
    assert json.loads(lines.splitlines()[1])["seq"] == 1
    assert json.loads(closed) == {"changed": True}
    assert [run["state"] for run in json.loads(runs)["runs"]] == ["completed"]
    assert [event["data"]["input"] for event in json.loads(found)["events"]] == ["hello there"]
    assert json.loads(usage)["total"]["runs"] == {"completed": 1}


def test_every_path_and_every_status_is_told_of() -> None:
    text = DOCUMENT.read_text()
    for operation in OPERATIONS:
        last = operation.path.rstrip("/").split("/")[-1]
        if not last.startswith("{"):
            assert last in text, operation.path
    for kind, (status, _) in STATUS.items():
        assert str(status) in text or status in (500, 504), kind
