"""How pi is started: settings as its command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument

from ..provider.flags import option_flags

if TYPE_CHECKING:
    from ..provider.approvals import ToolCall
    from ..provider.settings import AgentSettings
    from ..provider.tool_decisions import ToolEffect

READING_TOOLS = ("read", "grep", "find", "ls")
EDITING_TOOLS = ("edit", "write")

OURS = frozenset(
    {
        "mode",
        "print",
        "session",
        "session_dir",
        "no_session",
        "continue",
        "resume",
        "fork",
        "model",
        "system_prompt",
        "help",
        "version",
        "export",
        "list_models",
    }
)
"""Flags of pi that the agent sets itself, or that end pi at once."""

COMMANDS = {
    "auto_retry": ("set_auto_retry", "enabled", bool),
    "auto_compaction": ("set_auto_compaction", "enabled", bool),
    "steering_mode": ("set_steering_mode", "mode", str),
}
"""Provider options that are commands once pi runs: name -> (command, its field, type)."""


@attrs.frozen(kw_only=True)
class Launch:
    """``command`` to start, and ``commands`` to send before the prompt."""

    command: tuple[str, ...]
    commands: tuple[Mapping[str, Any], ...]


def launch(
    program: str,
    settings: AgentSettings,
    *,
    gate: str,
    instructions: str = "",
    session_file: str | None = None,
    session_directory: str | None = None,
) -> Launch:
    """pi's command line and first commands. Raises InvalidArgument for provider options that pi
    cannot be given.
    """
    command = [program, "--mode", "rpc", "--extension", gate]
    if session_file is not None:
        command += ["--session", session_file]
    if session_directory is not None:
        command += ["--session-dir", session_directory]
    if settings.model is not None:
        command += ["--model", settings.model]
    if settings.system_prompt is not None:
        command += ["--system-prompt", settings.system_prompt]
    if instructions:
        command += ["--append-system-prompt", instructions]
    options = dict(settings.provider_options or {})
    if settings.permission_mode == "plan":
        if "tools" in options:
            raise InvalidArgument(
                "provider_options has tools, which permission_mode 'plan' sets: leave one out"
            )
        options["tools"] = ",".join(READING_TOOLS)
    commands = [_command(name, options.pop(name)) for name in COMMANDS if name in options]
    command += option_flags(options, taken=OURS)
    return Launch(command=tuple(command), commands=tuple(commands))


def tool_effect(call: ToolCall) -> ToolEffect:
    """What a tool of pi does to the world, as far as its name tells."""
    if call.tool_name in READING_TOOLS:
        return "reads"
    return "edits" if call.tool_name in EDITING_TOOLS else "other"


def _command(name: str, value: object) -> dict[str, Any]:
    command, field, kind = COMMANDS[name]
    if type(value) is not kind:
        raise InvalidArgument(
            f"provider_options[{name!r}] must be a {kind.__name__}, not {value!r}"
        )
    return {"type": command, field: value}
