"""Errors that come within a stream, and their failures: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..provider.failures import ProtocolViolated, failure_of_status
from .mapping import ERROR_STATUSES, PROVIDER

if TYPE_CHECKING:
    from ..provider.failures import AgentFailure


def stream_failure(error: Mapping[str, Any] | str | None) -> AgentFailure:
    """The failure that an ``error`` object (``code``, ``type``, ``message``) stands for."""
    facts = error if isinstance(error, Mapping) else {"message": error}
    message = str(facts.get("message") or "no message")
    for name in (facts.get("code"), facts.get("type")):
        if type(name) is int and 400 <= name < 600:
            return failure_of_status(PROVIDER, name, message)
        if name in ERROR_STATUSES:
            text = f"{name}: {message}" if name == "context_length_exceeded" else message
            return failure_of_status(PROVIDER, ERROR_STATUSES[str(name)], text)
    return ProtocolViolated(f"openai ended the stream: {message}", provider=PROVIDER)


def unreadable(event: object, error: Exception) -> AgentFailure:
    """The failure for an event that is not shaped as it should be."""
    return ProtocolViolated(
        f"openai sent an event that cannot be read ({error!r}): {str(event)[:200]}",
        provider=PROVIDER,
    )
