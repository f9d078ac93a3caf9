"""How Amp is started: settings as its command line. Pure, but for reading its settings file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ..provider.failures import ProviderNotConfigured
from ..provider.flags import option_flags
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..provider.approvals import ToolCall
    from ..provider.settings import AgentSettings
    from ..provider.tool_decisions import ToolEffect

READING_TOOLS = frozenset(
    {
        "Read",
        "Grep",
        "glob",
        "finder",
        "find_thread",
        "read_thread",
        "read_web_page",
        "web_search",
        "librarian",
        "look_at",
        "oracle",
        "skill",
    }
)
EDITING_TOOLS = frozenset({"edit_file", "create_file", "undo_edit", "apply_patch"})
ALLOW_ALL = ("full_auto", "dangerously_skip_permissions")
"""Permission modes in which Amp asks nobody."""

OURS = frozenset(
    {
        "execute",
        "stream_json",
        "stream_json_input",
        "stream_json_thinking",
        "settings_file",
        "dangerously_allow_all",
        "mode",
        "help",
        "version",
    }
)
"""Flags of Amp that the agent sets itself, or that end Amp at once."""


def command_line(
    program: str,
    settings: AgentSettings,
    *,
    thread: str | None = None,
    settings_file: str | None = None,
) -> tuple[str, ...]:
    """Amp's command line. Raises InvalidArgument for provider options that are no flags."""
    command = [program]
    if thread is not None:
        command += ["threads", "continue", thread]
    command += ["--execute", "--stream-json", "--stream-json-thinking", "--stream-json-input"]
    if settings.permission_mode in ALLOW_ALL:
        command.append("--dangerously-allow-all")
    if settings_file is not None:
        command += ["--settings-file", settings_file]
    if settings.model is not None:
        command += ["--mode", settings.model]
    command += option_flags(settings.provider_options or {}, taken=OURS)
    return tuple(command)


def tool_effect(call: ToolCall) -> ToolEffect:
    """What a tool of Amp does to the world, as far as its name tells."""
    if call.tool_name in READING_TOOLS:
        return "reads"
    return "edits" if call.tool_name in EDITING_TOOLS else "other"


def own_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that Amp reads by itself: the file that AMP_SETTINGS_FILE names, else
    ``amp/settings.json`` in the user's configuration folder, else none.

    Raises ProviderNotConfigured if the file cannot be read as a map.
    """
    named = environment.get("AMP_SETTINGS_FILE")
    home = environment.get("HOME") or os.path.expanduser("~")
    folder = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    path = named or os.path.join(folder, "amp", "settings.json")
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        if named is None:
            return {}
        raise ProviderNotConfigured(
            f"AMP_SETTINGS_FILE names {path!r}, which is not there", provider=PROVIDER
        ) from None
    except (OSError, ValueError) as error:
        raise ProviderNotConfigured(
            f"Amp's settings {path!r} cannot be read: {error}", provider=PROVIDER
        ) from error
    if not isinstance(settings, dict):
        raise ProviderNotConfigured(f"Amp's settings {path!r} are no map", provider=PROVIDER)
    return settings
