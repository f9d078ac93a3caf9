"""What a gateway's requests come to: pure counting, for whatever shows it."""

from __future__ import annotations

from typing import Protocol

import attrs
import structlog

from .run_totals import Histogram

logger = structlog.get_logger("moorage")

REQUEST_SECONDS_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
"""OpenTelemetry's for the duration of requests, and two more, since requests may wait for runs."""
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are told as OTHER_METHOD, as OpenTelemetry's conventions want it."""
OTHER_METHOD = "_OTHER"
UNKNOWN = "unknown"
"""The operation of what no route was found for."""
UNANSWERED = "none"
"""The status of what got no answer: its client had gone, or the server was cut off."""


@attrs.frozen(kw_only=True)
class AnsweredRequest:
    """One request that has been answered. ``operation`` and ``route`` are those of a table of
    routes, None for what is not in it; ``status`` None is no answer; ``seconds`` is the time until
    the answer began, so that a stream counts by how soon it was open."""

    operation: str | None
    method: str
    route: str | None
    scheme: str
    status: int | None
    seconds: float


class RequestRecorder(Protocol):
    """Takes what has been answered. It is called on the way of every answer, and must not wait."""

    def answered(self, request: AnsweredRequest) -> None: ...


class RequestTotals:
    """Totals since the process began, and how many requests there are now.

    Operations come from a table and statuses from the protocol: what is counted apart does not
    grow with sessions or clients. ``recorders`` are told of each request, too.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        """(operation, status) -> how many."""
        self.seconds: dict[str, Histogram] = {}
        """Operation -> how long until the answer began."""
        self.in_progress = 0
        self.streams = 0
        """Event streams, and requests that wait."""
        self.received_bytes = 0
        self.sent_bytes = 0
        """Of bodies."""
        self.recorders: list[RequestRecorder] = []

    def answered(self, request: AnsweredRequest) -> None:
        """A request is over."""
        operation = request.operation or UNKNOWN
        counted = operation, UNANSWERED if request.status is None else str(request.status)
        self.requests[counted] = self.requests.get(counted, 0) + 1
        seconds = self.seconds.get(operation)
        if seconds is None:
            seconds = self.seconds[operation] = Histogram(REQUEST_SECONDS_BOUNDS)
        seconds.add(request.seconds)
        for recorder in self.recorders:
            try:
                recorder.answered(request)
            except Exception as error:  # the request was answered all the same
                logger.warning("metrics_failed", reason=repr(error))
