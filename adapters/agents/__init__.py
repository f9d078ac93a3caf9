"""Agents: what executes runs.

ProcessAgent and ScriptedAgent are below. ClaudeAgent, CodexAgent, CopilotAgent, PiAgent, AcpAgent,
AmpAgent, AnthropicAgent and OpenAIAgent need an extra, or a program, each (docs/agents.md); so that
nobody needs what he does not use they are imported when they are first asked for, as are ``tool``,
Tool, Hooks, ContextWindow and AgentFailure: ``pydoc moorage.adapters.agents.ClaudeAgent``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .process import ProcessAgent
from .process_errors import (
    ProcessFailed,
    ProcessLimitReached,
    ProcessNotStarted,
    ProcessOutputTooLarge,
    ProcessResultInvalid,
)
from .scripted import ScriptedAgent

if TYPE_CHECKING:
    from .acp import AcpAgent
    from .amp import AmpAgent
    from .anthropic_api import AnthropicAgent
    from .claude_code import ClaudeAgent
    from .codex import CodexAgent
    from .context_window import ContextWindow
    from .copilot import CopilotAgent
    from .openai_api import OpenAIAgent
    from .pi import PiAgent
    from .provider.failures import AgentFailure
    from .provider.hooks import Hooks
    from .tools import Tool, tool

PLACES = {
    "ClaudeAgent": "claude_code",
    "CodexAgent": "codex",
    "CopilotAgent": "copilot",
    "PiAgent": "pi",
    "AcpAgent": "acp",
    "AmpAgent": "amp",
    "AnthropicAgent": "anthropic_api",
    "OpenAIAgent": "openai_api",
    "ContextWindow": "context_window",
    "Hooks": "provider.hooks",
    "AgentFailure": "provider.failures",
    "Tool": "tools",
    "tool": "tools",
}
"""What is imported when it is asked for, and where it is."""


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{PLACES[name]}", __name__), name)


__all__ = [
    "ProcessAgent",
    "ScriptedAgent",
    "ClaudeAgent",
    "CodexAgent",
    "CopilotAgent",
    "PiAgent",
    "AcpAgent",
    "AmpAgent",
    "AnthropicAgent",
    "OpenAIAgent",
    "ContextWindow",
    "Hooks",
    "Tool",
    "tool",
    "AgentFailure",
    "ProcessFailed",
    "ProcessNotStarted",
    "ProcessLimitReached",
    "ProcessOutputTooLarge",
    "ProcessResultInvalid",
]
