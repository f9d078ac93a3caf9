"""FakeCopilot: a server whose answers a test scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.adapters.agents.fake_rpc_program import FakeRpcProgram

if TYPE_CHECKING:
    from pathlib import Path

OFFLINE = {
    "COPILOT_OFFLINE": "true",
    "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:9/v1",
    "COPILOT_MODEL": "gpt",
}
"""Variables with which no login is wanted."""
CALL = {"toolCallId": "call-1", "name": "bash", "arguments": {"command": "ls"}}


def tell(type: str, **data: Any) -> list[Any]:
    """An event of the session."""
    event = {"type": type, "data": data, "timestamp": "2026-01-01T00:00:00Z"}
    return ["tell", "session.event", {"sessionId": "$sessionId", "event": event}]


def began(id: str = "message-1") -> list[list[Any]]:
    return [["answer", {"messageId": id}], tell("user.message", messageId=id, content="x")]


def idle(**data: Any) -> list[Any]:
    return tell("session.idle", **data)


def answer(text: str) -> list[list[Any]]:
    """What the session tells when the model says this."""
    return [
        *began(),
        tell("assistant.turn_start", turnId="0"),
        tell("assistant.message_delta", deltaContent=text),
        tell("assistant.usage", inputTokens=10, outputTokens=2),
        tell("assistant.message", content=text, messageId="m", model="gpt", toolRequests=[]),
        tell("assistant.turn_end", turnId="0"),
        idle(),
    ]


def called(*between: Any, **result: Any) -> list[list[Any]]:
    """A turn with one call of the shell, and what happens between its start and its end."""
    ended = {"success": True, "result": {"content": "a"}, **result}
    return [
        *began(),
        tell("assistant.turn_start", turnId="0"),
        tell("assistant.message", content="", messageId="m", toolRequests=[CALL]),
        tell(
            "tool.execution_start",
            toolCallId="call-1",
            toolName="bash",
            arguments={"command": "ls"},
        ),
        *between,
        tell("tool.execution_complete", toolCallId="call-1", **ended),
        tell("assistant.turn_end", turnId="0"),
        *answer("Done.")[2:],
    ]


def permission(id: str = "p1", kind: str = "shell") -> list[Any]:
    request = {"kind": kind, "toolCallId": "call-1", "fullCommandText": "ls", "path": "a.txt"}
    return tell("permission.requested", requestId=id, permissionRequest=request)


PERMIT = "session.permissions.handlePendingPermissionRequest"


class FakeCopilot(FakeRpcProgram):
    """``sends`` are the steps of each session.send; ``plays`` of other methods go over the usual
    ones."""

    def __init__(self, directory: Path, *sends: Any, **plays: Any) -> None:
        usual = {
            "connect": [[["answer", {"ok": True, "protocolVersion": 3}]]],
            "auth.getStatus": [[["answer", {"isAuthenticated": True}]]],
            "session.send": list(sends),
        }
        over = {name.replace("_", "."): steps for name, steps in plays.items()}
        super().__init__(directory, {**usual, **over}, headers=True, name="copilot")
