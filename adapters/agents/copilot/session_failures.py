"""What a session of Copilot failed of, in the words of our taxonomy. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ConnectionLost,
    ContextOverflow,
    ProviderNotConfigured,
    ProviderUnavailable,
    RateLimited,
    failure_of_status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "copilot"

FAILURES: Mapping[str, type[AgentFailure]] = {
    "authentication": AuthenticationFailed,
    "authorization": AuthenticationFailed,
    "quota": RateLimited,
    "rate_limit": RateLimited,
    "context_limit": ContextOverflow,
}
"""Copilot's type of an error -> ours, where it tells no HTTP status."""

_WORDS: tuple[tuple[re.Pattern[str], type[AgentFailure]], ...] = (
    (
        re.compile(r"no github oauth token|not authenticated|not logged in", re.I),
        ProviderNotConfigured,
    ),
    (
        re.compile(r"connect|socket|stream|network|fetch failed|terminated|error sending", re.I),
        ConnectionLost,
    ),
)


def failure_of_error(error: Mapping[str, Any], *, stderr: str = "") -> AgentFailure:
    """The failure that the data of a session.error stands for."""
    return _failure(
        str(error.get("message") or "Copilot gave no reason"),
        str(error.get("errorType") or ""),
        error.get("statusCode"),
        stderr,
    )


def failure_of_call(call: Mapping[str, Any]) -> AgentFailure:
    """The failure that the data of a model.call_failure stands for: it is tried again."""
    return _failure(
        str(call.get("errorMessage") or "a call of the model failed"),
        "",
        call.get("statusCode"),
        "",
    )


def _failure(message: str, type_: str, status: object, stderr: str) -> AgentFailure:
    if type(status) is int and status >= 400:
        kind = type(failure_of_status(PROVIDER, status, message))
        return kind(f"copilot: {message}", provider=PROVIDER, status=status, stderr=stderr)
    kind = FAILURES.get(type_) or _kind_in_words(message)
    facts = {"copilot_error": type_} if type_ else {}
    return kind(f"copilot: {message}", provider=PROVIDER, stderr=stderr, facts=facts)


def _kind_in_words(message: str) -> type[AgentFailure]:
    for words, kind in _WORDS:
        if words.search(message):
            return kind
    as_request = type(failure_of_status(PROVIDER, 400, message))
    return as_request if as_request is ContextOverflow else ProviderUnavailable
