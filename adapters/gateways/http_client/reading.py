"""Reading a session over HTTP: facts, pages, subscriptions, and waiting for what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import anyio
from moorage.runtime.errors import SessionQuarantined
from moorage.runtime.identifiers import check_name
from moorage.runtime.sessions import SessionState

from . import decoding
from .errors import ServerUnreachable, WaitTimedOut
from .limits import limit_of_time
from .named_cursors import stored_cursor
from .subscription import Subscription, check_after, check_types, filters_of
from .transport import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunOutcome, RunState
    from moorage.runtime.sessions import SessionInfo, SessionStatus

    from .transport import Transport

POLL_MARGIN_SECONDS = 15.0
"""What the answer of a request that waits may take longer."""
LAST_LOOK_SECONDS = 5.0
"""Behind a time limit one looks once more, for about this long."""


class SessionReading:
    """What a session's handle reads. Methods raise UnknownSession if it does not exist."""

    def __init__(self, transport: Transport, session_id: str) -> None:
        self._transport = transport
        self._id = session_id

    @property
    def id(self) -> str:
        return self._id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id!r} at {self._transport.url}>"

    async def _get(
        self, *parts: str, query: list[tuple[str, str]] | None = None, wait_seconds: float = 0
    ) -> Any:
        query = list(query or ())
        silence_seconds = None
        if wait_seconds:
            query.append(("wait_seconds", f"{wait_seconds:.3f}"))
            silence_seconds = wait_seconds + POLL_MARGIN_SECONDS
        path = path_of("sessions", self._id, *parts)
        return await self._transport.call(
            "GET", path, query=query, repeatable=True, silence_seconds=silence_seconds
        )

    async def _post(
        self,
        *parts: str,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        silence_seconds: float | None = None,
    ) -> Any:
        """Raises ServerUnreachable as well as what the runtime's method raises."""
        path = path_of("sessions", self._id, *parts)
        return await self._transport.call(
            "POST", path, body=body, repeatable=repeatable, silence_seconds=silence_seconds
        )

    async def info(self) -> SessionInfo:
        """The facts that listings show."""
        return decoding.session_info(await self._get())

    async def status(self) -> SessionStatus:
        """State, slots, and the ids of running, queued and waiting runs, from the owner."""
        return decoding.session_status(await self._get("status"))

    async def run_state(self, run_id: str) -> RunState:
        """A run's state now. Raises UnknownRun."""
        return decoding.run_state(await self._get("runs", check_name("run id", run_id)))

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        types: set[str] | None = None,
        run_id: str | None = None,
        wait_seconds: float = 0,
    ) -> list[Event]:
        """A page of events, ascending: the first ``limit`` after ``after``.

        With ``before`` it is the last ``limit`` below that seq. When the page would be empty and
        ``wait_seconds`` is given, waits that long for a matching event. Raises CursorExpired, and
        InvalidArgument for a seq beyond the head.
        """
        query = [("after", str(after)), ("limit", str(limit))]
        query += filters_of(check_types(types), run_id)
        if before is not None:
            query.append(("before", str(before)))
        wait = limit_of_time("wait_seconds", wait_seconds)
        events = decoding.events(await self._get("events", query=query))
        if events or not wait or before is not None:
            return events
        until = anyio.current_time() + wait
        backoff = self._transport.backoff()
        while not events and (left := until - anyio.current_time()) > 0:
            poll = min(left, self._transport.limits.poll_seconds)
            asked_at = anyio.current_time()
            document = await self._get("events", query=query, wait_seconds=poll)
            events = decoding.events(document)
            if not events and anyio.current_time() - asked_at < poll / 2:
                if (await self.info()).state is SessionState.CLOSED:
                    break
                await anyio.sleep(min(left, backoff.next_seconds() or poll))
        return events

    def subscribe(
        self,
        *,
        after: int | Literal["head"] = 0,
        types: set[str] | None = None,
        run_id: str | None = None,
        name: str | None = None,
    ) -> Subscription:
        """Follow the session from behind ``after``: first the backlog, then live.

        ``after="head"`` means from now. ``types`` and ``run_id`` filter. With ``name`` the stored
        cursor of that name beats ``after``, and ``ack`` moves it. Where the name has no cursor
        yet, or events behind its cursor were trimmed away, ``after`` says where to start. Nobody
        holds a name over HTTP: two who read by the same one at once get the same events.

        Entering raises UnknownSession, UnknownRun, InvalidArgument for a seq beyond the head, and
        CursorExpired if events behind both the stored cursor and ``after`` are gone:
        ``after=error.oldest_seq - 1`` starts with what is left, also under the same name.
        """
        if run_id is not None:
            check_name("run id", run_id)
        if name is not None:
            check_name("cursor name", name)
        return Subscription(
            self._transport,
            self._id,
            after=check_after(after),
            types=check_types(types),
            run_id=run_id,
            name=name,
        )

    async def cursor(self, name: str) -> int | None:
        """The seq up to which who reads by this name has acknowledged; None if nothing yet."""
        return await stored_cursor(self._transport, self._id, name)

    async def wait(self, run_id: str, *, timeout_seconds: float | None = None) -> RunOutcome:
        """The run's outcome, as soon as it has ended; at any time, from any process.

        A server that is drained, killed or started again meanwhile is waited for. Raises
        UnknownRun, UnknownSession, SessionQuarantined, StoreFailed, ServerUnreachable, and
        WaitTimedOut (a trio.TooSlowError and a TimeoutError) after ``timeout_seconds``, which ends
        only the wait.
        """
        check_name("run id", run_id)
        limit = limit_of_time("timeout_seconds", timeout_seconds)
        with anyio.move_on_after(limit):
            return await self._wait(run_id)
        # a run that has ended is told of even to those who have no time
        outcome = None
        with anyio.move_on_after(LAST_LOOK_SECONDS):
            outcome = await self._outcome(run_id)
        if outcome is None:
            raise WaitTimedOut(f"run {run_id} has not ended after {limit:g} s; it goes on")
        return outcome

    async def _wait(self, run_id: str) -> RunOutcome:
        backoff = self._transport.backoff()
        poll = self._transport.limits.poll_seconds
        while True:
            asked_at = anyio.current_time()
            outcome = await self._outcome(run_id, wait_seconds=poll)
            if outcome is not None:
                return outcome
            if anyio.current_time() - asked_at >= poll / 2:
                backoff.succeeded()
                continue
            # the server ends, and lets nobody wait any more
            seconds = backoff.next_seconds()
            if seconds is None:
                raise ServerUnreachable(self._transport.url, why="it is draining", written=False)
            await anyio.sleep(seconds)

    async def _outcome(self, run_id: str, *, wait_seconds: float = 0) -> RunOutcome | None:
        """The outcome of a run if it has ended, or does in so many seconds."""
        document = await self._get("runs", run_id, wait_seconds=wait_seconds)
        outcome = decoding.member(document, "outcome")
        return None if outcome is None else decoding.run_outcome(outcome)

    async def wait_idle(self, *, timeout_seconds: float | None = None) -> None:
        """Return when no run is queued or running.

        Raises SessionQuarantined, StoreFailed, and WaitTimedOut after ``timeout_seconds``.
        """
        limit = limit_of_time("timeout_seconds", timeout_seconds)
        with anyio.move_on_after(limit):
            while (info := await self.info()).active:
                self._check_hope(info)
                await self.events(
                    after=info.head_seq, limit=1, wait_seconds=self._transport.limits.poll_seconds
                )
            return
        active = 1
        with anyio.move_on_after(LAST_LOOK_SECONDS):
            active = (await self.info()).active
        if active:
            raise WaitTimedOut(f"session {self._id!r} is not idle after {limit:g} s")

    def _check_hope(self, info: SessionInfo) -> None:
        if info.state is SessionState.QUARANTINED:
            raise SessionQuarantined(self._id, reason=info.reason or "unknown")
