"""What Claude Code tells of errors -> failures of the run. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ConnectionLost,
    ContextOverflow,
    ContinuationLost,
    Overloaded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
    TurnsExceeded,
    failure_of_status,
)
from . import mapping
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR_KINDS: Mapping[str, type[AgentFailure]] = {
    "authentication_failed": AuthenticationFailed,
    "oauth_org_not_allowed": AuthenticationFailed,
    "billing_error": AuthenticationFailed,
    "rate_limit": RateLimited,
    "overloaded": Overloaded,
    "server_error": ProviderUnavailable,
    "invalid_request": RequestInvalid,
    "model_not_found": RequestInvalid,
    "prompt_too_long": ContextOverflow,
    "max_output_tokens": RequestInvalid,
    "unknown": ProviderUnavailable,
}
"""Claude Code's words for an error of the model -> failures; a word that is new is ``unknown``."""

_CUT = re.compile(
    r"connection (error|refused|reset|closed)|ECONN|socket|network|unable to connect", re.I
)
_SLOW = re.compile(r"timed? ?out", re.I)
_STATUS = re.compile(r"API Error: (?:Request rejected \()?(\d{3})\b")


def failure_of_error(message: Mapping[str, Any]) -> AgentFailure:
    """The failure that an assistant message with an ``error`` tells of."""
    text = "".join(str(block.get("text", "")) for block in mapping.content_of(message))
    return _failure(str(message.get("error")), _status_in(text), text)


def failure_of_retry(message: Mapping[str, Any]) -> AgentFailure:
    """The failure after which Claude Code asks the model again (``system``, ``api_retry``)."""
    status = message.get("error_status")
    kind = str(message.get("error"))
    attempt, limit = message.get("attempt"), message.get("max_retries")
    text = f"{kind}; retry {attempt} of {limit} follows"
    return _failure(kind, status if type(status) is int else None, text)


def failure_of_result(
    result: Mapping[str, Any], error: Mapping[str, Any] | None
) -> AgentFailure | None:
    """The failure that a ``result`` tells of, None if it is none. ``error`` is the assistant
    message in which Claude Code told of an error of the model before, if there was one."""
    if not result.get("is_error"):
        return None
    subtype = str(result.get("subtype"))
    text = error_text(result)
    if subtype == "error_max_turns":
        return TurnsExceeded(
            f"{PROVIDER} stopped after turns_max turns, {result.get('num_turns')}: "
            "raise it, or ask for less at once",
            provider=PROVIDER,
        )
    if "No conversation found" in text:
        return ContinuationLost(f"{PROVIDER} has lost its session: {text}", provider=PROVIDER)
    if result.get("terminal_reason") == "prompt_too_long":
        return ContextOverflow(f"{PROVIDER}: {text}", provider=PROVIDER)
    status = result.get("api_error_status")
    kind = "unknown" if error is None else str(error.get("error"))
    if subtype.startswith("error_max_"):  # budget, retries of structured output
        return RequestInvalid(f"{PROVIDER} stopped: {text}", provider=PROVIDER)
    return _failure(kind, status if type(status) is int else _status_in(text), text)


def error_text(result: Mapping[str, Any]) -> str:
    """What a failed ``result`` says went wrong."""
    errors = result.get("errors")
    said = [text for text in errors if isinstance(text, str)] if isinstance(errors, list) else []
    text = result.get("result")
    return "; ".join(said) or (text if isinstance(text, str) else "") or str(result.get("subtype"))


def _status_in(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _failure(kind: str, status: int | None, text: str) -> AgentFailure:
    if status is not None and 400 <= status <= 599:
        return failure_of_status(PROVIDER, status, text)
    type_ = ERROR_KINDS.get(kind, ERROR_KINDS["unknown"])
    if type_ is ProviderUnavailable:
        if _SLOW.search(text):
            type_ = ProviderTimeout
        elif _CUT.search(text):
            type_ = ConnectionLost
    return type_(f"{PROVIDER}: {text}", provider=PROVIDER)
