"""FakeAcp: a program that speaks as much of the Agent Client Protocol as a script tells it to.

A real agent is shown in ``test_real_acp.py``; this one does what that cannot be made to do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = r"""
import json, os, signal, sys, time

here = os.path.dirname(os.path.abspath(__file__))
script = json.load(open(os.path.join(here, "script.json")))
first = not os.path.exists(os.path.join(here, "log.jsonl"))
log = open(os.path.join(here, "log.jsonl"), "a")
log.write(json.dumps({"pid": os.getpid(), "cwd": os.getcwd()}) + "\n")
log.flush()
session = [None]


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def hear():
    for line in sys.stdin:
        log.write(line)
        log.flush()
        return json.loads(line)
    sys.exit(0)


def result_of(method, default):
    return script.get("answers", {}).get(method, default)


def play(step):
    kind, value = step[0], step[1:]
    if kind == "update":
        say({"method": "session/update", "params": {"sessionId": session[0], "update": value[0]}})
    elif kind == "ask":
        say({"id": "q1", "method": value[0], "params": {"sessionId": session[0], **value[1]}})
        while hear().get("id") != "q1":
            pass
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
    elif kind == "until":
        while hear().get("method") != value[0]:
            pass
    elif kind == "sleep":
        time.sleep(value[0])
    elif kind == "ignore":  # whoever asks it to end
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def prompt():
    for step in script["steps"]:
        if step[0] == "first":  # of the processes only
            if not first:
                continue
            step = step[1:]
        if step[0] == "end":
            return {"result": step[1]}
        if step[0] == "error":
            return {"error": step[1]}
        play(step)
    return {"result": {"stopReason": "end_turn"}}


for step in script.get("start", []):
    play(step)
capabilities = script.get("capabilities", {})
while True:
    heard = hear()
    method = heard.get("method")
    if "id" not in heard:
        continue
    answer = {"result": result_of(method, {})}
    if method == "initialize":
        answer = {"result": {"protocolVersion": script.get("version", 1),
                             "agentCapabilities": capabilities,
                             "authMethods": script.get("auth_methods", []),
                             "agentInfo": {"name": "fake", "version": "1"}}}
    elif method == "session/new":
        session[0] = "s-new"
        answer = {"result": {"sessionId": "s-new", **script.get("session", {})}}
    elif method in ("session/resume", "session/load"):
        session[0] = heard["params"]["sessionId"]
        for update in script.get("history", []):
            play(["update", update])
        answer = {"result": script.get("session", {})}
    elif method == "session/prompt":
        answer = prompt()
    if method in script.get("errors", {}):
        answer = {"error": script["errors"][method]}
    say({"id": heard["id"], **answer})
"""


def text(said: str, message_id: str | None = None) -> list[Any]:
    """The step by which the model says something."""
    content = {"type": "text", "text": said}
    more = {} if message_id is None else {"messageId": message_id}
    return ["update", {"sessionUpdate": "agent_message_chunk", "content": content, **more}]


def tool(status: str, *, first: bool = False, **more: Any) -> list[Any]:
    """The step by which the agent tells of the call c1."""
    kind = "tool_call" if first else "tool_call_update"
    return ["update", {"sessionUpdate": kind, "toolCallId": "c1", "status": status, **more}]


class FakeAcp:
    """The program in ``directory``; ``command`` is what to execute."""

    def __init__(self, directory: Path, *steps: Any, **script: Any) -> None:
        directory.mkdir(exist_ok=True)
        program = directory / "agent"
        self.command = [str(program), "acp"]
        self._log = directory / "log.jsonl"
        (directory / "script.json").write_text(json.dumps({"steps": steps, **script}))
        program.write_text(f"#!{sys.executable}\n{PROGRAM}")
        os.chmod(program, 0o700)

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What it was told, in order; the first of each process has its pid and cwd."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def asked(self, method: str) -> list[Any]:
        """The params of each request or notification of that method."""
        return [heard["params"] for heard in self.heard if heard.get("method") == method]

    def answers(self) -> list[dict[str, Any]]:
        """What its own requests were answered."""
        return [heard for heard in self.heard if heard.get("id") == "q1"]
