"""PiAgent: the coding agent pi executes runs."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import trio

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version, find_executable
from ..provider.failures import AgentFailure, ProviderExited, RequestInvalid
from ..provider.line_process import open_line_process
from ..provider.opened_run import AgentParts, OpenedRun, open_run
from ..provider.provider_sessions import keep_handle, save_handle
from ..provider.run_report import RunReport
from ..provider.settings import AgentSettings, Continuation, PermissionMode
from ..provider.tool_decisions import ToolDecisions
from . import gate, options
from .mapping import PROVIDER
from .run import PiRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..provider.text_prompts import TextPrompt

VARIABLE = "MOORAGE_PI"
REMEDY = (
    "install it with npm install -g @earendil-works/pi-coding-agent, or give executable= or the "
    f"variable {VARIABLE} its path"
)
GOODBYE_SECONDS = 2.0
"""How long pi may take to end after its last answer; it usually takes some milliseconds."""


class PiAgent:
    """An agent that runs the program pi in its RPC mode, a process per run.

    ::

        agent = PiAgent(model="anthropic/claude-sonnet-4-5", working_directory="project")

    **Program.** ``executable``, else the variable MOORAGE_PI, else ``pi`` on PATH. Its models and
    keys are pi's own: variables such as ANTHROPIC_API_KEY (``environment`` sets or, with None,
    removes some), or ``models.json`` in the folder that PI_CODING_AGENT_DIR names.

    **Input** is a str or a map (see ``moorage.runtime.messages.input_messages``), with ``options``
    for this run. **Output** is ``{"content", "stop_reason", "provider", "model", "turns",
    "provider_session"}``. **Events** are those of ``mapping.EVENT_TABLE``.

    **Tools** are pi's. pi asks nobody whether they may run, so an extension of ours, which pi
    loads, does: hooks see every call, and by ``permission_mode`` "default" everything but reading
    waits for an approval; "accept_edits" lets edits through, "plan" offers reading tools only, in
    the other modes all run. Nobody answering within ``approval_timeout_seconds`` (None: no limit)
    counts as ``approval_default``. The run holds its slot meanwhile. ``turns_max`` ends a run with
    TurnsExceeded before the model is asked once more.

    **Steering.** Messages of ``run.steer`` go to pi, which gives them to the model with the results
    of the tools that it is running.

    **Conversation.** pi keeps sessions in files (below ``session_directory``, or where pi puts
    them); the path of the last one is recorded in our session, and the next run continues it and
    sends only what is new, also after a run that was cancelled or failed, if pi stopped in good
    order. Where the file is gone, or our log knows more than it (after a crash, a restore, another
    agent), ``continuation`` "auto" replays the log as text into a new one and tells so, "native"
    raises ContinuationLost.

    ``provider_options`` become flags of pi's command line (``{"thinking": "high"}``), except
    ``auto_retry``, ``auto_compaction`` and ``steering_mode``, which are commands to it.

    Runs fail with AgentFailure (``moorage.adapters.agents.provider.failures``). A cancelled run has
    ended within a second, and a pi whose owner is killed is killed by a watcher.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str | None] | None = None,
        turns_max: int | None = None,
        permission_mode: PermissionMode = "default",
        continuation: Continuation = "auto",
        provider_options: Mapping[str, Any] | None = None,
        hooks: Hooks | None = None,
        approval_timeout_seconds: float | None = None,
        approval_default: ApprovalDefault = "deny",
        coalesce_seconds: float = COALESCE_SECONDS,
        executable: str | os.PathLike[str] | None = None,
        session_directory: str | os.PathLike[str] | None = None,
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
        options.launch("pi", self._parts.settings, gate="")
        self._executable = executable
        self._session_directory = (
            None if session_directory is None else os.path.abspath(os.fspath(session_directory))
        )

    async def version(self) -> str:
        """What pi says its version is. Raises ProviderNotInstalled."""
        program = self._program(self._parts.settings)
        return await trio.to_thread.run_sync(executable_version, PROVIDER, program)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = self._program(self._parts.settings)
        opened = await open_run(self._parts, request, context, host=socket.gethostname())
        file = opened.native_id
        if file is not None and not await trio.Path(file).is_file():
            opened = opened.without_native(f"its file {file} is gone")
        return await opened.executed(lambda: self._run(program, opened))

    async def _run(self, program: str, opened: OpenedRun) -> dict[str, Any]:
        context, settings = opened.context, opened.settings
        prompt = opened.prompt()
        launch = options.launch(
            program,
            settings,
            gate=gate.GATE_FILE,
            instructions=prompt.instructions,
            session_file=opened.native_id,
            session_directory=self._session_directory,
        )
        variables = gate.gate_environment(
            turns_max=settings.turns_max, asks_results=bool(self._parts.hooks.after_tool)
        )
        async with DeltaStream(context, self._parts.coalesce_seconds) as deltas:
            report = RunReport(context, deltas, PROVIDER)
            async with open_line_process(
                launch.command,
                {**(settings.environment or {}), **variables},
                settings.working_directory,
                provider=PROVIDER,
                on_garbage=lambda line: report.emit(
                    "provider_event", {"provider": PROVIDER, "original": line}
                ),
                goodbye_seconds=GOODBYE_SECONDS,
            ) as process:
                await opened.tell_fallback()
                await opened.tell_said(report)
                context.accept_steers()
                run = PiRun(
                    context,
                    process,
                    report,
                    self._decisions(opened),
                    turns_max=settings.turns_max,
                )
                await _execute(run, context, launch, prompt)
        if run.session_file is not None:
            await save_handle(context, PROVIDER, run.session_file, host=socket.gethostname())
        return report.output()

    def _decisions(self, opened: OpenedRun) -> ToolDecisions:
        return ToolDecisions(
            context=opened.context,
            request=opened.request,
            hooks=self._parts.hooks,
            mode=opened.settings.permission_mode or "default",
            effect=options.tool_effect,
            timeout_seconds=self._parts.approval_timeout_seconds,
            default=self._parts.approval_default,
            reads_free=True,
            metadata={"provider": PROVIDER},
        )

    def _program(self, settings: AgentSettings) -> str:
        return find_executable(
            PROVIDER,
            name="pi",
            variable=VARIABLE,
            remedy=REMEDY,
            executable=self._executable,
            environment=settings.environment,
        )


async def _execute(
    run: PiRun, context: RunContext, launch: options.Launch, prompt: TextPrompt
) -> None:
    try:
        await run.execute(launch.commands, prompt)
    except BaseException as error:
        if run.kept and run.session_file is not None:
            await keep_handle(context, PROVIDER, run.session_file, host=socket.gethostname())
        if isinstance(error, ProviderExited):
            raise _explained(error) from error
        raise


def _explained(error: ProviderExited) -> AgentFailure:
    """What pi's end says of the request, where its last words tell."""
    if error.exit_code == 1 and "not found" in error.stderr and "odel" in error.stderr:
        return RequestInvalid(str(error), provider=PROVIDER, stderr=error.stderr)
    return error
