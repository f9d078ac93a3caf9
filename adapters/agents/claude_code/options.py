"""From an agent's settings to options of the Claude Agent SDK. Pure: it is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import InvalidArgument

from ..provider.permissions import provider_permissions
from .mapping import PROVIDER

if TYPE_CHECKING:
    from ..provider.settings import AgentSettings

RESERVED: Mapping[str, str] = {
    "model": "use model",
    "cwd": "use working_directory",
    "env": "use environment",
    "max_turns": "use turns_max",
    "permission_mode": "use permission_mode",
    "cli_path": "use executable",
    "max_buffer_size": "use line_bytes_max",
    "can_use_tool": "use hooks.permission, or answer the approvals",
    "permission_prompt_tool_name": "use hooks.permission, or answer the approvals",
    "hooks": "use hooks, or put the hooks of Claude Code itself into its settings",
    "resume": "use continuation: the session is found by itself",
    "continue_conversation": "use continuation: the session is found by itself",
    "session_id": "Claude Code chooses it; it is kept in the session's metadata",
    "fork_session": "fork the Moorage session",
    "resume_session_at": "restore the Moorage session",
    "resume_drops_turn": "restore the Moorage session",
    "session_store": "transcripts are kept in the Moorage session already",
    "session_store_flush": "transcripts are kept in the Moorage session already",
    "enable_file_checkpointing": "it does not go together with transcripts kept elsewhere",
    "include_partial_messages": "it is always on",
    "stderr": "its end is in the details of failures",
    "debug_stderr": "its end is in the details of failures",
    "user": "run the service as that user",
}
"""Options of the SDK that provider_options may not have -> what to do instead."""


def option_values(settings: AgentSettings, *, instructions: str = "") -> dict[str, Any]:
    """The SDK's options, by their names there, that stand for ``settings``.

    ``instructions`` are a run's own system messages, laid behind the system prompt. Without a
    prompt of one's own Claude Code's is used. Raises InvalidArgument for a provider option that
    has another place, or that is not of the kind it has to be.
    """
    given = dict(settings.provider_options or {})
    for name in given:
        if name in RESERVED:
            raise InvalidArgument(f"provider_options may not have {name!r}: {RESERVED[name]}")
    for name in ("mcp_servers", "extra_args", "agents"):
        if not isinstance(given.get(name, {}), Mapping):
            raise InvalidArgument(f"provider_options[{name!r}] must be a map, not {given[name]!r}")
    values: dict[str, Any] = {
        "include_partial_messages": True,
        # what users write is said to the model as it is: an @path in it opens no file
        "verbatim_prompts": True,
        "system_prompt": _system_prompt(settings.system_prompt, instructions),
        "permission_mode": permission_mode(settings),
        **{name: value for name, value in given.items() if value is not None},
    }
    facts = {
        "model": settings.model,
        "cwd": settings.working_directory,
        "max_turns": settings.turns_max,
    }
    return values | {name: value for name, value in facts.items() if value is not None}


def permission_mode(settings: AgentSettings) -> str:
    """What Claude Code calls the settings' permission mode."""
    return provider_permissions(settings.permission_mode or "default", PROVIDER)["permission_mode"]


def allows_all(settings: AgentSettings) -> bool:
    """Whether everything that Claude Code asks about is allowed without asking anybody."""
    table = provider_permissions(settings.permission_mode or "default", PROVIDER)
    return table.get("can_use_tool") == "allow"


def _system_prompt(prompt: str | None, instructions: str) -> str | dict[str, str]:
    if prompt is not None:
        return f"{prompt}\n\n{instructions}" if instructions else prompt
    preset = {"type": "preset", "preset": "claude_code"}
    return preset | ({"append": instructions} if instructions else {})
