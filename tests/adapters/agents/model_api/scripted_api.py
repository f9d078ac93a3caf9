"""A model API that says what a test tells it, and the loop over it as an agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.agents.anthropic_api.mapping import MessageStream
from moorage.adapters.agents.model_api.loop import Loop
from moorage.adapters.agents.model_api.options import loop_parts
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.events import Event

if TYPE_CHECKING:
    from moorage.adapters.agents.model_api.answering import Question
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest


@attrs.frozen
class Says:
    """One answer of the scripted API: text, calls as (id, name, input), or a failure instead."""

    text: str = ""
    calls: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    stop_reason: str | None = None
    failure: Exception | None = None
    waits: trio.Event | None = None
    id: str = "m"
    input_tokens: int = 10

    def events(self) -> Iterable[dict[str, Any]]:
        usage = {"input_tokens": self.input_tokens, "output_tokens": 5}
        yield {
            "type": "message_start",
            "message": {"id": self.id, "model": "scripted", "usage": usage},
        }
        index = 0
        if self.text:
            yield _start(index, {"type": "text", "text": ""})
            yield _delta(index, {"type": "text_delta", "text": self.text})
            index += 1
        for id, name, given in self.calls:
            yield _start(index, {"type": "tool_use", "id": id, "name": name, "input": {}})
            text = given if isinstance(given, str) else json.dumps(given)
            yield _delta(index, {"type": "input_json_delta", "partial_json": text})
            index += 1
        reason = self.stop_reason or ("tool_use" if self.calls else "end_turn")
        yield {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}
        yield {"type": "message_stop"}


def _start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


class ScriptedApi:
    """A ModelApi that answers what it is told and keeps what it was asked."""

    provider = "scripted"

    def __init__(self, *answers: Says | str, keeps_answers: bool = False) -> None:
        self.keeps_answers = keeps_answers
        self.answers = [Says(one) if isinstance(one, str) else one for one in answers]
        self.questions: list[Question] = []

    def decoder(self) -> MessageStream:
        return MessageStream()

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if answer.failure is not None:
            raise answer.failure

        async def chunks() -> AsyncIterator[bytes]:
            for event in answer.events():
                await trio.lowlevel.checkpoint()
                yield b"data: " + json.dumps(event).encode() + b"\n\n"
                if event["type"] == "content_block_delta" and answer.waits is not None:
                    await answer.waits.wait()

        stream = chunks()
        try:
            yield stream
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    def asked(self, number: int = -1) -> list[tuple[str, Any]]:
        """(role, content) of each message of a question; content is text, or what calls and
        results there are as (name, input or output)."""
        found: list[tuple[str, Any]] = []
        for message in self.questions[number].messages:
            content: Any = message.text
            if message.tool_calls:
                content = [(b["tool_name"], b["tool_input"]) for b in message.tool_calls]
            if message.tool_results:
                content = [(b["tool_name"], b["tool_output"]) for b in message.tool_results]
            found.append((message.role, content))
        return found


class ScriptedAgent:
    """The loop over a ScriptedApi as an agent."""

    def __init__(self, api: ScriptedApi, **options: Any) -> None:
        self.api = api
        settings = {
            name: options.pop(name)
            for name in [field.name for field in attrs.fields(AgentSettings)]
            if name in options
        }
        parts: dict[str, Any] = {
            "settings": AgentSettings(**{"model": "m", **settings}),
            "tools": (),
            "tool_limits": None,
            "hooks": None,
            "approval_timeout_seconds": None,
            "approval_default": "deny",
            "coalesce_seconds": 0.0,
            "context_window": None,
            "prices": None,
        }
        self.parts = loop_parts(**(parts | options))

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        return await Loop(self.parts, self.api, request, context).run()

    async def execute(
        self, context: RecordingContext | None = None, input: Any = "Hello"
    ) -> tuple[Ended, RecordingContext]:
        context = context or RecordingContext()
        return await execute(self, context.request(input), context), context


def types(context: RecordingContext, *of: str) -> list[str]:
    return [e.type for e in context.events if not of or e.type in of]


def data(context: RecordingContext, type: str) -> list[Any]:
    return [event.data for event in context.events if event.type == type]


def after(context: RecordingContext, ending: str = "run_completed") -> RecordingContext:
    """The context of the session's next run, with the one before ended."""
    seq = len(context.events) + 1
    end = Event(context.session_id, seq, 0, ending, context.run_id, {})
    return RecordingContext(history=[*context.events, end], run_id="second")
