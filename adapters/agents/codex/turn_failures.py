"""What a turn of Codex failed of, in the words of our taxonomy. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ConnectionLost,
    ContentRefused,
    ContextOverflow,
    Overloaded,
    ProtocolViolated,
    ProviderNotConfigured,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
    failure_of_status,
)

PROVIDER = "codex"

FAILURES: Mapping[str, type[AgentFailure]] = {
    "contextWindowExceeded": ContextOverflow,
    "sessionBudgetExceeded": RateLimited,
    "usageLimitExceeded": RateLimited,
    "rateLimitExceeded": RateLimited,
    "flexUnavailable": Overloaded,
    "serverOverloaded": Overloaded,
    "cyberPolicy": ContentRefused,
    "misalignmentPolicyViolation": ContentRefused,
    "tooManyDenials": RequestInvalid,
    "httpConnectionFailed": ConnectionLost,
    "responseStreamConnectionFailed": ConnectionLost,
    "responseStreamDisconnected": ConnectionLost,
    "responseTooManyFailedAttempts": ConnectionLost,
    "internalServerError": ProviderUnavailable,
    "unauthorized": AuthenticationFailed,
    "badRequest": RequestInvalid,
    "sandboxError": ProviderNotConfigured,
}
"""Codex's own name of an error -> ours. One that carries an HTTP error is that status's failure."""

_WORDS: tuple[tuple[re.Pattern[str], type[AgentFailure]], ...] = (
    (re.compile(r"missing environment variable|not logged in", re.I), ProviderNotConfigured),
    (re.compile(r"stream disconnected|error sending request|connection", re.I), ConnectionLost),
)
"""Codex calls many an error "other" and tells what it is only in words."""


def failure_of_error(error: Mapping[str, Any], *, stderr: str = "") -> AgentFailure:
    """The failure that a turn's error (message, codexErrorInfo) stands for."""
    message = str(error.get("message") or "Codex gave no reason")
    details = error.get("additionalDetails")
    if isinstance(details, str) and details:
        message = f"{message}: {details}"
    info = error.get("codexErrorInfo")
    name, status = _name_and_status(info)
    if status is not None and status >= 400:
        failure = failure_of_status(PROVIDER, status, message)
        return type(failure)(f"codex: {message}", provider=PROVIDER, status=status, stderr=stderr)
    kind = FAILURES.get(name) or _kind_in_words(message)
    return kind(f"codex: {message}", provider=PROVIDER, stderr=stderr, facts={"codex_error": name})


def _name_and_status(info: object) -> tuple[str, int | None]:
    if isinstance(info, str):
        return info, None
    if isinstance(info, Mapping) and len(info) == 1:
        name, detail = next(iter(info.items()))
        status = detail.get("httpStatusCode") if isinstance(detail, Mapping) else None
        return str(name), status if type(status) is int else None
    return "other", None


def _kind_in_words(message: str) -> type[AgentFailure]:
    for words, kind in _WORDS:
        if words.search(message):
            return kind
    as_request = type(failure_of_status(PROVIDER, 400, message))
    return ProtocolViolated if as_request is RequestInvalid else as_request
