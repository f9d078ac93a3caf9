"""What a failure is, where a provider's program tells it as text alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .failures import (
    AuthenticationFailed,
    ConnectionLost,
    ContentRefused,
    ContextOverflow,
    Overloaded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    failure_of_status,
)

if TYPE_CHECKING:
    from .failures import AgentFailure

STATUS = re.compile(r"(?:^|status(?: code)?[ :=]+|error[ :=]+|http[ /:=]+)([45]\d\d)\b", re.I)

WORDS: tuple[tuple[re.Pattern[str], type[AgentFailure]], ...] = (
    (
        re.compile(r"context[_ ](length|window)|maximum context|prompt is too long", re.I),
        ContextOverflow,
    ),
    (re.compile(r"rate[_ -]?limit|too many requests|quota|slow down", re.I), RateLimited),
    (re.compile(r"overloaded|at capacity", re.I), Overloaded),
    (
        re.compile(
            r"unauthori[sz]ed|api[_ -]?key|authenticat|credential|log ?in\b|forbidden|bad key", re.I
        ),
        AuthenticationFailed,
    ),
    (re.compile(r"content[_ ](policy|filter)|content management", re.I), ContentRefused),
    (re.compile(r"timed? ?out|deadline", re.I), ProviderTimeout),
    (
        re.compile(
            r"connect|network|fetch failed|socket|terminated|premature|hang ?up|closed|reset", re.I
        ),
        ConnectionLost,
    ),
)
"""Looked for in this order; what an HTTP status says beats them all."""


def failure_of_text(provider: str, text: str) -> AgentFailure:
    """The failure that an error's text stands for; ProviderUnavailable where it says nothing.

    A three-digit status at its beginning, or behind "status", "error" or "http", is taken for one
    of HTTP. The message of the failure names the provider.
    """
    if found := STATUS.search(text):
        return failure_of_status(provider, int(found[1]), text[found.end() :].strip(" :") or text)
    for pattern, kind in WORDS:
        if pattern.search(text):
            return kind(f"{provider} failed: {text}", provider=provider)
    return ProviderUnavailable(
        f"{provider} failed: {text or 'without a reason'}", provider=provider
    )
