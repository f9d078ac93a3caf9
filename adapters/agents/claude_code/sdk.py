"""All that is used of the Claude Agent SDK, its internals included, in one place.

The SDK builds the command line and a folder to resume from in functions that are not public. They
are taken from here only, and tests/adapters/agents/claude_code/test_sdk.py fails when one of them
changes. Importing this module needs the extra ``claude``.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from claude_agent_sdk import (
    AgentDefinition,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    CLINotFoundError,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    SdkMcpTool,
    ToolPermissionContext,
    __version__,
    create_sdk_mcp_server,
)
from claude_agent_sdk._internal.session_resume import materialize_resume_session
from claude_agent_sdk._internal.session_store import file_path_to_session_key
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport
from moorage.runtime.errors import InvalidArgument

from ..provider.failures import ProviderNotInstalled
from .mapping import PROVIDER, TOOL_SERVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = [
    "ClaudeAgentOptions",
    "ClaudeSDKClient",
    "HookMatcher",
    "PermissionResultAllow",
    "PermissionResultDeny",
    "SdkMcpTool",
    "ToolPermissionContext",
    "answering",
    "child_variables",
    "command_line",
    "configuration_directory",
    "create_sdk_mcp_server",
    "file_path_to_session_key",
    "find_program",
    "make_options",
    "resumable",
]


def make_options(values: Mapping[str, Any]) -> ClaudeAgentOptions:
    """Options of the SDK. Raises InvalidArgument for a name that this SDK does not have."""
    known = {field.name for field in dataclasses.fields(ClaudeAgentOptions)}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise InvalidArgument(
            f"provider_options has {', '.join(map(repr, unknown))}, which claude-agent-sdk "
            f"{__version__} does not know: see its ClaudeAgentOptions"
        )
    agents = values.get("agents")
    if agents:  # from a run's input they come as plain data
        agents = {name: _definition(name, given) for name, given in agents.items()}
    return ClaudeAgentOptions(**{**values, **({"agents": agents} if agents else {})})


def _definition(name: str, given: Any) -> Any:
    if isinstance(given, AgentDefinition):
        return given
    try:
        return AgentDefinition(**given)
    except TypeError as error:
        raise InvalidArgument(f"provider_options['agents'][{name!r}]: {error}") from error


def find_program() -> str:
    """The path of the Claude Code that the SDK brings or finds. Raises ProviderNotInstalled."""
    transport = SubprocessCLITransport(prompt="", options=ClaudeAgentOptions())
    try:
        return str(transport._find_cli())
    except CLINotFoundError as error:
        raise ProviderNotInstalled(f"{PROVIDER}: {error}", provider=PROVIDER) from error


def command_line(
    options: ClaudeAgentOptions, program: str, *, asks: bool, offers: bool
) -> list[str]:
    """The command that starts Claude Code as the SDK's own transport would. It tells what it writes
    to its transcripts; if it ``asks``, it asks for permissions over standard input and output, and
    so it calls our tools if we have any to ``offer``."""
    given: Any = options.mcp_servers
    ours: Any = {TOOL_SERVER: {"type": "sdk", "name": TOOL_SERVER}} if offers else {}
    options = dataclasses.replace(
        options,
        cli_path=program,
        mcp_servers={**given, **ours},
        permission_prompt_tool_name="stdio" if asks else None,
        session_store=None,
    )
    transport = SubprocessCLITransport(prompt="", options=options)
    return [*transport._build_command(), "--session-mirror"]


def answering(
    options: ClaudeAgentOptions,
    *,
    hooks: Mapping[Any, list[HookMatcher]],
    can_use_tool: Any,
    servers: Mapping[str, Any],
) -> ClaudeAgentOptions:
    """``options`` with who answers; the SDK itself is left nothing to do with the process."""
    given: Any = options.mcp_servers
    return dataclasses.replace(
        options,
        hooks=dict(hooks) or None,
        can_use_tool=can_use_tool,
        mcp_servers={**given, **servers},
        session_store=None,
        resume=None,
    )


def child_variables(
    environment: Mapping[str, str | None], working_directory: str | None, *, offers: bool
) -> dict[str, str | None]:
    """What is set (or, with None, removed) in Claude Code's environment, over our own."""
    # else the model has to search for our tools before it can call one
    search: dict[str, str | None] = {"ENABLE_TOOL_SEARCH": "false"} if offers else {}
    variables: dict[str, str | None] = {
        "CLAUDECODE": None,  # else it takes itself for a child of another Claude Code
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        # tells when it has nothing left to do; a result ends a turn, not always the run
        "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
        **search,
        **environment,
        "CLAUDE_AGENT_SDK_VERSION": __version__,
    }
    if working_directory is not None:
        variables["PWD"] = working_directory
    return variables


def configuration_directory(environment: Mapping[str, str | None]) -> str:
    """Where Claude Code keeps its files when it is started with that environment."""
    variables = {**os.environ, **environment}
    given = variables.get("CLAUDE_CONFIG_DIR")
    home = variables.get("HOME") or os.path.expanduser("~")
    return given or os.path.join(home, ".claude")


@asynccontextmanager
async def resumable(
    options: ClaudeAgentOptions, store: Any, environment: Mapping[str, str | None]
) -> AsyncIterator[dict[str, str | None]]:
    """For ``options.resume``: its transcripts, as ``store`` has them, and the user's login and
    settings, in a folder of their own for the length of the block.

    Yields the environment for a Claude Code that uses that folder; as given where there is nothing
    to resume.
    """
    materialized = None
    if options.resume is not None:
        variables = {name: value for name, value in environment.items() if value is not None}
        if "HOME" in variables:
            variables.setdefault("CLAUDE_CONFIG_DIR", configuration_directory(environment))
        materialized = await materialize_resume_session(
            dataclasses.replace(options, session_store=store, env=variables)
        )
    if materialized is None:
        yield dict(environment)
        return
    try:
        yield {**environment, "CLAUDE_CONFIG_DIR": str(materialized.config_dir)}
    finally:
        with trio.CancelScope(shield=True):  # it holds a copy of the login; removing is quick
            await materialized.cleanup()
