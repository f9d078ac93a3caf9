"""Codex as an agent (extra ``codex``, which brings its program)."""

from .agent import CodexAgent

__all__ = ["CodexAgent"]
