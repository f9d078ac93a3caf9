"""Exceptions of the SDK as failures of the taxonomy."""

from __future__ import annotations

import re
import ssl
import time
from typing import TYPE_CHECKING

import httpx2
import openai

from ..model_api.hidden_keys import without_keys
from ..model_api.retry_after import retry_after_seconds
from ..provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ConnectionLost,
    ContentRefused,
    ContextOverflow,
    ContinuationLost,
    ProtocolViolated,
    ProviderTimeout,
    failure_of_status,
)
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Mapping

SDK_ERRORS = (openai.OpenAIError, httpx2.HTTPError, ssl.SSLError)
"""What a request, or reading its stream, may raise; the second and third come from within the
stream, where the SDK does not wrap them."""

LOST_CODES = frozenset({"previous_response_not_found"})

_LOST = re.compile(r"previous[ _]response\b.*\bnot[ _]found", re.I)

CODES: Mapping[str, type[AgentFailure]] = {
    "context_length_exceeded": ContextOverflow,
    "content_filter": ContentRefused,
    "content_policy_violation": ContentRefused,
    "insufficient_quota": AuthenticationFailed,
}
"""Codes that say more than the status that they come with: without credit it helps nobody to ask
again later."""


def failure_of(error: Exception, *, stall_seconds: float, previous: str | None) -> AgentFailure:
    """The failure that one of SDK_ERRORS stands for; ``previous`` is the id of the response that
    the request wanted to continue."""
    if isinstance(error, openai.APIStatusError):
        message = without_keys(error.message, error.request.headers)
        if previous is not None and _is_lost(error):
            return ContinuationLost(
                f"openai does not know the response {previous} any more: {message}",
                provider=PROVIDER,
                status=error.status_code,
            )
        if kind := CODES.get(error.code or ""):
            return kind(f"openai: {message}", provider=PROVIDER, status=error.status_code)
        return failure_of_status(
            PROVIDER,
            error.status_code,
            message,
            retry_after_seconds(error.response.headers, time.time()),
        )
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return ProviderTimeout(
            f"openai sent nothing for {stall_seconds:g} s (stall_seconds_max)", provider=PROVIDER
        )
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError | ssl.SSLError):
        return ConnectionLost(
            f"the connection to openai was lost: {error.__cause__ or error}", provider=PROVIDER
        )
    return ProtocolViolated(f"openai: {type(error).__name__}: {error}", provider=PROVIDER)


def _is_lost(error: openai.APIStatusError) -> bool:
    if error.code in LOST_CODES or _LOST.search(error.message):
        return True
    return error.status_code == 404 and error.code != "model_not_found"
