"""Claude Code as an agent, and its transcripts in the log of a session (extra ``claude``)."""

from .agent import ClaudeAgent
from .session_store import ClaudeSessionStore

__all__ = ["ClaudeAgent", "ClaudeSessionStore"]
