"""Permission modes, and what each is called at each provider.

``default``: what is marked as needing approval asks. ``accept_edits``: edits of files go through,
the rest asks. ``plan``: only what reads. ``full_auto``: nothing asks, and the provider's sandbox
stays where it has one. ``dangerously_skip_permissions``: nothing asks and nothing is fenced in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from moorage.runtime.errors import InvalidArgument

from .settings import PermissionMode

PermissionTable = Mapping[PermissionMode, Mapping[str, Mapping[str, str]]]

_ASK = {"tools": "those with needs_approval ask"}
_EDIT = {"tools": "those with edits go through, others with needs_approval ask"}
_READ = {"tools": "those with reads_only run, others are denied"}
_ALL = {"tools": "all go through"}

PERMISSION_TABLE: PermissionTable = {
    "default": {
        "anthropic": _ASK,
        "openai": _ASK,
        "claude": {"permission_mode": "default"},
        "codex": {"approval_policy": "untrusted", "sandbox": "workspace-write"},
        "copilot": {"permission_request": "approve read within the directory, ask else"},
        "pi": {"tool_call extension": "read, grep, find and ls run, the rest asks"},
        "acp": {"session/request_permission": "ask"},
        "amp": {"amp.permissions": "delegate: what reads runs, the rest asks"},
    },
    "accept_edits": {
        "anthropic": _EDIT,
        "openai": _EDIT,
        "claude": {"permission_mode": "acceptEdits"},
        "codex": {"approval_policy": "on-request", "sandbox": "workspace-write"},
        "copilot": {"permission_request": "approve read and write within the directory, ask else"},
        "pi": {"tool_call extension": "edit and write run too, the rest asks"},
        "acp": {"session/request_permission": "allow edits, ask for the rest"},
        "amp": {"amp.permissions": "delegate: what reads or edits runs, the rest asks"},
    },
    "plan": {
        "anthropic": _READ,
        "openai": _READ,
        "claude": {"permission_mode": "plan"},
        "codex": {"approval_policy": "never", "sandbox": "read-only"},
        "copilot": {"permission_request": "approve read within the directory, deny else"},
        "pi": {"--tools": "read,grep,find,ls"},
        "acp": {
            "session/request_permission": "allow what reads, reject the rest",
            "fs/write_text_file, terminal/create": "refuse",
        },
        "amp": {"amp.permissions": "delegate: what reads runs, the rest is rejected"},
    },
    "full_auto": {
        "anthropic": _ALL,
        "openai": _ALL,
        "claude": {"permission_mode": "default", "can_use_tool": "allow"},
        "codex": {"approval_policy": "never", "sandbox": "workspace-write"},
        "copilot": {"permission_request": "approve"},
        "pi": {"tools": "all go through"},
        "acp": {"session/request_permission": "allow"},
        "amp": {"--dangerously-allow-all": "true"},
    },
    "dangerously_skip_permissions": {
        "anthropic": _ALL,
        "openai": _ALL,
        "claude": {"permission_mode": "bypassPermissions"},
        "codex": {"approval_policy": "never", "sandbox": "danger-full-access"},
        "copilot": {"permission_request": "approve"},
        "pi": {"tools": "all go through"},
        "acp": {"session/request_permission": "allow"},
        "amp": {"--dangerously-allow-all": "true"},
    },
}
"""Mode -> provider -> the provider's own settings, by name, that stand for it."""


def provider_permissions(mode: PermissionMode, provider: str) -> Mapping[str, str]:
    """The provider's own settings for ``mode``. Raises InvalidArgument for a mode or a provider
    that the table does not have."""
    if mode not in PERMISSION_TABLE:
        raise InvalidArgument(
            f"permission_mode must be one of {', '.join(get_args(PermissionMode))}, not {mode!r}"
        )
    row = PERMISSION_TABLE[mode]
    if provider not in row:
        raise InvalidArgument(f"provider must be one of {', '.join(row)}, not {provider!r}")
    return row[provider]
