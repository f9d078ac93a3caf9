"""One run of Claude Code, from its start to its end. Needs the extra ``claude``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import MoorageError

from ..provider.failures import ProtocolViolated
from ..provider.line_process import open_line_process
from . import mapping, sdk
from .conversation import Conversation
from .mapping import PROVIDER
from .session_store import LoadedTranscript

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext

    from .emitting import Emitter
    from .messages import MessageReader
    from .session_store import ClaudeSessionStore
    from .tool_gate import Answers


@attrs.frozen(kw_only=True)
class Launch:
    """What Claude Code is started with, and what it is asked; ``tell`` is awaited in between."""

    program: str
    options: sdk.ClaudeAgentOptions
    environment: Mapping[str, str | None]
    content: str | list[Any] | None
    """None goes on with a call that was put off."""
    tell: Callable[[], Awaitable[None]]
    entries: list[Any]
    """Those of the transcript that ``options.resume`` names."""
    offers_tools: bool
    line_bytes_max: int
    start_seconds: float


async def execute(
    context: RunContext,
    launch: Launch,
    answers: Answers,
    reader: MessageReader,
    emitter: Emitter,
    store: ClaudeSessionStore,
) -> dict[str, Any]:
    """Ask, and return the run's output once all is answered.

    Raises an AgentFailure if Claude Code or its model fails, and what the session raises. Whatever
    happens, its process has ended when this returns, within a second of a cancellation.
    """
    answered = False
    try:
        options = launch.options
        loaded = LoadedTranscript(store, launch.entries)
        async with sdk.resumable(options, loaded, launch.environment) as environment:
            cwd = None if options.cwd is None else str(options.cwd)
            async with open_line_process(
                sdk.command_line(
                    options, launch.program, asks=answers.asks, offers=launch.offers_tools
                ),
                sdk.child_variables(environment, cwd, offers=launch.offers_tools),
                cwd,
                provider=PROVIDER,
                on_garbage=_garbage(emitter, reader, launch.line_bytes_max),
                line_bytes_max=launch.line_bytes_max,
            ) as process:
                conversation = Conversation(
                    context,
                    process,
                    answers,
                    reader,
                    emitter,
                    store,
                    projects=os.path.join(sdk.configuration_directory(environment), "projects"),
                    start_seconds=launch.start_seconds,
                )
                await conversation.hold(options, launch.content, launch.tell)
        answered = True
    finally:
        if not answered and not answers.gate.parking:
            with suppress(MoorageError):  # what ends the run says more
                emitter.emit_nowait(reader.interrupted("the run ended before its result came"))
    return output_of(reader)


def output_of(reader: MessageReader) -> dict[str, Any]:
    """The output of a run that has ended well."""
    result = reader.result or {}
    output: dict[str, Any] = {
        # the result has only the last block of the last message
        "content": reader.text or result.get("result") or "",
        "stop_reason": str(result.get("stop_reason") or result.get("subtype")),
        "provider": PROVIDER,
        "model": reader.model,
        "turns": reader.turns,
    }
    if reader.session is not None:
        output["provider_session"] = reader.session
    if result.get("structured_output") is not None:
        output["structured_output"] = result["structured_output"]
    return output


def _garbage(emitter: Emitter, reader: MessageReader, line_bytes_max: int) -> Any:
    async def report(line: dict[str, Any]) -> None:
        if line.get("truncated"):  # what it said is lost, perhaps the result
            raise ProtocolViolated(
                f"{PROVIDER} wrote a line of {line['line_bytes']} bytes, and line_bytes_max is "
                f"{line_bytes_max}: raise it",
                provider=PROVIDER,
            )
        await emitter.emit([mapping.provider_event(line, reader.metadata())])

    return report
