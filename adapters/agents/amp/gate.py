"""The gate: a program that Amp asks before it runs a tool, and that asks us.

Amp can delegate a permission to a program on PATH: the tool's name is in its environment, the
tool's input on its standard input as JSON, and its exit code answers (0 allows, 2 rejects, and
then the model is told what is on standard error). Ours passes the question on through a socket in
a folder that only this user can enter; without an answer it rejects.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from ..provider.approvals import Decision
from ..provider.side_tasks import open_side_tasks

PROGRAM_NAME = "moorage-amp-gate"
SOCKET_VARIABLE = "MOORAGE_AMP_GATE"
TOOL_VARIABLE = "AGENT_TOOL_NAME"
QUESTION_BYTES_MAX = 16_777_216

PROGRAM = """#!{python}
import json, os, socket, sys

try:
    tool_input = json.loads(sys.stdin.read() or "null")
    asked = {{"name": os.environ.get("{tool}", ""), "input": tool_input}}
    link = socket.socket(socket.AF_UNIX)
    link.connect(os.environ["{socket}"])
    link.sendall(json.dumps(asked).encode())
    link.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: link.recv(65536), b"")))
except Exception as error:
    answer = {{"allow": False, "reason": f"nobody could be asked: {{error}}"}}
if not answer["allow"]:
    print(answer["reason"], file=sys.stderr)
    sys.exit(2)
"""

Decide = Callable[[str, Any], Awaitable[Decision]]


@attrs.frozen
class Gate:
    """``settings_file`` is for Amp's command line, ``environment`` for its process."""

    settings_file: str
    environment: Mapping[str, str]


@asynccontextmanager
async def open_gate(
    decide: Decide, settings: Mapping[str, Any], path_variable: str
) -> AsyncIterator[Gate]:
    """Answer Amp's questions by ``decide(tool_name, tool_input)``, which must not raise, while the
    block runs.

    ``settings`` are those that Amp would have without the gate: in the gate's file every permission
    is delegated. ``path_variable`` is Amp's PATH. Amp cannot be given another input for a call, so
    a decision that has one counts as a denial.
    """
    with tempfile.TemporaryDirectory(prefix="moorage-amp-") as directory:
        place = os.path.join(directory, "socket")
        files = _write(directory, settings)
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listening:
            await listening.bind(place)
            listening.listen(64)
            listener = trio.SocketListener(listening)
            async with open_side_tasks() as nursery:
                nursery.start_soon(
                    trio.serve_listeners, lambda stream: _answer(stream, decide), [listener]
                )
                path = f"{directory}{os.pathsep}{path_variable}"
                yield Gate(files, {"PATH": path, SOCKET_VARIABLE: place})


def _write(directory: str, settings: Mapping[str, Any]) -> str:
    program = os.path.join(directory, PROGRAM_NAME)
    with open(program, "x", encoding="utf-8") as file:
        file.write(
            PROGRAM.format(python=sys.executable, tool=TOOL_VARIABLE, socket=SOCKET_VARIABLE)
        )
    os.chmod(program, stat.S_IRWXU)
    delegating = {
        **settings,
        "amp.permissions": [{"tool": "*", "action": "delegate", "to": PROGRAM_NAME}],
        "amp.dangerouslyAllowAll": False,
    }
    settings_file = os.path.join(directory, "settings.json")
    with open(settings_file, "x", encoding="utf-8") as file:
        json.dump(delegating, file)
    return settings_file


async def _answer(stream: trio.SocketStream, decide: Decide) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):
            question = b""
            async for chunk in stream:
                question += chunk
                if len(question) > QUESTION_BYTES_MAX:
                    return
            await stream.send_all(json.dumps(await _decided(question, decide)).encode())


async def _decided(question: bytes, decide: Decide) -> dict[str, Any]:
    try:
        asked = json.loads(question)
        name, tool_input = str(asked["name"]), asked["input"]
    except (ValueError, KeyError, TypeError):
        return {"allow": False, "reason": "the question could not be read"}
    decision = await decide(name, tool_input)
    if not decision.approved:
        return {"allow": False, "reason": decision.reason or "it was denied"}
    if decision.tool_input is not None:
        return {"allow": False, "reason": "it was approved with another input only"}
    return {"allow": True}
