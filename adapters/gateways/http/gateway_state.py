"""What all requests of one gateway share: the supervisor, limits, counts, and the end of it all."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import trio
from moorage.runtime.errors import AdmissionClosed
from moorage.runtime.transcript_pages import TranscriptCache

from .durable_streams.known_streams import KnownStreams
from .problems import TooManyStreams
from .rates import RequestRates
from .request_audit import RequestAudit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.adapters.gateways.webhooks import WebhookDispatcher
    from moorage.adapters.sinks.telemetry import AuditLog, RequestTracing, RunMetrics
    from moorage.runtime import Supervisor

    from .authorisation import Authenticator, Principal
    from .limits import HttpLimits

TRANSCRIPTS_KEPT_MAX = 64


class Ending(Protocol):
    """What waits for something, and can be told to end: a cancel scope, or a stream."""

    def cancel(self) -> None: ...


class GatewayState:
    """Shared by all requests. ``draining`` refuses new work; ``ended`` ends whatever waits."""

    def __init__(
        self,
        supervisor: Supervisor,
        auth: Authenticator | None,
        limits: HttpLimits,
        openapi: dict[str, Any],
        *,
        metrics: RunMetrics | None = None,
        audit: AuditLog | None = None,
        tracing: RequestTracing | None = None,
    ) -> None:
        self.supervisor = supervisor
        self.openapi = openapi
        self.auth = auth
        self.limits = limits
        self.webhooks: WebhookDispatcher | None = None
        self.draining = False
        self.ended = False
        self.rates = RequestRates(limits, trio.current_time)
        self.transcripts = TranscriptCache(sessions_max=TRANSCRIPTS_KEPT_MAX)
        self.time_ns = time.time_ns
        self.metrics = metrics
        self.requests = None if metrics is None else metrics.requests
        self.tracing = tracing
        self.audit = (
            None
            if audit is None
            else RequestAudit(audit, trio.current_time, clients_max=limits.clients_max)
        )
        self.known_streams = KnownStreams()
        self._waiting: set[Ending] = set()
        self._by_client: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """How many streams and waiting requests there are."""
        return self._by_client.total()

    def check_admission(self) -> None:
        """Raise AdmissionClosed while draining."""
        if self.draining:
            raise AdmissionClosed("the server", reason="draining")

    @contextmanager
    def waiting(self, principal: Principal, scope: Ending) -> Iterator[None]:
        """Count what waits or streams, and have it cancelled at the end. Raises TooManyStreams."""
        limits, key = self.limits, principal.key
        for what, used, limit in (
            ("there are {} streams", self._by_client.total(), limits.streams_max),
            ("you have {} streams", self._by_client[key], limits.streams_per_client_max),
        ):
            if used >= limit:
                raise TooManyStreams(
                    what.format(used), limit=limit, retry_after_seconds=limits.retry_after_seconds
                )
        self._by_client[key] += 1
        self._waiting.add(scope)
        self._tell_streams()
        if self.ended:
            scope.cancel()
        try:
            yield
        finally:
            self._waiting.discard(scope)
            self._by_client[key] -= 1
            if not self._by_client[key]:
                del self._by_client[key]
            self._tell_streams()

    def _tell_streams(self) -> None:
        if self.requests is not None:
            self.requests.streams = self.streams

    def end(self) -> None:
        """End everything that waits or streams: each says so to its client."""
        self.ended = True
        for scope in list(self._waiting):
            scope.cancel()
