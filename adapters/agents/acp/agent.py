"""AcpAgent: any agent that speaks the Agent Client Protocol executes runs."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.errors import InvalidArgument

from ..provider.deltas import COALESCE_SECONDS, DeltaStream
from ..provider.executables import executable_version, find_executable
from ..provider.json_rpc import open_json_rpc
from ..provider.line_process import open_line_process
from ..provider.opened_run import AgentParts, OpenedRun, open_run
from ..provider.provider_sessions import keep_handle, save_handle
from ..provider.run_report import RunReport
from ..provider.settings import AgentSettings, Continuation, PermissionMode
from ..provider.side_tasks import open_side_tasks
from ..provider.text_prompts import instructed
from ..provider.tool_decisions import ToolDecisions
from .client import AcpClient, tool_effect
from .files import WorkingFiles
from .handshake import ERRORS, Handshake, current_model
from .mapping import AcpMapping
from .run import AcpRun
from .terminals import Terminals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..provider.json_rpc import JsonRpc

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
GOODBYE_SECONDS = 2.0
"""How long an agent may take to end after its last answer."""


class AcpAgent:
    """An agent that runs any program that speaks the Agent Client Protocol, a process per run.

    ::

        agent = AcpAgent(["opencode", "acp"], name="opencode", working_directory="project")

    ``command`` is a sequence of strings. ``name`` is what the provider is called in events, in
    failures and where its sessions are recorded: give each agent that is used in one session a
    name of its own. Models and keys are the program's own matter (``environment`` sets variables
    or, with None, removes some); ``authenticate`` is a login method of its own to use first.

    **Input** is a str or a map (see ``moorage.runtime.messages.input_messages``), with ``options``
    for this run. **Output** is ``{"content", "stop_reason", "provider", "model", "turns",
    "provider_session"}``. **Events** are those of ``mapping.EVENT_TABLE``; the protocol has no
    names of tools, so ``tool_name`` is their kind ("execute", "read", "edit", ...).

    **Permissions.** What the agent asks permission for is decided by hooks, ``permission_mode``
    and approvals: "default" asks for all of it, "accept_edits" lets edits through, "plan" lets
    reading through and nothing else, in the other two modes all is allowed. A mode of the agent's
    own that stands for it is set too (``handshake.MODE_NAMES``). The protocol cannot change a
    call's input, so an approval that does counts as a denial. Hooks before a tool see the calls
    that are asked about; hooks after a tool are not called. Files and commands that the agent
    leaves to its client are kept within ``working_directory`` (the current one if None).

    **Conversation.** The session's id is recorded, and the next run continues it with
    ``session/resume`` or ``session/load``, where the agent has one, sending only what is new; also
    after a run that was cancelled, if the agent said that it stopped. Where it is lost,
    ``continuation`` "auto" replays our log as text into a new one and tells so, "native" raises
    ContinuationLost. The protocol has no system prompt: ``system_prompt`` is told in front of a
    session's first prompt. It has no steering either: ``run.steer`` makes a queued run.
    ``turns_max`` is counted from outside, so an agent may have asked its model once more when it is
    told to stop; then the run fails with TurnsExceeded.

    ``provider_options`` may have ``mcp_servers``, a list as the protocol has it.

    Runs fail with AgentFailure (``moorage.adapters.agents.provider.failures``). A cancelled run has
    ended within a second, and a program whose owner is killed is killed by a watcher.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str = "acp",
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
        authenticate: str | None = None,
    ) -> None:
        if isinstance(command, str) or not command or not all(type(c) is str for c in command):
            raise InvalidArgument(
                f"command must be a sequence of strings such as ['opencode', 'acp'], not "
                f"{command!r}"
            )
        if type(name) is not str or not NAME.fullmatch(name):
            raise InvalidArgument(f"name must be a text of letters, digits, - and _, not {name!r}")
        self._command = tuple(command)
        self._authenticate = authenticate
        self._parts = AgentParts(
            provider=name,
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
        _servers(self._parts.settings)

    async def version(self) -> str:
        """What the program says for ``--version``. Raises ProviderNotInstalled."""
        program = self._program()
        return await trio.to_thread.run_sync(executable_version, self._parts.provider, program)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        program = self._program()
        opened = await open_run(self._parts, request, context)
        return await opened.executed(lambda: self._run(program, opened))

    async def _run(self, program: str, opened: OpenedRun) -> dict[str, Any]:
        provider, settings = self._parts.provider, opened.settings
        root = _root(settings)
        mapping = AcpMapping(provider)
        async with (
            DeltaStream(opened.context, self._parts.coalesce_seconds) as deltas,
            open_side_tasks() as nursery,
        ):
            report = RunReport(opened.context, deltas, provider)
            files = WorkingFiles(root)
            terminals = Terminals(nursery, files, settings.environment)
            client = AcpClient(report, mapping, self._decisions(opened), files, terminals)
            run = AcpRun(report, mapping, provider, turns_max=settings.turns_max)
            try:
                async with (
                    open_line_process(
                        (program, *self._command[1:]),
                        settings.environment,
                        root,
                        provider=provider,
                        on_garbage=lambda line: report.emit(
                            "provider_event", {"provider": provider, "original": line}
                        ),
                        goodbye_seconds=GOODBYE_SECONDS,
                    ) as process,
                    open_json_rpc(
                        process,
                        on_request=client.request,
                        on_notification=run.notified,
                        errors=ERRORS,
                    ) as rpc,
                ):
                    await self._converse(opened, rpc, report, run, client, mapping)
            except BaseException:
                if run.kept and run.session_id is not None:
                    await keep_handle(opened.context, provider, run.session_id)
                raise
        assert report.provider_session is not None
        await save_handle(opened.context, provider, report.provider_session)
        return report.output()

    async def _converse(
        self,
        opened: OpenedRun,
        rpc: JsonRpc,
        report: RunReport,
        run: AcpRun,
        client: AcpClient,
        mapping: AcpMapping,
    ) -> None:
        settings = opened.settings
        cwd = client.files.root
        hello = Handshake(rpc, self._parts.provider)
        await hello.initialize(authenticate=self._authenticate)
        said: Mapping[str, Any] = {}
        session_id = opened.native_id
        if session_id is not None:
            client.session_id = run.session_id = session_id
            resumed = await hello.resume(session_id, cwd, _servers(settings))
            if isinstance(resumed, str):
                opened, session_id = opened.without_native(resumed), None
            else:
                said = resumed
                mapping.cost_unknown()
        if session_id is None:
            session_id, said = await hello.new_session(cwd, _servers(settings))
        client.session_id = run.session_id = report.provider_session = session_id
        report.model = settings.model or current_model(said)
        if settings.model is not None:
            await hello.choose_model(session_id, said, settings.model)
        await hello.choose_mode(session_id, said, settings.permission_mode or "default")
        await opened.tell_fallback()
        await opened.tell_said(report)
        prompt = opened.prompt()
        first = settings.system_prompt if opened.native_id is None else None
        prompt = instructed(prompt, first, prompt.instructions)
        await run.ask(rpc, prompt, takes_images=hello.takes_images)

    def _decisions(self, opened: OpenedRun) -> ToolDecisions:
        return ToolDecisions(
            context=opened.context,
            request=opened.request,
            hooks=self._parts.hooks,
            mode=opened.settings.permission_mode or "default",
            effect=tool_effect,
            timeout_seconds=self._parts.approval_timeout_seconds,
            default=self._parts.approval_default,
            metadata={"provider": self._parts.provider},
        )

    def _program(self) -> str:
        return find_executable(
            self._parts.provider,
            name=self._command[0],
            variable=None,
            remedy="install it, or begin the command with its whole path",
            environment=self._parts.settings.environment,
        )


def _root(settings: AgentSettings) -> str:
    return os.path.abspath(settings.working_directory or os.curdir)


def _servers(settings: AgentSettings) -> Sequence[Any]:
    """The servers in the provider options. Raises InvalidArgument for other options."""
    options = dict(settings.provider_options or {})
    servers = options.pop("mcp_servers", [])
    if options or not isinstance(servers, list):
        # not what is in them: servers may have secrets in their variables
        names = ", ".join(map(repr, options)) or f"a {type(servers).__name__} as mcp_servers"
        raise InvalidArgument(
            "provider_options may have mcp_servers, a list, and nothing else: the program has its "
            f"own configuration; not {names}"
        )
    return servers
