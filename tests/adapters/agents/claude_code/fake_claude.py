"""A program that speaks as Claude Code does over stream-json, and misbehaves as it is told.

    python fake_claude.py SCENARIO [arguments of Claude Code]

It is started through a wrapper that conftest.py writes. What it is given on its standard input is
appended to the file that the variable FAKE_CLAUDE_HEARD names, as JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

PAUSE = threading.Event()
SESSION = "5e551011-0000-4000-8000-000000000001"


def say(**message: Any) -> None:
    print(json.dumps({"session_id": SESSION, **message}), flush=True)


def hear() -> dict[str, Any]:
    """The next message, or the program's end where its input ends."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    heard = os.environ.get("FAKE_CLAUDE_HEARD")
    if heard:
        with open(heard, "a") as file:
            file.write(line)
    message: dict[str, Any] = json.loads(line)
    return message


def state(name: str) -> None:
    say(type="system", subtype="session_state_changed", state=name)


def respond(request: dict[str, Any], **response: Any) -> None:
    say(
        type="control_response",
        response={
            "subtype": "success",
            "request_id": request["request_id"],
            "response": response,
        },
    )


def initialize(source: str = "ANTHROPIC_API_KEY") -> None:
    request = hear()
    assert request["request"]["subtype"] == "initialize", request
    account = {"apiProvider": "firstParty", "tokenSource": "none", "apiKeySource": source}
    respond(request, account=account, claude_code_version="0.0.0-fake")


def assistant(text: str, **fields: Any) -> None:
    content = [{"type": "text", "text": text}]
    message = {"id": f"m-{text[:20]}", "model": "fake", "content": content}
    say(type="assistant", message=message, parent_tool_use_id=None, **fields)


def result(text: str, **fields: Any) -> None:
    usual = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1}
    say(**{**usual, "result": text, "stop_reason": "end_turn", "modelUsage": {}, **fields})


def answer(message: dict[str, Any], text: str = "Hello world", **fields: Any) -> None:
    """A whole turn."""
    state("running")
    command(message, "queued")
    command(message, "started")
    say(type="system", subtype="init", claude_code_version="0.0.0-fake", model="fake")
    assistant(text)
    result(text, **fields)
    command(message, "completed")
    state("idle")


def command(message: dict[str, Any], name: str) -> None:
    say(type="command_lifecycle", command_uuid=message["uuid"], state=name)


def mirror(*entries: dict[str, Any]) -> None:
    directory = os.environ["CLAUDE_CONFIG_DIR"]
    path = os.path.join(directory, "projects", "-work", f"{SESSION}.jsonl")
    say(type="transcript_mirror", filePath=path, entries=list(entries))


def ask(subtype: str, **fields: Any) -> dict[str, Any]:
    """Ask the other side, and return what it answers."""
    say(type="control_request", request_id="ask-1", request={"subtype": subtype, **fields})
    while True:
        message = hear()
        if message["type"] == "control_response":
            return dict(message["response"])


def answers() -> None:
    initialize()
    while True:
        answer(hear())


def mirrors() -> None:
    initialize()
    message = hear()
    mirror({"type": "user", "uuid": "u1"})
    answer(message)
    try:
        hear()
    finally:  # the last lines, once the input has ended
        mirror({"type": "cost-state", "modelUsage": {}})


def lingers() -> None:
    """Does not end before it is told to, once its input has ended."""
    initialize()
    answer(hear())
    try:
        hear()
    finally:
        mirror({"type": "cost-state", "modelUsage": {}})
        while not os.path.exists(os.environ["FAKE_CLAUDE_RELEASED"]):
            PAUSE.wait(0.01)


def remembers() -> None:
    """Says what it resumes, and whether the file is there."""
    initialize()
    message = hear()
    (resume,) = [a.partition("=")[2] for a in sys.argv if a.startswith("--resume=")] or [""]
    found = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.environ["CLAUDE_CONFIG_DIR"])
        for name in names
        if name == f"{resume}.jsonl"
    ]
    lines = Path(found[0]).read_text().count("\n") if found else 0
    mirror({"type": "user", "uuid": message["uuid"]})
    answer(message, f"resumed {resume or 'nothing'} with {lines} lines")
    hear()


def asks_permission() -> None:
    initialize()
    message = hear()
    call = {"type": "tool_use", "id": "t1", "name": "Write", "input": {"path": "a"}}
    say(type="assistant", message={"id": "m1", "model": "fake", "content": [call]})
    got = ask("can_use_tool", tool_name="Write", input={"path": "a"}, tool_use_id="t1")
    assert got["subtype"] == "success", got
    allowed = got["response"]["behavior"] == "allow"
    block = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": json.dumps(got["response"]),
        "is_error": not allowed,
    }
    say(type="user", message={"role": "user", "content": [block]})
    answer(message, got["response"]["behavior"])
    hear()


def streams_for_ever() -> None:
    initialize()
    message = hear()
    command(message, "started")
    while True:
        delta = {"type": "text_delta", "text": "more "}
        say(type="stream_event", event={"type": "content_block_delta", "delta": delta})
        PAUSE.wait(0.01)


def leaves_a_call_open() -> None:
    initialize()
    hear()
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "sleep 600"}}
    say(type="assistant", message={"id": "m1", "model": "fake", "content": [call]})
    say(type="stream_event", event={"type": "message_stop"})
    while True:
        hear()


def takes_a_steer() -> None:
    initialize()
    first = hear()
    command(first, "started")
    assistant("working")
    steer = hear()
    command(steer, "queued")
    result("working")
    command(first, "completed")
    answer(steer, f"steered: {steer['message']['content']}")
    hear()


def garbage() -> None:
    initialize()
    message = hear()
    print("[debug] this is no JSON", flush=True)
    print('{"half": ', flush=True)
    print('["no", "map"]', flush=True)
    answer(message)
    hear()


def floods_stderr() -> None:
    initialize()
    message = hear()
    for number in range(20_000):
        print(f"complaint {number} " + "x" * 80, file=sys.stderr)
    sys.stderr.flush()
    answer(message)
    hear()


def dies_at_once() -> None:
    print("cannot start: no licence", file=sys.stderr)
    sys.exit(3)


def dies_midway() -> None:
    initialize()
    hear()
    assistant("I was")
    print("fatal: out of memory", file=sys.stderr)
    sys.stdout.flush()
    os._exit(134)


def leaves_midway() -> None:
    initialize()
    hear()
    assistant("Bye")
    sys.exit(0)


def hangs_at_once() -> None:
    PAUSE.wait(600)


def stops_reading() -> None:
    initialize()
    PAUSE.wait(600)


def ignores_signals() -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    streams_for_ever()


def has_no_login() -> None:
    initialize(source="none")
    while True:
        hear()


def refuses() -> None:
    request = hear()
    say(
        type="control_response",
        response={"subtype": "error", "request_id": request["request_id"], "error": "too old"},
    )
    hear()


def fails() -> None:
    initialize()
    message = hear()
    assistant("API Error: 529 overloaded", error="overloaded")
    answer(message, "API Error: 529 overloaded", is_error=True, api_error_status=529)
    hear()


def exceeds_turns() -> None:
    initialize()
    message = hear()
    answer(message, "", is_error=True, subtype="error_max_turns", num_turns=3)
    hear()


def loses_session() -> None:
    initialize()
    hear()
    result(
        "",
        is_error=True,
        subtype="error_during_execution",
        errors=["No conversation found with session ID: x"],
    )
    sys.exit(1)


def big_line() -> None:
    initialize()
    message = hear()
    answer(message, "x" * 3_000_000)
    hear()


def tells_environment() -> None:
    initialize()
    message = hear()
    names = ("CLAUDECODE", "ADDED", "REMOVED", "CLAUDE_CODE_ENTRYPOINT", "PWD")
    answer(message, json.dumps({name: os.environ.get(name) for name in names}))
    hear()


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
