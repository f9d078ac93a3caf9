"""Any agent that speaks the Agent Client Protocol (extra ``acp``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import AcpAgent

__all__ = ["AcpAgent"]


def __getattr__(name: str) -> Any:
    # the mapping of events can be read without the extra, so the agent is imported when asked for
    if name != "AcpAgent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .agent import AcpAgent
    except ModuleNotFoundError as error:
        raise ImportError(f"AcpAgent needs pip install 'moorage[acp]': {error}") from error
    return AcpAgent
