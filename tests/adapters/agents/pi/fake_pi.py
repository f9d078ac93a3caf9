"""FakePi: a program that speaks as much of pi's RPC mode as a script tells it to.

What the real pi does is shown in ``test_real_pi.py``; this one does what the real one cannot be
made to do: die, hang, speak garbage, flood.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

PROGRAM = r"""
import json, os, signal, sys, time

here = os.path.dirname(os.path.abspath(__file__))
script = json.load(open(os.path.join(here, "script.json")))
log = open(os.path.join(here, "log.jsonl"), "a")
log.write(json.dumps({"arguments": sys.argv[1:], "pid": os.getpid()}) + "\n")
log.flush()


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def hear(kind=None):
    for line in sys.stdin:
        log.write(line)
        log.flush()
        heard = json.loads(line)
        if heard["type"] == "get_state" and kind != "get_state":
            answer(heard, script.get("state", {}))
            continue
        if kind is None or heard["type"] == kind:
            return heard
    sys.exit(0)


def answer(heard, data=None, error=None):
    said = {"type": "response", "id": heard.get("id"), "command": heard["type"]}
    said["success"] = error is None
    say({**said, **({"data": data} if error is None else {"error": error})})


def play(step):
    kind, value = step[0], step[1:]
    if kind == "say":
        say(value[0])
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
    elif kind == "hear":
        hear(value[0])
    elif kind == "sleep":
        time.sleep(value[0])
    elif kind == "hold":  # until the test releases it
        while not os.path.exists(os.path.join(here, "released")):
            time.sleep(0.01)
    elif kind == "ignore":  # whoever asks it to end
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


for step in script.get("start", []):
    play(step)
heard = hear("prompt")
if script.get("refusal"):
    answer(heard, error=script["refusal"])
    hear()
answer(heard)
for step in script["steps"]:
    play(step)
hear()
"""


def state(**more: Any) -> dict[str, Any]:
    """The data of an answer to get_state, when pi has nothing to do."""
    return {
        "model": {"id": "fake"},
        "sessionId": "s-1",
        "isStreaming": False,
        "isCompacting": False,
        "pendingMessageCount": 0,
        **more,
    }


def answer(text: str, **more: Any) -> list[Any]:
    """Steps by which the model answers with ``text``, and pi has nothing left to do."""
    said = {"role": "assistant", "content": [{"type": "text", "text": text}], "stopReason": "stop"}
    return [
        ["say", {"type": "agent_start"}],
        ["say", delta(text)],
        ["say", {"type": "message_end", "message": {**said, **more}}],
        ["say", {"type": "agent_end"}],
    ]


def delta(text: str) -> dict[str, Any]:
    return {
        "type": "message_update",
        "assistantMessageEvent": {"type": "text_delta", "delta": text},
    }


class FakePi:
    """The program in ``directory``; ``path`` is what to execute."""

    def __init__(self, directory: Path, *steps: Any, **script: Any) -> None:
        self.path = str(directory / "pi")
        self._log = directory / "log.jsonl"
        self._released = directory / "released"
        (directory / "script.json").write_text(
            json.dumps({"state": state(), "steps": steps, **script})
        )
        Path(self.path).write_text(f"#!{sys.executable}\n{PROGRAM}")
        os.chmod(self.path, 0o700)

    def release(self) -> None:
        """Let it go on behind the step "hold"."""
        self._released.touch()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What it was told, in order: its arguments, then commands."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]
