"""AmpAgent: Amp's command line executes runs."""

from __future__ import annotations

import os
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version, find_executable
from ..provider.failures import ProviderExited, ProviderNotConfigured
from ..provider.line_process import open_line_process
from ..provider.opened_run import AgentParts, OpenedRun, open_run
from ..provider.provider_sessions import save_handle
from ..provider.run_report import RunReport
from ..provider.settings import AgentSettings, Continuation, PermissionMode, child_environment
from ..provider.text_prompts import instructed
from ..provider.tool_decisions import ToolDecisions
from . import options
from .gate import open_gate
from .mapping import PROVIDER
from .run import AmpRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks

VARIABLE = "MOORAGE_AMP"
REMEDY = f"install Amp, or give executable= or the variable {VARIABLE} its path"

LOST = re.compile(
    r"thread.{0,80}(not found|does not exist|unknown)|(no|unknown) (such )?thread", re.I
)
NOT_LOGGED_IN = re.compile(r"log ?in|sign in|api[ _-]?key|access token|unauthorized", re.I)


class AmpAgent:
    """An agent that runs Amp's command line in execute mode, a process per run.

    ::

        agent = AmpAgent(working_directory="project", permission_mode="full_auto")

    Amp cannot be had from a package registry that tests can use, and it works against its own
    service only. So this agent is tested with a stand-in that replays what Amp's manual documents
    (``--execute --stream-json --stream-json-input``, ``threads continue``, permissions by
    ``delegate``), and not with Amp itself.

    **Program.** ``executable``, else the variable MOORAGE_AMP, else ``amp`` on PATH. It is logged
    in by itself, or by AMP_API_KEY (``environment`` sets variables or, with None, removes some).
    Amp has modes and no models: ``model`` is the name of one (``--mode``).

    **Input** is a str or a map (see ``moorage.runtime.messages.input_messages``), with ``options``
    for this run. **Output** is ``{"content", "stop_reason", "provider", "model", "turns",
    "provider_session"}``. **Events** are those of ``mapping.EVENT_TABLE``; Amp streams no deltas,
    so each text comes as one, and it tells no cost.

    **Permissions.** Amp's rules are replaced by one that delegates every call to a program of
    ours, which asks here: by ``permission_mode`` "default" everything but reading waits for an
    approval, "accept_edits" lets edits through, "plan" reading alone; in the other modes Amp is
    told to allow all. Amp cannot be given another input for a call: an approval or a hook that
    changes it counts as a denial. Hooks after a tool are not called.

    **Steering.** Messages of ``run.steer`` are sent marked as such, and Amp takes them in at its
    next point of interruption.

    **Conversation.** Amp keeps threads on its service. The id of the last one is recorded, and the
    next run continues it and sends only what is new. Where it is gone, or our log knows more,
    ``continuation`` "auto" replays the log as text into a new one and tells so, "native" raises
    ContinuationLost. Amp takes no system prompt: ``system_prompt`` is told in front of a thread's
    first prompt. ``turns_max`` ends Amp when its model wants a tool after so many turns.

    ``provider_options`` become flags of its command line (``{"effort": "high"}``).

    Runs fail with AgentFailure (``moorage.adapters.agents.provider.failures``). A cancelled run has
    ended within a second, and an Amp whose owner is killed is killed by a watcher.
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
        options.command_line("amp", self._parts.settings)
        self._executable = executable

    async def version(self) -> str:
        """What Amp says its version is. Raises ProviderNotInstalled."""
        program = self._program()
        return await trio.to_thread.run_sync(executable_version, PROVIDER, program)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = self._program()
        opened = await open_run(self._parts, request, context)
        return await opened.executed(lambda: self._run(program, opened))

    async def _run(self, program: str, opened: OpenedRun) -> dict[str, Any]:
        context = opened.context
        async with DeltaStream(context, self._parts.coalesce_seconds) as deltas:
            report = RunReport(context, deltas, PROVIDER)
            report.model = opened.settings.model
            await opened.tell_fallback()
            await opened.tell_said(report)
            context.accept_steers()
            try:
                await self._attempt(program, opened, report)
            except _ThreadLost as lost:
                opened = opened.without_native(str(lost))
                await opened.tell_fallback()
                await self._attempt(program, opened, report)
        if report.provider_session is not None:
            await save_handle(context, PROVIDER, report.provider_session)
        return report.output()

    async def _attempt(self, program: str, opened: OpenedRun, report: RunReport) -> None:
        settings = opened.settings
        run = AmpRun(opened.context, report, self._decisions(opened), turns_max=settings.turns_max)
        environment: dict[str, str | None] = dict(settings.environment or {})
        settings_file = None
        async with AsyncExitStack() as stack:
            if settings.permission_mode not in options.ALLOW_ALL:
                whole = child_environment(environment)
                own = await trio.to_thread.run_sync(options.own_settings, whole)
                path = whole.get("PATH", os.defpath)
                gate = await stack.enter_async_context(open_gate(run.decide, own, path))
                settings_file = gate.settings_file
                environment.update(gate.environment)
            process = await stack.enter_async_context(
                open_line_process(
                    options.command_line(
                        program, settings, thread=opened.native_id, settings_file=settings_file
                    ),
                    environment,
                    settings.working_directory,
                    provider=PROVIDER,
                    on_garbage=lambda line: report.emit(
                        "provider_event", {"provider": PROVIDER, "original": line}
                    ),
                )
            )
            prompt = opened.prompt()
            first = settings.system_prompt if opened.native_id is None else None
            try:
                await run.execute(process, instructed(prompt, first, prompt.instructions))
            except ProviderExited as error:
                raise _explained(error, run, opened) from error

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

    def _program(self) -> str:
        return find_executable(
            PROVIDER,
            name="amp",
            variable=VARIABLE,
            remedy=REMEDY,
            executable=self._executable,
            environment=self._parts.settings.environment,
        )


class _ThreadLost(Exception):
    """Amp does not know the thread that it was to continue."""


def _explained(error: ProviderExited, run: AmpRun, opened: OpenedRun) -> Exception:
    """What Amp's end says, where its last words tell."""
    if run.heard:
        return error
    if opened.native_id is not None and LOST.search(error.stderr):
        return _ThreadLost(f"Amp does not know it any more ({error})")
    if NOT_LOGGED_IN.search(error.stderr):
        return ProviderNotConfigured(str(error), provider=PROVIDER, stderr=error.stderr)
    return error
