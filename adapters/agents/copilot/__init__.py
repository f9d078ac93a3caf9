"""GitHub Copilot's command line as an agent."""

from .agent import CopilotAgent

__all__ = ["CopilotAgent"]
