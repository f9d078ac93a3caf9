"""Errors as problem documents (RFC 9457): the one table of which error has which HTTP status."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks.telemetry.audit_log import AuditFailed
from moorage.runtime import errors as of_runtime
from moorage.runtime.errors import MoorageError
from moorage.runtime.reversible_json import to_json
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBLEM_TYPE = "application/problem+json"
SHOWN_CHARACTERS_MAX = 200
"""Of a value that a problem shows."""


class RequestRefused(MoorageError):
    """Base of what is wrong with a request as HTTP, whatever the supervisor thinks of it."""

    code = "request_refused"
    headers: Mapping[str, str] = {}


class MalformedRequest(RequestRefused):
    """The body, a header or the path cannot be read at all."""

    code = "malformed_request"


class InvalidRequest(RequestRefused):
    """It can be read, and is not what the OpenAPI document asks for. ``errors`` has a map for each
    thing that is wrong: ``field`` (a JSON pointer or a parameter's name), ``value``, ``expected``.
    """

    code = "invalid_request"

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(
            f"{first['field']} is {first['value']}, expected {first['expected']}{more}"
        )
        self.errors = [dict(error) for error in errors]


class Unauthenticated(RequestRefused):
    code = "unauthenticated"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}: send Authorization: Bearer TOKEN, as `moorage tokens new` made it"
        )
        self.headers = {"www-authenticate": 'Bearer realm="moorage"'}


class ScopeMissing(RequestRefused):
    """The token is known and does not allow this; ``of_all``: not for all sessions, at least."""

    code = "scope_missing"

    def __init__(self, *, needed: str, granted: Sequence[str], of_all: bool = False) -> None:
        whose = " for all sessions" if of_all else ""
        super().__init__(
            f"this needs a token with the scope {needed!r}{whose}, and this one has "
            f"{', '.join(granted) or 'none'}"
        )
        self.needed = needed
        self.granted = list(granted)
        self.headers = {
            "www-authenticate": f'Bearer realm="moorage", error="insufficient_scope", '
            f'scope="{needed}"'
        }


class OutsideTenant(RequestRefused):
    code = "outside_tenant"

    def __init__(self, *, prefix: str) -> None:
        super().__init__(
            f"this token makes sessions whose ids begin with {prefix!r}: choose such an id, or none"
        )
        self.prefix = prefix


class OriginRefused(RequestRefused):
    code = "origin_refused"


class HostRefused(RequestRefused):
    code = "host_refused"


class UnknownRoute(RequestRefused):
    code = "unknown_route"


class MethodNotAllowed(RequestRefused):
    code = "method_not_allowed"

    def __init__(self, method: str, *, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} does nothing here, {', '.join(allowed)} would")
        self.allowed = list(allowed)
        self.headers = {"allow": ", ".join(allowed)}


class BodyTooLarge(RequestRefused):
    code = "body_too_large"

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"the body is larger than {limit} bytes (body_bytes_max): send less, or keep the "
            "payload elsewhere and send a reference"
        )
        self.limit = limit


class BodyTooSlow(RequestRefused):
    code = "body_too_slow"
    retryable = True


class UnsupportedMediaType(RequestRefused):
    code = "unsupported_media_type"


class HeadersTooLarge(RequestRefused):
    code = "headers_too_large"


class StreamConflict(RequestRefused):
    """Base of what a durable stream refuses for being in another state than the request takes it
    to be in; the headers tell what that is."""

    code = "stream_conflict"


class StreamGone(RequestRefused):
    code = "stream_gone"


class ProducerFenced(RequestRefused):
    code = "producer_fenced"


class UnknownWebhook(RequestRefused):
    code = "unknown_webhook"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook {webhook_id[:SHOWN_CHARACTERS_MAX]!r}")
        self.webhook_id = webhook_id[:SHOWN_CHARACTERS_MAX]


class WebhooksOff(RequestRefused):
    code = "webhooks_off"

    def __init__(self) -> None:
        super().__init__("this server has no webhooks: moorage serve --webhooks FILE has")


class TooManyRequests(RequestRefused):
    """``retry_after_seconds`` says when the next one will do."""

    code = "too_many_requests"
    retryable = True

    def __init__(self, what: str, *, limit: float, retry_after_seconds: float) -> None:
        super().__init__(f"{what}, and the limit is {limit:g}: come back later, or raise the limit")
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        self.headers = {"retry-after": str(math.ceil(retry_after_seconds))}


class TooManyStreams(TooManyRequests):
    code = "too_many_streams"


class MetricsOff(RequestRefused):
    code = "metrics_off"


class ExtraMissing(RequestRefused):
    """What is asked for needs something that is not installed."""

    code = "extra_missing"


STATUS: Mapping[type[MoorageError], tuple[int, str]] = {
    of_runtime.MoorageError: (500, "Something failed"),
    of_runtime.InvalidArgument: (422, "A value is outside its range"),
    of_runtime.InvalidCursor: (422, "A cursor of something else"),
    of_runtime.RecordTooLarge: (413, "A record is too large"),
    of_runtime.QueueFull: (429, "The session's queue is full"),
    of_runtime.BufferFull: (503, "A buffer is full"),
    of_runtime.KeyConflict: (422, "The idempotency key belongs to another input"),
    of_runtime.AdmissionClosed: (503, "Nothing is accepted now"),
    of_runtime.SessionClosed: (409, "The session is closed"),
    of_runtime.SessionDeleted: (410, "The session is deleted, and can be restored"),
    of_runtime.SessionChanged: (409, "The session has changed meanwhile"),
    of_runtime.SessionBusy: (409, "The session has work left"),
    of_runtime.SessionExists: (409, "The session exists"),
    of_runtime.SessionHeld: (503, "Another owner holds the session"),
    of_runtime.SessionQuarantined: (409, "The session is quarantined"),
    of_runtime.UnknownSession: (404, "There is no such session"),
    of_runtime.UnknownRun: (404, "There is no such run"),
    of_runtime.UnknownCheckpoint: (404, "There is no such checkpoint"),
    of_runtime.CheckpointMismatch: (409, "The conversation is not what the checkpoint was made of"),
    of_runtime.RunEnded: (409, "The run has ended"),
    of_runtime.RunError: (500, "The run did not complete"),
    of_runtime.RunFailed: (500, "The run failed"),
    of_runtime.RunCancelled: (409, "The run was cancelled"),
    of_runtime.RunTimedOut: (504, "The run ran out of time"),
    of_runtime.RunInterrupted: (503, "The run was interrupted"),
    of_runtime.CursorExpired: (410, "Events behind the cursor are gone"),
    of_runtime.CursorHeld: (409, "The cursor has a live subscriber"),
    of_runtime.StaleOwner: (503, "The session has moved to another owner"),
    of_runtime.WrongProcess: (500, "The process was forked off"),
    of_runtime.StoreFailed: (503, "The store failed"),
    of_runtime.MigrationRequired: (503, "The store has to be migrated"),
    of_runtime.CorruptLog: (500, "The log is damaged"),
    RequestRefused: (400, "The request was refused"),
    MalformedRequest: (400, "The request cannot be read"),
    InvalidRequest: (422, "The request is not valid"),
    Unauthenticated: (401, "A token is needed"),
    ScopeMissing: (403, "The token does not allow this"),
    OutsideTenant: (403, "The id is outside of the token's prefix"),
    OriginRefused: (403, "Pages of other origins are refused"),
    HostRefused: (421, "The Host header names somebody else"),
    UnknownRoute: (404, "There is nothing here"),
    MethodNotAllowed: (405, "The method does nothing here"),
    BodyTooLarge: (413, "The body is too large"),
    BodyTooSlow: (408, "The body did not arrive in time"),
    UnsupportedMediaType: (415, "The body is of another type"),
    HeadersTooLarge: (431, "The headers are too large"),
    StreamConflict: (409, "The stream is in another state"),
    StreamGone: (410, "What the stream inherits is gone"),
    ProducerFenced: (403, "The producer has a later epoch"),
    UnknownWebhook: (404, "There is no such webhook"),
    WebhooksOff: (404, "There are no webhooks"),
    TooManyRequests: (429, "Too many requests"),
    TooManyStreams: (429, "Too many streams"),
    MetricsOff: (404, "Metrics are not collected"),
    ExtraMissing: (501, "An extra is not installed"),
    AuditFailed: (503, "The audit log cannot be written"),
}
"""Error -> HTTP status and title. Subclasses that are not listed have the entry of their base."""

INTERNAL = (AuditFailed, of_runtime.StoreFailed, of_runtime.SessionHeld, of_runtime.StaleOwner)
"""Their messages and facts tell of files, hosts and processes: only an admin gets to read them."""

UNEXPECTED_STATUS = 500
PLEASE_RETRY = frozenset({429, 503})
"""Statuses that come with Retry-After."""


@attrs.frozen(kw_only=True)
class Problem:
    """An error as it goes over the wire."""

    status: int
    title: str
    detail: str
    code: str
    retryable: bool
    facts: dict[str, Any]
    headers: dict[str, str]

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:moorage:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "facts": self.facts,
        }

    def body(self) -> bytes:
        """The document as JSON, in ASCII: what was refused may not be encodable otherwise."""
        return json.dumps(self.document(), separators=(",", ":")).encode()

    def response(self) -> Response:
        """The document with its status and headers."""
        return Response(
            self.body(), self.status, headers=self.headers | {"content-type": PROBLEM_TYPE}
        )


def problem_of(
    error: MoorageError, *, retry_after_seconds: int = 2, disclose: bool = True
) -> Problem:
    """The problem of any MoorageError. Without ``disclose`` it does not tell of the machine."""
    status, title = _meaning(error)
    headers = dict(error.headers) if isinstance(error, RequestRefused) else {}
    if status in PLEASE_RETRY:
        headers.setdefault("retry-after", str(retry_after_seconds))
    hidden = isinstance(error, INTERNAL) and not disclose
    return Problem(
        status=status,
        title=title,
        detail=title if hidden else error.message,
        code=error.code,
        retryable=error.retryable,
        facts={} if hidden else _facts(error),
        headers=headers,
    )


def status_of(error: Exception) -> int:
    """The HTTP status of any exception."""
    return _meaning(error)[0] if isinstance(error, MoorageError) else UNEXPECTED_STATUS


def _meaning(error: MoorageError) -> tuple[int, str]:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def unexpected_problem() -> Problem:
    """What is told of a defect of ours, whose traceback is in the log."""
    return Problem(
        status=UNEXPECTED_STATUS,
        title="Something failed",
        detail="the server failed in a way that it should not; its log says how",
        code="internal_error",
        retryable=False,
        facts={},
        headers={},
    )


def _facts(error: MoorageError) -> dict[str, Any]:
    return {
        name: _plain(value)
        for name, value in vars(error).items()
        if not name.startswith("_") and name not in ("message", "headers", "outcome")
    }


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str, bytes):
        return to_json(value)
    if type(value) is dict:
        return {str(key): _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return [_plain(item) for item in value]
    return str(value)


def shown(value: Any) -> str:
    """A value as JSON, cut to a size that fits into an error."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    return text[:SHOWN_CHARACTERS_MAX] + "..."
