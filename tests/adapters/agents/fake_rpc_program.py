"""FakeRpcProgram: a program that speaks as much JSON-RPC as a script tells it to.

What the real programs do is shown with them; this one does what they cannot be made to do: die,
hang, speak garbage, flood, and answer in an order of the test's choice.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROGRAM = r"""
import json, os, signal, sys, time

here = os.path.dirname(os.path.abspath(__file__))
script = json.load(open(os.path.join(here, "script.json")))
log = open(os.path.join(here, "log.jsonl"), "a")
start = {"arguments": sys.argv[1:], "pid": os.getpid(), "cwd": os.getcwd()}
print(json.dumps(start), file=log, flush=True)
counts, known = {}, {}


def filled(value):
    if isinstance(value, str) and value.startswith("$"):
        return known.get(value[1:])
    if isinstance(value, list):
        return [filled(item) for item in value]
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    return value


def say(message):
    body = json.dumps(filled(message)).encode()
    head = b"Content-Length: %d\r\n\r\n" % len(body) if script["headers"] else b""
    sys.stdout.buffer.write(head + body + (b"" if script["headers"] else b"\n"))
    sys.stdout.buffer.flush()


def hear():
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    if script["headers"]:
        sys.stdin.buffer.readline()
        line = sys.stdin.buffer.read(int(line.split(b":")[1]))
    message = json.loads(line)
    print(json.dumps(message), file=log, flush=True)
    known.update(message.get("params") or {})
    return message


def serve(until):
    while True:
        message = hear()
        if until(message):
            return message
        if "method" in message and "id" in message:
            handle(message)


def handle(message):
    method = message["method"]
    plays = script["plays"].get(method)
    if not plays:
        say({"id": message["id"], "result": {}})
        return
    count = counts.get(method, 0)
    counts[method] = count + 1
    for step in plays[min(count, len(plays) - 1)]:
        play(step, message)


def play(step, message):
    kind, value = step[0], step[1:]
    if kind == "answer":
        say({"id": message["id"], "result": value[0]})
    elif kind == "refuse":
        say({"id": message["id"], "error": {"code": value[0], "message": value[1]}})
    elif kind == "tell":
        say({"method": value[0], "params": value[1]})
    elif kind == "ask":
        say({"id": "asked", "method": value[0], "params": value[1]})
        serve(lambda heard: heard.get("id") == "asked" and "method" not in heard)
    elif kind == "hear":
        heard = serve(lambda heard: heard.get("method") == value[0])
        play(value[1], heard)
    elif kind == "raw":
        sys.stdout.write(value[0])
        sys.stdout.flush()
    elif kind == "flood":
        sys.stderr.write("x" * value[0])
        sys.stderr.flush()
    elif kind == "die":
        sys.stderr.write(value[1])
        sys.stderr.flush()
        os._exit(value[0])
    elif kind == "sleep":
        time.sleep(value[0])
    elif kind == "hold":  # until the test releases it
        while not os.path.exists(os.path.join(here, "released")):
            time.sleep(0.01)
    elif kind == "ignore":  # whoever asks it to end
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


serve(lambda message: False)
"""


class FakeRpcProgram:
    """A program at ``path``. ``plays`` has, for each method, what is done for its first request,
    its second and so on (the last one again and again): lists of steps. Other requests are answered
    with an empty map. "$name" stands for the parameter of that name that was heard last.
    """

    def __init__(
        self,
        directory: Path,
        plays: Mapping[str, Sequence[Sequence[Any]]],
        *,
        headers: bool = False,
        name: str = "fake",
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.path = str(directory / name)
        self._log = directory / "log.jsonl"
        self._released = directory / "released"
        script = {"headers": headers, "plays": plays}
        (directory / "script.json").write_text(json.dumps(script))
        (directory / name).write_text(f"#!{sys.executable}\n{PROGRAM}")
        os.chmod(self.path, 0o755)

    def release(self) -> None:
        """Let it go on behind the step "hold"."""
        self._released.touch()

    def heard(self, method: str | None = None) -> list[Any]:
        """The messages that the program got, or the parameters of those with this method."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        messages = [line for line in lines if "arguments" not in line]
        if method is None:
            return messages
        return [m.get("params") for m in messages if m.get("method") == method]

    def answers(self) -> list[Any]:
        """The results that the program got for what it asked."""
        return [m.get("result", m.get("error")) for m in self.heard() if "method" not in m]

    def starts(self) -> list[dict[str, Any]]:
        """Arguments, process id and directory of each start."""
        if not self._log.exists():
            return []
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if "arguments" in line]
