"""ClaudeAgent: Claude Code executes runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version, find_executable
from ..provider.failures import ProviderNotInstalled
from ..provider.line_process import LINE_BYTES_MAX
from ..provider.opened_run import AgentParts
from ..provider.provider_sessions import keep_handle
from ..provider.settings import AgentSettings, Continuation, PermissionMode
from ..tools import Tool, ToolLimits, tools_by_name
from . import mapping, options, prompts
from .emitting import Emitter
from .mapping import PROVIDER
from .messages import MessageReader
from .opening import Opening, open_run
from .overlaps import Overlaps
from .own_tools import OwnTools
from .putting_off import UNASKED, answered_call, check_approval_wait, turns_told
from .session_store import ClaudeSessionStore, cost_state
from .tool_gate import Answers, ApprovalRules, ToolGate, hook_table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..tools.definition import ToolFunction
    from .overlaps import Overlap
    from .putting_off import ApprovalWait, PutOff

START_SECONDS = 60.0
"""How long Claude Code may take to get ready; servers of tools of the user's may be slow."""


class ClaudeAgent:
    """Executes a run with Claude Code, a process of its own for each run.

    ::

        agent = ClaudeAgent(model="claude-sonnet-4-5", working_directory="/srv/checkout")

    Needs the extra ``claude``, whose wheel brings the program; ``executable`` names another. Login
    and key are Claude Code's own: its folder, or ANTHROPIC_API_KEY in the ``environment`` (which is
    laid over that of this process; None leaves a variable out).

    The session of Claude Code goes on from run to run, and its transcripts are kept in the log: it
    continues on any machine; runs of a session that overlap are told the log instead. See
    ``provider_sessions`` for ``continuation``. What needs permission
    is asked by ``tool_approval_requested`` while the run holds its slot; without an answer in
    ``approval_timeout_seconds`` it is ``approval_default``. With ``approval_wait="park"`` it waits
    without slot and program where Claude Code can be left (see docs/agents.md). ``tools`` are async
    functions of yours that it may call. ``provider_options`` are further ``ClaudeAgentOptions`` of
    the SDK by name. A message of ``Run.steer`` is in its next request to the model.

    Raises InvalidArgument for bad values. A run raises AgentFailure (see ``provider.failures``);
    its output is {"content", "stop_reason", "provider", "model", "turns", "provider_session",
    "structured_output"?}.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        working_directory: str | None = None,
        environment: Mapping[str, str | None] | None = None,
        turns_max: int | None = None,
        permission_mode: PermissionMode | None = "default",
        continuation: Continuation | None = "auto",
        provider_options: Mapping[str, Any] | None = None,
        hooks: Hooks | None = None,
        approval_timeout_seconds: float | None = None,
        approval_default: ApprovalDefault = "deny",
        approval_wait: ApprovalWait = "hold",
        coalesce_seconds: float = COALESCE_SECONDS,
        tools: Iterable[Tool | ToolFunction] = (),
        tool_limits: ToolLimits | None = None,
        executable: str | os.PathLike[str] | None = None,
        start_seconds: float = START_SECONDS,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        self._parts = AgentParts(
            provider=PROVIDER,
            settings=AgentSettings(
                model=model,
                system_prompt=system_prompt,
                working_directory=working_directory,
                environment=environment,
                turns_max=turns_max,
                permission_mode=permission_mode,
                continuation=continuation,
                provider_options=provider_options,
            ),
            hooks=hooks,
            approval_timeout_seconds=approval_timeout_seconds,
            approval_default=approval_default,
            coalesce_seconds=coalesce_seconds,
        )
        check_approval_wait(approval_wait)
        self._approval_wait = approval_wait
        options.option_values(self._parts.settings)
        self._overlaps = Overlaps()
        self._tools = tools_by_name(tools)
        self._tool_limits = tool_limits or ToolLimits()
        self._executable = executable
        self._start_seconds = _above_zero("start_seconds", start_seconds)
        self._line_bytes_max = int(_above_zero("line_bytes_max", line_bytes_max))

    async def version(self) -> str:
        """What the program says of its version. Raises ProviderNotInstalled."""
        path = await self._program()
        return await trio.to_thread.run_sync(executable_version, PROVIDER, path)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = await self._program()
        context.accept_steers()
        with self._overlaps.watching(context.session_id) as overlap:
            store = ClaudeSessionStore(context.session, any_project=True)
            put_off = await answered_call(context, request)
            alone = not overlap.happened
            opening = await open_run(
                self._parts, request, context, store, alone=alone, put_off=put_off
            )
            if put_off is not None and opening.resume != put_off.session:
                overlap.happened = True  # it does not know what other runs have said meanwhile
            return await opening.run.executed(
                lambda: self._execute(opening, program, store, overlap, put_off)
            )

    async def _execute(
        self,
        opening: Opening,
        program: str,
        store: ClaudeSessionStore,
        overlap: Overlap,
        put_off: PutOff | None,
    ) -> dict[str, Any]:
        """Start Claude Code, and again behind each call that it puts off."""
        while True:
            turns = 0
            if put_off is not None:
                turns = await turns_told(opening.run.context)
                key = {"project_key": "", "session_id": put_off.session}
                entries = await store.load(key) or []
                opening = attrs.evolve(opening, put_off=put_off, entries=entries)
            output, put_off = await self._start(opening, program, store, overlap, turns)
            if put_off is None:
                return {**output, "turns": turns + output["turns"]}

    def _parks(self, opening: Opening) -> bool:
        settings = opening.run.settings
        mode = settings.permission_mode or "default"
        allows = options.allows_all(settings)
        return self._approval_wait == "park" and mode in UNASKED and not allows

    async def _start(
        self,
        opening: Opening,
        program: str,
        store: ClaudeSessionStore,
        overlap: Overlap,
        turns: int,
    ) -> tuple[dict[str, Any], PutOff | None]:
        sdk, run = await _sdk()
        context, settings = opening.run.context, opening.run.settings
        reader = MessageReader(mapping.total_usage(cost_state(opening.entries)))
        if opening.put_off is not None:
            reader.go_on_with(opening.put_off.call, trio.current_time())
        parked = False
        instructions = prompts.instructions(opening.run.said)
        values = options.option_values(settings, instructions=instructions)
        if turns and settings.turns_max is not None:
            values["max_turns"] = max(1, settings.turns_max - turns)
        launch = run.Launch(
            program=program,
            options=sdk.make_options({**values, "resume": opening.resume}),
            environment=settings.environment or {},
            content=opening.content,
            tell=lambda: opening.tell(context),
            entries=opening.entries,
            offers_tools=bool(self._tools),
            line_bytes_max=self._line_bytes_max,
            start_seconds=self._start_seconds,
        )
        try:
            async with DeltaStream(context, self._parts.coalesce_seconds) as stream:
                emitter = Emitter(context, stream)
                answers = self._answers(opening, reader, emitter)
                try:
                    output: dict[str, Any] = await run.execute(
                        context, launch, answers, reader, emitter, store
                    )
                finally:
                    parked = answers.gate.parking
        finally:
            # a run that was cut off is in Claude Code's transcript up to there
            kept = reader.transcribed or opening.put_off is not None
            waits = parked or reader.put_off is not None
            if reader.session is not None and kept and not overlap.happened and not waits:
                await keep_handle(context, PROVIDER, reader.session)
        return output, reader.put_off

    def _answers(self, opening: Opening, reader: MessageReader, emitter: Emitter) -> Answers:
        context, settings = opening.run.context, opening.run.settings
        hooks = self._parts.hooks
        mode = settings.permission_mode or "default"
        rules = ApprovalRules(
            mode=mode,
            allow_all=options.allows_all(settings),
            timeout_seconds=self._parts.approval_timeout_seconds,
            default=self._parts.approval_default,
            parks=self._parks(opening),
        )
        gate = ToolGate(
            context,
            opening.run.request,
            hooks,
            reader,
            emitter,
            rules=rules,
            own=self._tools,
            put_off=opening.put_off,
        )
        return Answers(
            gate=gate,
            asks=mode != "dangerously_skip_permissions",
            hooks=hook_table(gate, hooks),
            tools=OwnTools(self._tools, context, hooks, self._tool_limits),
        )

    async def _program(self) -> str:
        if self._executable is None:
            sdk, _ = await _sdk()
            return str(sdk.find_program())
        return find_executable(
            PROVIDER,
            name="claude",
            variable=None,
            remedy="give executable= the path of Claude Code, or leave it out to use the SDK's",
            executable=self._executable,
            environment=self._parts.settings.environment,
        )


async def _sdk() -> tuple[Any, Any]:
    """The modules that need the SDK. Raises ProviderNotInstalled.

    The first time they are imported in a thread: the SDK is large, and an event loop must not stand
    still for that long.
    """
    return await trio.to_thread.run_sync(_import_sdk)


def _import_sdk() -> tuple[Any, Any]:
    try:
        from . import run, sdk
    except ImportError as error:
        raise ProviderNotInstalled(
            f"{PROVIDER} needs the package claude-agent-sdk: pip install 'moorage[claude]' "
            f"({error})",
            provider=PROVIDER,
        ) from error
    return sdk, run


def _above_zero(name: str, value: float) -> float:
    if type(value) not in (int, float) or not value > 0:
        raise InvalidArgument(f"{name} must be a number above 0, not {value!r}")
    return value
