"""FakeCodex: an app server whose turns a test scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.adapters.agents.fake_rpc_program import FakeRpcProgram

if TYPE_CHECKING:
    from pathlib import Path

THREAD = "thread-1"
TURN = "turn-1"
COMMAND = {"type": "commandExecution", "id": "call-1", "command": "ls", "cwd": "/w"}


def tell(method: str, **params: Any) -> list[Any]:
    """A notification about the turn."""
    return ["tell", method, {"threadId": THREAD, "turnId": TURN, **params}]


def delta(text: str) -> list[Any]:
    return tell("item/agentMessage/delta", itemId="m", delta=text)


def item(step: str, **fields: Any) -> list[Any]:
    return tell(f"item/{step}", item=fields)


def usage(count: int) -> list[Any]:
    """What Codex tells when the model has answered for the count-th time."""
    names = ("inputTokens", "outputTokens", "cachedInputTokens")
    total = dict.fromkeys(names, 10 * count) | {"cachedInputTokens": 0}
    last = dict.fromkeys(names, 10) | {"cachedInputTokens": 0}
    return tell("thread/tokenUsage/updated", tokenUsage={"total": total, "last": last})


def end(status: str = "completed", error: Any = None) -> list[Any]:
    turn = {"id": TURN, "status": status, "error": error}
    return ["tell", "turn/completed", {"threadId": THREAD, "turn": turn}]


def began() -> list[list[Any]]:
    """What every turn begins with."""
    turn = {"id": TURN, "status": "inProgress"}
    return [
        ["answer", {"turn": turn}],
        ["tell", "turn/started", {"threadId": THREAD, "turn": turn}],
    ]


def answer(text: str, count: int = 1) -> list[list[Any]]:
    """A turn in which the model says this."""
    whole = item("completed", type="agentMessage", id="m", text=text)
    return [*began(), delta(text), whole, usage(count), end()]


class FakeCodex(FakeRpcProgram):
    """``turns`` are the steps of each turn; ``plays`` of other methods go over the usual ones."""

    def __init__(self, directory: Path, *turns: Any, **plays: Any) -> None:
        thread = {"thread": {"id": THREAD}, "model": "gpt", "modelProvider": "openai"}
        account = {"account": {"type": "apiKey"}, "requiresOpenaiAuth": True}
        usual = {
            "account/read": [[["answer", account]]],
            "thread/start": [[["answer", thread]]],
            "thread/resume": [[["answer", thread]]],
            "turn/start": list(turns),
        }
        over = {name.replace("_", "/"): steps for name, steps in plays.items()}
        super().__init__(directory, {**usual, **over}, name="codex")
