"""The audit log of requests: who asked for which change, and what became of it.

Two lines for what was begun, the first of them on disk before anything is done; without it the
request is refused. One line for what was refused before, of so many a minute as somebody who only
gets refusals may cause.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from moorage.adapters.sinks.telemetry.audit_log import AuditFailed
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import approval_of

from .limits import HttpLimits
from .problems import HostRefused, OriginRefused, TooManyRequests, status_of
from .rates import RequestRates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moorage.adapters.sinks.telemetry import AuditLog
    from starlette.types import ASGIApp

    from .authorisation import Principal
    from .call import Call
    from .observed_request import ObservedRequest
    from .operations import Operation

logger = structlog.get_logger("moorage")

REFUSALS_BURST = 20
REFUSALS_PER_SECOND = 0.1
"""Of one token, or one address without one, that get a line of their own."""
ALL_REFUSALS_BURST = 200
ALL_REFUSALS_PER_SECOND = 2.0
"""Of all together, whatever addresses they come from: some 170,000 lines a day at the most."""
READING = frozenset({"GET", "HEAD"})
_EVERYBODY = "everybody"
_STRANGERS = "pages of others"


class RequestAudit:
    """Records requests in ``audit``, which is open. ``now`` gives seconds of any clock."""

    def __init__(self, audit: AuditLog, now: Callable[[], float], clients_max: int) -> None:
        self._audit = audit
        self._by_client = RequestRates(
            HttpLimits(
                requests_per_second_max=REFUSALS_PER_SECOND,
                requests_burst_max=REFUSALS_BURST,
                clients_max=clients_max,
            ),
            now,
        )
        self._of_all = RequestRates(
            HttpLimits(
                requests_per_second_max=ALL_REFUSALS_PER_SECOND,
                requests_burst_max=ALL_REFUSALS_BURST,
            ),
            now,
        )
        self._omitted = 0

    async def perform(self, call: Call, request: ObservedRequest) -> ASGIApp:
        """Perform a change, on record. Raises AuditFailed, and then nothing was done."""
        operation, subject = call.operation, call.subject
        async with self._audit.action(
            operation.id,
            session_id=subject.session_id or call.body.get("id"),
            run_id=subject.run_id,
            webhook_id=subject.webhook_id,
            request_id=request.id,
            **_who(request.principal),
        ) as action:
            request.recorded = True
            try:
                answer = await operation.handler(call)
            except Exception as error:
                action.status = status_of(error)
                raise
            finally:
                action.session_id, action.run_id = subject.session_id, subject.run_id
                action.new_session_id = subject.new_session_id
                action.webhook_id = subject.webhook_id
            action.status = getattr(answer, "status_code", None)
            return answer

    async def refused(
        self, operation: Operation, request: ObservedRequest, error: Exception
    ) -> None:
        """Record what was refused before it was begun, if it is one of those that get a line. That
        it can't be recorded changes nothing for whoever is refused."""
        if request.recorded or isinstance(error, AuditFailed):
            return
        try:
            # a page of somebody else's comes from the address of those who belong here
            stranger = isinstance(error, (HostRefused, OriginRefused))
            self._by_client.take(_STRANGERS if stranger else request.principal.key)
            self._of_all.take(_EVERYBODY)
        except TooManyRequests:
            self._omitted += 1
            return
        omitted, self._omitted = self._omitted, 0
        try:
            await self._audit.record(
                operation.id,
                outcome="refused",
                code=getattr(error, "code", type(error).__qualname__),
                status=status_of(error),
                session_id=request.path.get("session_id"),
                run_id=_run_in(request.path),
                webhook_id=request.path.get("webhook_id"),
                request_id=request.id,
                omitted=omitted,
                **_who(request.principal),
            )
        except AuditFailed as failed:
            self._omitted += omitted + 1
            logger.error("audit_failed", reason=str(failed), action=operation.id)


class Subject:
    """What a request is about, as far as it is known: the path says it, or what came of it."""

    def __init__(self, path: Mapping[str, str]) -> None:
        self.session_id: str | None = path.get("session_id")
        self.run_id = _run_in(path)
        self.webhook_id: str | None = path.get("webhook_id")
        self.new_session_id: str | None = None
        """Of the session that is made of this one."""

    def note_new_session(self, session_id: str) -> None:
        """This one is going to be made."""
        if self.session_id is None:
            self.session_id = session_id
        else:
            self.new_session_id = session_id


def _run_in(path: Mapping[str, str]) -> str | None:
    """The run that a path names, by its id or by that of an approval."""
    if "request_id" in path:
        with suppress(InvalidArgument):
            return approval_of(path["request_id"])[0]
    return path.get("run_id")


def _who(principal: Principal) -> dict[str, str]:
    """Whom the log names, and by which token or from which address they came."""
    return {"actor": principal.name or principal.key, "client": principal.key}


def is_change(operation: Operation) -> bool:
    """Whether the audit log has requests for it."""
    return operation.method not in READING
