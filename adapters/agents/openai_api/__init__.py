"""The OpenAI APIs, and what is compatible with them, as an agent (extra ``openai``); and a session
of the OpenAI Agents SDK (extra ``openai-agents``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .agents_sdk_session import MoorageSession

if TYPE_CHECKING:
    from .agent import OpenAIAgent

__all__ = ["OpenAIAgent", "MoorageSession"]


def __getattr__(name: str) -> Any:
    # the mapping of events can be read without the extra, so the agent is imported when asked for
    if name != "OpenAIAgent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .agent import OpenAIAgent
    except ModuleNotFoundError as error:
        raise ImportError(f"OpenAIAgent needs pip install 'moorage[openai]': {error}") from error
    return OpenAIAgent
