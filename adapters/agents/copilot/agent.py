"""CopilotAgent: GitHub Copilot's command line executes runs, through the server in it.

The program has three interfaces for machines, and all were tried. Its server (``--headless
--stdio``: JSON-RPC behind headers of their length, the one that GitHub's own SDKs speak) resumes a
session by id, asks for permissions, takes a message in the middle of a turn, can be interrupted,
and tells usage as it goes and the status of an error. ``--acp`` asks for permissions too, but has
no message for a turn on its way and tells usage when it is over; ``--output-format json`` takes one
prompt, and nobody can be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version
from ..provider.framing import LengthHeaders
from ..provider.json_rpc import JsonRpc, open_json_rpc
from ..provider.line_process import LINE_BYTES_MAX, STDERR_BYTES_MAX, open_line_process
from ..provider.opened_run import AgentParts, OpenedRun, open_run
from ..provider.provider_sessions import save_handle
from ..provider.run_report import RunReport
from ..provider.settings import AgentSettings, child_environment
from ..provider.tool_decisions import ToolDecisions
from .conversation import REQUEST_SECONDS, Conversation
from .executable import find_copilot
from .mapping import PROVIDER
from .permission_requests import effect_of
from .resuming import open_session
from .session_options import check_login, check_protocol, session_params

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..provider.settings import Continuation, PermissionMode

SERVER = ("--headless", "--no-auto-update", "--log-level", "error", "--stdio")


class CopilotAgent:
    """An agent that asks Copilot, whose program is started for each run and ends with it.

    **Program.** ``executable``, else what MOORAGE_COPILOT names, else the ``copilot`` on PATH (of
    npm's ``@github/copilot``). ``environment`` is laid over that of this process (None leaves a
    variable out); Copilot keeps its configuration, its login and its sessions where COPILOT_HOME
    says. A model provider of one's own is named by COPILOT_PROVIDER_BASE_URL and its fellows.

    **Settings.** ``system_prompt`` goes behind Copilot's own; ``provider_options`` are laid over
    the parameters of its sessions, under the server's own names; ``permission_mode`` says what is
    answered to its requests, as in PERMISSION_TABLE; ``turns_max`` bounds the model's answers in a
    run.

    **Conversation.** The session's id is recorded in the metadata of ours, and the next run
    resumes it and sends what is new. Where that cannot be (``continuation="auto"``) a new one is
    told the conversation as text.

    **Approvals** hold the run's slot, since Copilot waits. The hooks before a tool are asked where
    Copilot asks, so they may deny; another input is declined, since Copilot runs its own or
    nothing. **Steers** are said at once: Copilot puts a running command into the background.

    Raises, for the run, the failures of ``provider.failures``: ProviderNotInstalled and
    ProviderNotConfigured before Copilot is asked anything.
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
        line_bytes_max: int = LINE_BYTES_MAX,
        stderr_bytes_max: int = STDERR_BYTES_MAX,
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
        self._executable = executable
        self._line_bytes_max = line_bytes_max
        self._stderr_bytes_max = stderr_bytes_max

    async def version(self) -> str:
        """What the program says its version is. Raises ProviderNotInstalled."""
        path = find_copilot(self._executable, self._parts.settings.environment)
        said = await trio.to_thread.run_sync(executable_version, PROVIDER, path)
        return said.partition("\n")[0]

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = find_copilot(self._executable, self._parts.settings.environment)
        opened = await open_run(self._parts, request, context)
        variables = child_environment(opened.settings.environment)
        params = session_params(opened.settings, variables, opened.prompt().instructions)
        return await opened.executed(lambda: self._run(opened, program, params))

    async def _run(self, opened: OpenedRun, program: str, params: dict[str, Any]) -> dict[str, Any]:
        context = opened.context
        async with DeltaStream(context, self._parts.coalesce_seconds) as deltas:
            report = RunReport(context, deltas, PROVIDER)

            async def unreadable(line: dict[str, Any]) -> None:
                await report.emit("provider_event", {"provider": PROVIDER, "original": line})

            try:
                async with open_line_process(
                    [program, *SERVER],
                    opened.settings.environment,
                    opened.settings.working_directory,
                    provider=PROVIDER,
                    on_garbage=unreadable,
                    line_bytes_max=self._line_bytes_max,
                    stderr_bytes_max=self._stderr_bytes_max,
                    framing=LengthHeaders,
                ) as process:
                    conversation = Conversation(
                        context=context,
                        process=process,
                        report=report,
                        turns_max=opened.settings.turns_max,
                        directory=opened.settings.working_directory or ".",
                    )
                    async with open_json_rpc(process, on_notification=conversation.told) as rpc:
                        opened = await self._open(rpc, opened, conversation, params)
                        context.accept_steers()
                        await opened.tell_fallback()
                        await opened.tell_said(report)
                        await conversation.hold(rpc, opened.prompt())
            finally:
                report.close_calls("interrupted", "the run ended before the call did")
            if conversation.session_id is not None:
                await save_handle(context, PROVIDER, conversation.session_id)
            report.turns = conversation.reader.turns
            report.stop_reason = conversation.reader.stop_reason
            return report.output()

    async def _open(
        self,
        rpc: JsonRpc,
        opened: OpenedRun,
        conversation: Conversation,
        params: dict[str, Any],
    ) -> OpenedRun:
        """Resume or create the session, record it, and say how the run goes on."""
        kinds = {"supportedTaskKinds": ["agent", "client", "shell"]}
        check_protocol(await rpc.request("connect", kinds, timeout_seconds=REQUEST_SECONDS))
        if "provider" not in params:
            check_login(await rpc.request("auth.getStatus", {}, timeout_seconds=REQUEST_SECONDS))
        conversation.report.model = params.get("model")
        conversation.decisions = ToolDecisions(
            context=conversation.context,
            request=opened.request,
            hooks=self._parts.hooks,
            mode=opened.settings.permission_mode or "default",
            effect=effect_of(conversation.effects),
            reads_free=True,
            timeout_seconds=self._parts.approval_timeout_seconds,
            default=self._parts.approval_default,
            metadata={"provider": PROVIDER},
        )
        session_id, opened = await open_session(rpc, params, opened)
        conversation.session_id = session_id
        conversation.report.provider_session = session_id
        await save_handle(opened.context, PROVIDER, session_id, goes_on=True)
        return opened
