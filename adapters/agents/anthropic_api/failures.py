"""Exceptions of the SDK as failures of the taxonomy."""

from __future__ import annotations

import ssl
import time

import anthropic
import httpx2

from ..model_api.hidden_keys import without_keys
from ..model_api.retry_after import retry_after_seconds
from ..provider.failures import (
    AgentFailure,
    ConnectionLost,
    ProtocolViolated,
    ProviderTimeout,
    failure_of_status,
)
from .mapping import PROVIDER

SDK_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, ssl.SSLError)
"""What a request, or reading its stream, may raise; the second and third come from within the
stream, where the SDK does not wrap them."""


def failure_of(error: Exception, *, stall_seconds: float) -> AgentFailure:
    """The failure that one of SDK_ERRORS stands for."""
    if isinstance(error, anthropic.APIStatusError):
        return failure_of_status(
            PROVIDER,
            error.status_code,
            without_keys(error.api_message or error.message, error.request.headers),
            retry_after_seconds(error.response.headers, time.time()),
        )
    if isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException):
        return ProviderTimeout(
            f"anthropic sent nothing for {stall_seconds:g} s (stall_seconds_max)",
            provider=PROVIDER,
        )
    if isinstance(error, anthropic.APIConnectionError | httpx2.TransportError | ssl.SSLError):
        return ConnectionLost(
            f"the connection to anthropic was lost: {error.__cause__ or error}", provider=PROVIDER
        )
    return ProtocolViolated(f"anthropic: {type(error).__name__}: {error}", provider=PROVIDER)
