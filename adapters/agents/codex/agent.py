"""CodexAgent: Codex executes runs, through the app server of its own program.

The app server (``codex app-server``: JSON-RPC in lines on standard input and output) was chosen
over ``codex exec --json`` because only there a turn can be steered, and only there Codex asks for
approvals instead of refusing what needs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version
from ..provider.failures import AgentFailure, ProviderExited
from ..provider.json_rpc import JsonRpc, open_json_rpc
from ..provider.line_process import LINE_BYTES_MAX, STDERR_BYTES_MAX, open_line_process
from ..provider.opened_run import AgentParts, OpenedRun, open_run
from ..provider.provider_sessions import save_handle
from ..provider.run_report import RunReport
from ..provider.settings import AgentSettings, child_environment
from ..provider.tool_decisions import ToolDecisions
from .conversation import REQUEST_SECONDS, Conversation
from .executable import find_codex
from .mapping import PROVIDER, TurnReader, mapping_at
from .options import CLIENT, check_account, check_key, thread_params
from .server_requests import effect_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..provider.settings import Continuation, PermissionMode


RACE = "failed to initialize sqlite state runtime"
RACE_PAUSES = (0.1, 0.3, 0.9)
"""Seconds to wait and start again: of several Codex that are the first to use a new CODEX_HOME, all
but one end at once with these words."""


class CodexAgent:
    """An agent that asks Codex, whose program is started for each run and ends with it.

    **Program.** ``executable``, else the one that the extra ``codex`` brings, else the one on PATH.
    ``environment`` is laid over that of this process (None leaves a variable out); Codex keeps its
    configuration, its login and its threads where CODEX_HOME says.

    **Settings.** ``system_prompt`` goes behind Codex's own instructions; ``provider_options``
    override its configuration, under the names of its config.toml; ``permission_mode`` sets its
    approval policy and its sandbox, as in PERMISSION_TABLE; ``turns_max`` bounds the model's
    answers in a run.

    **Conversation.** The thread's id is recorded in the session's metadata, and the next run
    resumes the thread and sends what is new. Where that cannot be (``continuation="auto"``) a new
    thread is told the conversation as text.

    **Approvals** hold the run's slot, since Codex waits. The hooks before a tool are asked where
    Codex asks, so they may deny; another input is declined, since Codex runs its own or nothing.
    **Steers** reach the running turn.

    Raises, for the run, the failures of ``provider.failures``: ProviderNotInstalled and
    ProviderNotConfigured before Codex is asked anything.
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
        path = find_codex(self._executable, self._parts.settings.environment)
        said = await trio.to_thread.run_sync(executable_version, PROVIDER, path)
        return said.rpartition("\n")[2]  # behind its warnings

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = find_codex(self._executable, self._parts.settings.environment)
        opened = await open_run(self._parts, request, context)
        check_key(opened.settings, child_environment(opened.settings.environment))
        return await opened.executed(lambda: self._run(opened, program))

    async def _run(self, opened: OpenedRun, program: str) -> dict[str, Any]:
        async with DeltaStream(opened.context, self._parts.coalesce_seconds) as deltas:
            report = RunReport(opened.context, deltas, PROVIDER)
            try:
                for pause in (*RACE_PAUSES, None):
                    try:
                        await self._converse(opened, program, report)
                        break
                    except ProviderExited as error:
                        if pause is None or RACE not in error.stderr:
                            raise
                    await trio.sleep(pause)
            finally:
                report.close_calls("interrupted", "the run ended before the call did")
            return report.output()

    async def _converse(self, opened: OpenedRun, program: str, report: RunReport) -> None:
        """Start the program and hold the run's conversation with it."""

        async def unreadable(line: dict[str, Any]) -> None:
            await report.emit("provider_event", {"provider": PROVIDER, "original": line})

        async with open_line_process(
            [program, "app-server"],
            opened.settings.environment,
            opened.settings.working_directory,
            provider=PROVIDER,
            on_garbage=unreadable,
            line_bytes_max=self._line_bytes_max,
            stderr_bytes_max=self._stderr_bytes_max,
        ) as process:
            conversation = Conversation(
                context=opened.context,
                process=process,
                report=report,
                turns_max=opened.settings.turns_max,
            )
            async with open_json_rpc(
                process, on_request=conversation.asked, on_notification=conversation.told
            ) as rpc:
                opened = await self._open(rpc, opened, conversation)
                opened.context.accept_steers()
                await opened.tell_fallback()
                await opened.tell_said(report)
                await conversation.hold(rpc, opened.prompt())
                conversation.conclude()

    async def _open(self, rpc: JsonRpc, opened: OpenedRun, conversation: Conversation) -> OpenedRun:
        """Resume or start the thread, record it, and say how the run goes on."""
        await rpc.request(
            "initialize",
            {"clientInfo": CLIENT, "capabilities": None},
            timeout_seconds=REQUEST_SECONDS,
        )
        await rpc.notify("initialized")
        account = await rpc.request("account/read", {}, timeout_seconds=REQUEST_SECONDS)
        instructions = opened.prompt().instructions
        params = thread_params(opened.settings, instructions)
        answer, opened = await _thread(rpc, params, opened)
        check_account(account, answer.get("modelProvider"))
        reader = TurnReader(str(mapping_at(answer, "thread").get("id")))
        model = answer.get("model")
        reader.model = model if isinstance(model, str) else None
        conversation.reader = reader
        conversation.report.provider_session = reader.thread_id
        conversation.report.model = reader.model
        conversation.decisions = ToolDecisions(
            context=conversation.context,
            request=opened.request,
            hooks=self._parts.hooks,
            mode=opened.settings.permission_mode or "default",
            effect=effect_of(reader.actions),
            timeout_seconds=self._parts.approval_timeout_seconds,
            default=self._parts.approval_default,
            metadata={"provider": PROVIDER, "provider_session": reader.thread_id},
        )
        await save_handle(opened.context, PROVIDER, reader.thread_id, goes_on=True)
        return opened


async def _thread(
    rpc: JsonRpc, params: dict[str, Any], opened: OpenedRun
) -> tuple[Mapping[str, Any], OpenedRun]:
    """The answer to thread/resume or thread/start. Raises ContinuationLost."""
    if opened.native_id is not None:
        resume = {**params, "threadId": opened.native_id, "excludeTurns": True}
        try:
            answer = await rpc.request("thread/resume", resume, timeout_seconds=REQUEST_SECONDS)
            return answer, opened
        except AgentFailure as failure:
            if "no rollout found" not in str(failure):
                raise
        opened = opened.without_native(f"Codex does not know the thread {opened.native_id}")
    return await rpc.request("thread/start", params, timeout_seconds=REQUEST_SECONDS), opened
