"""StandIn: a program that replays what Amp's manual documents of its streaming JSON.

Amp itself cannot be had from a package registry that tests may use, and asks its own service
only. So this is what the tests of AmpAgent talk to: the messages are those of the manual, in the
order in which it shows them, and the permission helper is called as it says.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

THREAD = "T-2775dc92-90ed-4f85-8b73-8f9766029e83"

PROGRAM = r"""
import json, os, signal, subprocess, sys, time

here = os.path.dirname(os.path.abspath(__file__))
script = json.load(open(os.path.join(here, "script.json")))
arguments = sys.argv[1:]
log = open(os.path.join(here, "log.jsonl"), "a")
log.write(json.dumps({"arguments": arguments, "pid": os.getpid(), "cwd": os.getcwd()}) + "\n")
log.flush()
thread = script["thread"]


def say(message):
    whole = {"parent_tool_use_id": None, "session_id": thread, **message}
    sys.stdout.write(json.dumps(whole) + "\n")
    sys.stdout.flush()


def hear():
    line = sys.stdin.readline()
    if not line:
        return None
    log.write(line)
    log.flush()
    return json.loads(line)


def permitted(name, tool_input):
    if "--dangerously-allow-all" in arguments:
        return 0, ""
    settings = json.load(open(arguments[arguments.index("--settings-file") + 1]))
    log.write(json.dumps({"settings": settings}) + "\n")
    log.flush()
    (rule,) = settings["amp.permissions"]
    done = subprocess.run(
        [rule["to"]],
        input=json.dumps(tool_input),
        env={**os.environ, "AGENT_TOOL_NAME": name},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def play(step):
    kind, value = step[0], step[1:]
    if kind == "say":
        say(value[0])
    elif kind == "tool":  # the model calls a tool; it runs if the helper lets it
        id, name, tool_input, output = value
        use = {"type": "tool_use", "id": id, "name": name, "input": tool_input}
        say({"type": "assistant", "message": {"type": "message", "role": "assistant",
             "content": [use], "stop_reason": "tool_use",
             "usage": {"input_tokens": 10, "output_tokens": 5}}})
        code, reason = permitted(name, tool_input)
        said = output if code == 0 else reason.strip()
        result = {"type": "tool_result", "tool_use_id": id, "content": said}
        result["is_error"] = code != 0
        say({"type": "user", "message": {"role": "user", "content": [result]}})
    elif kind == "hear":  # and repeat it, as Amp does when it takes a message in
        heard = hear()
        say({"type": "user", "message": heard["message"]})
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


if arguments[:2] == ["threads", "continue"]:
    if script.get("lost"):
        sys.stderr.write("Error: thread " + arguments[2] + " not found\n")
        sys.exit(1)
    thread = arguments[2]
for step in script.get("start", []):
    play(step)
heard = hear()
init = {"cwd": os.getcwd(), "tools": ["Bash"], "mcp_servers": []}
say({"type": "system", "subtype": "init", **init})
say({"type": "user", "message": heard["message"]})
for step in script["steps"]:
    play(step)
while hear() is not None:
    pass
"""


def answer(text: str, *, thinking: str | None = None) -> list[Any]:
    """The step by which the model answers, and its turn is over."""
    content: list[Any] = [{"type": "text", "text": text}]
    if thinking is not None:
        content.insert(0, {"type": "thinking", "thinking": thinking})
    usage = {
        "input_tokens": 12783,
        "cache_creation_input_tokens": 367,
        "cache_read_input_tokens": 12416,
        "output_tokens": 8,
        "max_tokens": 224000,
        "service_tier": "standard",
    }
    message = {"type": "message", "role": "assistant", "content": content}
    return [
        "say",
        {"type": "assistant", "message": {**message, "stop_reason": "end_turn", "usage": usage}},
    ]


def result(text: str, **more: Any) -> list[Any]:
    """The step by which Amp sums a turn up."""
    success = {"subtype": "success", "is_error": False, "result": text}
    facts = {"type": "result", "duration_ms": 2906, "num_turns": 1}
    return ["say", {**facts, **success, **more}]


class StandIn:
    """The program in ``directory``; ``path`` is what to execute."""

    def __init__(self, directory: Path, *steps: Any, **script: Any) -> None:
        self.path = str(directory / "amp")
        self._log = directory / "log.jsonl"
        self._released = directory / "released"
        (directory / "script.json").write_text(
            json.dumps({"thread": THREAD, "steps": steps, **script})
        )
        Path(self.path).write_text(f"#!{sys.executable}\n{PROGRAM}")
        os.chmod(self.path, 0o700)

    def release(self) -> None:
        """Let it go on behind the step "hold"."""
        self._released.touch()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What it was told, in order: for each start its arguments, then messages."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    @property
    def starts(self) -> list[list[str]]:
        return [heard["arguments"] for heard in self.heard if "arguments" in heard]

    @property
    def prompts(self) -> list[str]:
        said = [heard for heard in self.heard if heard.get("type") == "user"]
        return [heard["message"]["content"][0]["text"] for heard in said]
