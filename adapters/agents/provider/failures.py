"""How an agent of a provider can fail its run: one taxonomy for all of them.

::

    MoorageError
    └── AgentFailure                 category        retryable
        ├── ProviderNotInstalled     configuration             its package or program is missing
        ├── ProviderNotConfigured    configuration             no key, or an option it cannot use
        ├── AuthenticationFailed     authentication            the key or login is refused
        ├── RateLimited              limit           yes       too many requests
        ├── Overloaded               availability    yes       the provider has no capacity now
        ├── ProviderUnavailable      availability    yes       an error on the provider's side
        ├── ProviderTimeout          availability    yes       no answer in time
        ├── ConnectionLost           availability    yes       refused, or cut in the middle
        ├── ProtocolViolated         protocol                  it said what nobody can read
        ├── ProviderExited           protocol                  its program ended too early
        ├── RequestInvalid           request                   refused for what is in it
        ├── ContentRefused           request                   refused for its subject
        ├── ContextOverflow          conversation              longer than the model takes
        ├── TurnsExceeded            conversation              turns_max is reached
        └── ContinuationLost         conversation              nothing to continue from

The runtime copies ``code``, ``retryable`` and ``details`` into the run's outcome.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from moorage.runtime.errors import MoorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Category = Literal[
    "configuration",
    "authentication",
    "limit",
    "availability",
    "protocol",
    "request",
    "conversation",
]

STDERR_BYTES_MAX = 32_768
"""The runtime leaves out details that are too large as a whole, so they are kept well below."""

MESSAGE_CHARS_MAX = 4_096
"""Of a message in an event: some providers answer with whole pages."""

_OVERFLOW = re.compile(
    r"context[_ ](length|window|limit|size)|maximum (context|model length|prompt length)"
    r"|(prompt|input) is too long|too many tokens|token limit|reduce the length of the messages"
    r"|token count\b.*\bexceeds",
    re.I,
)
"""Each provider, and each server that serves others' models, has its own words for it."""
_OVERLOADED = re.compile(r"overloaded|at capacity", re.I)
_REFUSED = re.compile(r"content[_ ](policy|filter)|content management policy", re.I)


class AgentFailure(MoorageError):
    """The provider, or the way to it, failed the run.

    ``provider`` is its name. ``status`` is that of HTTP; ``exit_code``, ``signal`` and ``stderr``
    (its end) are those of a program; ``retry_after_seconds`` is what the provider asked for. Each
    is None (``stderr`` empty) where it does not apply. ``facts`` are further plain data. ``told``
    says that an ``error_occurred`` of the run has told of it.
    """

    code: ClassVar[str] = "agent_failed"
    category: ClassVar[Category] = "protocol"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        exit_code: int | None = None,
        signal: str | None = None,
        stderr: str = "",
        retry_after_seconds: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.exit_code = exit_code
        self.signal = signal
        self.stderr = stderr.encode("utf-8", "replace")[-STDERR_BYTES_MAX:].decode(
            "utf-8", "ignore"
        )
        self.retry_after_seconds = retry_after_seconds
        self.facts = dict(facts or {})
        self.told = False

    @property
    def details(self) -> dict[str, Any]:
        """What is known, as plain data: ``provider``, ``category``, ``facts``, and each of the
        attributes that applies. Arguments and variables are left out: they may hold secrets."""
        known = {
            "status": self.status,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "stderr": self.stderr or None,
            "retry_after_seconds": self.retry_after_seconds,
        }
        applies = {name: value for name, value in known.items() if value is not None}
        return {**self.facts, "provider": self.provider, "category": self.category, **applies}

    def event(self) -> dict[str, Any]:
        """The data of an ``error_occurred`` event: code, category, message, retryable."""
        return {
            "code": self.code,
            "category": self.category,
            "message": self.message[:MESSAGE_CHARS_MAX].encode("utf-8", "replace").decode(),
            "retryable": self.retryable,
        }


class ProviderNotInstalled(AgentFailure):
    """Its package or program is not there; nothing was started."""

    code = "provider_not_installed"
    category = "configuration"


class ProviderNotConfigured(AgentFailure):
    """It lacks a key or another setting, or has one that it cannot use; nothing was started."""

    code = "provider_not_configured"
    category = "configuration"


class AuthenticationFailed(AgentFailure):
    """The provider refuses the key, the login or the account."""

    code = "provider_authentication"
    category = "authentication"


class RateLimited(AgentFailure):
    """Too many requests or tokens in a time; ``retry_after_seconds`` if the provider said it."""

    code = "provider_rate_limited"
    category = "limit"
    retryable = True


class Overloaded(AgentFailure):
    """The provider has no capacity at the moment."""

    code = "provider_overloaded"
    category = "availability"
    retryable = True


class ProviderUnavailable(AgentFailure):
    """An error on the provider's side."""

    code = "provider_unavailable"
    category = "availability"
    retryable = True


class ProviderTimeout(AgentFailure):
    """The provider did not answer in time."""

    code = "provider_timeout"
    category = "availability"
    retryable = True


class ConnectionLost(AgentFailure):
    """The connection could not be made, or was cut before the answer was whole."""

    code = "connection_lost"
    category = "availability"
    retryable = True


class ProtocolViolated(AgentFailure):
    """The provider said what its protocol does not allow."""

    code = "provider_protocol"
    category = "protocol"


class ProviderExited(AgentFailure):
    """The provider's program ended before the run did; ``exit_code`` or ``signal``, ``stderr``."""

    code = "provider_exited"
    category = "protocol"


class RequestInvalid(AgentFailure):
    """The provider refuses the request as it is: an unknown model, an option, a malformed part."""

    code = "request_invalid"
    category = "request"


class ContentRefused(AgentFailure):
    """The provider refuses the request for what it is about."""

    code = "content_refused"
    category = "request"


class ContextOverflow(AgentFailure):
    """The conversation is longer than the model takes."""

    code = "context_overflow"
    category = "conversation"


class TurnsExceeded(AgentFailure):
    """The model wanted to go on after ``turns_max`` turns."""

    code = "turns_exceeded"
    category = "conversation"


class ContinuationLost(AgentFailure):
    """The provider's own session is gone, and the settings allow no other way to continue."""

    code = "continuation_lost"
    category = "conversation"


_STATUSES: Mapping[int, type[AgentFailure]] = {
    401: AuthenticationFailed,
    402: AuthenticationFailed,  # no credit left: the account's owner has to act
    403: AuthenticationFailed,
    408: ProviderTimeout,
    409: ProviderUnavailable,  # two requests got in each other's way
    429: RateLimited,
    504: ProviderTimeout,
    529: Overloaded,
}


def failure_of_status(
    provider: str, status: int, message: str, retry_after: float | None = None
) -> AgentFailure:
    """The failure that an HTTP status and the text of its answer stand for.

    ``retry_after`` is in seconds. The message of the failure names provider and status.
    """
    return _kind(status, message)(
        f"{provider} answered {status}: {message}" if message else f"{provider} answered {status}",
        provider=provider,
        status=status,
        retry_after_seconds=retry_after,
    )


def _kind(status: int, message: str) -> type[AgentFailure]:
    if status in _STATUSES:
        return _STATUSES[status]
    if 400 <= status < 500:
        if status == 413 or _OVERFLOW.search(message):
            return ContextOverflow
        return ContentRefused if _REFUSED.search(message) else RequestInvalid
    if 500 <= status < 600:
        return Overloaded if _OVERLOADED.search(message) else ProviderUnavailable
    return ProtocolViolated
