"""The Anthropic Messages API as an agent (extra ``anthropic``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import AnthropicAgent

__all__ = ["AnthropicAgent"]


def __getattr__(name: str) -> Any:
    # the mapping of events can be read without the extra, so the agent is imported when asked for
    if name != "AnthropicAgent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .agent import AnthropicAgent
    except ModuleNotFoundError as error:
        raise ImportError(
            f"AnthropicAgent needs pip install 'moorage[anthropic]': {error}"
        ) from error
    return AnthropicAgent
