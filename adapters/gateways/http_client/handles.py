"""Handles of sessions and runs that a server has, with the methods that the runtime's have."""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING, Any, Literal

from moorage.runtime.errors import InvalidArgument
from moorage.runtime.identifiers import check_name, sortable_id
from moorage.runtime.overrides import with_overrides
from moorage.runtime.runs import approval_of

from . import decoding
from .conversation import ConversationOperations, changed
from .encoding import expiry, given, limits_of_time, plain
from .limits import limit_of_time
from .named_cursors import move_cursor
from .run_handle import Run
from .transport import path_of

if TYPE_CHECKING:
    from moorage.runtime.events import Data
    from moorage.runtime.runs import OnInterrupt, RunOutcome, SteerOutcome
    from moorage.runtime.sessions import CloseOutcome, DrainReport, QueuedPolicy

WORK_SECONDS_MAX = 330.0
"""How long the server may be silent while it drains or closes a session."""


class Session(ConversationOperations):
    """One session of a server. Methods that change it raise UnknownSession, SessionQuarantined,
    SessionHeld, StoreFailed, RequestRefused and ServerUnreachable as well as what they name
    themselves. What those return that are sent again after a cut connection (``cancel``, ``pause``,
    ``resume``, ``close``, ``reopen``, ``unlabel``) is what the last try has changed."""

    def _sibling(self, session_id: str) -> Session:
        """A handle of another session of the same server."""
        return Session(self._transport, session_id)

    def run(self, run_id: str) -> Run:
        """A handle for a run by id. No check is made: ``wait`` and ``cancel`` raise UnknownRun."""
        return Run(self, check_name("run id", run_id), None)

    async def submit(
        self,
        input: Data,
        *,
        key: str | None = None,
        agent: str | None = None,
        metadata: dict[str, Any] | None = None,
        on_interrupt: OnInterrupt = "fail",
        attempts_max: int = 3,
        timeout_seconds: float | None = None,
        queue_seconds_max: float | None = None,
        silence_seconds_max: float | None = None,
    ) -> Run:
        """Accept a run; it is durable when this returns.

        ``agent`` names one of a server that has several. ``on_interrupt="requeue"`` starts it
        again, until it was started ``attempts_max`` times, when its process or supervisor ends;
        "fail" ends it as interrupted. It is timed out after ``timeout_seconds`` of running,
        ``queue_seconds_max`` of queueing or ``silence_seconds_max`` without an event.

        ``key`` makes it idempotent: the same key returns the same run, with another input it
        raises KeyConflict. Without one it gets a key of its own, so that in both cases the request
        is sent again, and nothing done twice, when the connection is cut. Raises QueueFull,
        SessionClosed, AdmissionClosed, RecordTooLarge and InvalidArgument with nothing left
        behind; after StoreFailed and ServerUnreachable the outcome is unknown: submit again with
        the same key. Cancelled while the request is under way, the outcome is unknown, too.
        """
        sent_key = sortable_id("call", time.time_ns(), urandom(10)) if key is None else key
        body = {
            "input": plain(input, "input"),
            "on_interrupt": on_interrupt,
            "attempts_max": attempts_max,
            **given(agent=agent, metadata=plain(with_overrides(metadata), "metadata")),
            **limits_of_time(
                timeout_seconds=timeout_seconds,
                queue_seconds_max=queue_seconds_max,
                silence_seconds_max=silence_seconds_max,
            ),
        }
        document = await self._transport.call(
            "POST",
            path_of("sessions", self._id, "runs"),
            body=body,
            headers={"idempotency-key": _header(sent_key)},
            repeatable=True,
        )
        return Run(self, decoding.member(document, "run_id"), key)

    async def execute(
        self, input: Data, *, wait_seconds: float | None = None, **options: Any
    ) -> RunOutcome:
        """``submit`` (whose options it takes) and ``wait`` in one.

        Raises WaitTimedOut after ``wait_seconds``; the run goes on.
        """
        limit_of_time("wait_seconds", wait_seconds)  # before anything is accepted
        run = await self.submit(input, **options)
        return await run.wait(timeout_seconds=wait_seconds)

    async def cancel(self, run_id: str, *, reason: str | None = None) -> bool:
        """End a run: a queued one never reaches the agent, a running one is cancelled.

        True, once it is durable, if the run is or will be cancelled; False if it had ended.
        ``reason`` is free text of up to 4,096 bytes. Raises UnknownRun.
        """
        parts = ("runs", check_name("run id", run_id), "cancel")
        document = await self._post(*parts, body=given(reason=reason), repeatable=True)
        return bool(decoding.member(document, "cancelled"))

    async def answer(self, run_id: str, name: str, value: Data) -> bool:
        """Answer a run that parked under ``name``, or asks. True the first time, False when it was
        not waiting for that. Raises UnknownRun."""
        parts = ("runs", check_name("run id", run_id), "answers", check_name("name", name))
        document = await self._post(*parts, body={"value": plain(value, "value")})
        return bool(decoding.member(document, "answered"))

    async def approve(
        self,
        request_id: str,
        *,
        tool_input: Data = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Let the tool call of a ``tool_approval_requested`` event go on, with another input if
        one is given; ``by`` says who did, unless the token does. True the first time, False when
        it is answered, expired or its run has ended. Raises UnknownRun, and InvalidArgument for
        what is no request id."""
        tool_input = plain(tool_input, "tool_input")
        return await self._decide(
            request_id, "approve", tool_input=tool_input, reason=reason, by=by
        )

    async def deny(
        self, request_id: str, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Refuse a tool call; the agent is told ``reason``. Otherwise like ``approve``."""
        return await self._decide(request_id, "deny", reason=reason, by=by)

    async def _decide(self, request_id: str, decision: str, **fields: Any) -> bool:
        approval_of(request_id)
        document = await self._post("approvals", request_id, decision, body=given(**fields))
        return bool(decoding.member(document, "answered"))

    async def steer(self, run_id: str, message: Data, *, key: str | None = None) -> SteerOutcome:
        """Give a running run a message on its way; durable when this returns.

        Its agent takes it at its next safe point. Where it takes none, or the run does not run
        (now, or any more when the message would be taken), the message becomes a run of its own
        behind all others; the outcome says which, and the id that run has or would have. ``key``
        makes it idempotent: with the same key the run gets it once, another message raises
        KeyConflict, and the request is sent again when the connection is cut. Raises UnknownRun,
        and what ``submit`` raises.
        """
        path = path_of("sessions", self._id, "runs", check_name("run id", run_id), "steer")
        document = await self._transport.call(
            "POST",
            path,
            body={"message": plain(message, "message")},
            headers={} if key is None else {"idempotency-key": _header(key)},
            repeatable=key is not None,
        )
        return decoding.steer_outcome(document)

    async def configure(
        self,
        *,
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
        metadata_update: dict[str, Any] | None = None,
        expire_after_seconds: float | Literal["never", "by_policy"] | None = None,
        node_tags: dict[str, str] | None = None,
    ) -> None:
        """Change what is given. More slots take effect at once, fewer as runs end.

        ``metadata`` replaces all of it; ``metadata_update`` changes single entries, whatever
        others change at the same time, and removes those that are None.
        """
        body = given(
            slots=slots,
            tags=tags,
            metadata=plain(metadata, "metadata"),
            summary=summary,
            metadata_update=plain(metadata_update, "metadata_update"),
            expire_after_seconds=expiry(expire_after_seconds),
            node_tags=node_tags,
        )
        path = path_of("sessions", self._id)
        await self._transport.call("PATCH", path, body=body, repeatable=True)

    async def pause(self) -> bool:
        """Go on admitting, start nothing. True if that changed anything."""
        return changed(await self._post("pause", repeatable=True))

    async def resume(self) -> bool:
        """Start again; after a drain, admit again. True if that changed anything."""
        return changed(await self._post("resume", repeatable=True))

    async def drain(
        self, *, timeout_seconds: float | None = None, queued: QueuedPolicy = "keep"
    ) -> DrainReport:
        """Admit nothing more, let running work end until the deadline, interrupt the rest.

        ``queued="finish"`` lets queued work run too; ``keep`` leaves it for later. Without a
        timeout the server's ``drain_seconds`` counts. Raises InvalidArgument for a longer one
        than a request may take.
        """
        if timeout_seconds is not None:
            limit_of_time("timeout_seconds", timeout_seconds)
        body = given(timeout_seconds=timeout_seconds, queued=queued)
        document = await self._post("drain", body=body, silence_seconds=WORK_SECONDS_MAX)
        return decoding.drain_report(document)

    async def close(
        self,
        *,
        outcome: CloseOutcome = "completed",
        reason: str | None = None,
        force: bool = False,
    ) -> bool:
        """Close the session; subscriptions end, it can be read and reopened.

        Raises SessionBusy while work is left, unless ``force``, which cancels it and waits for
        its end. ``reason`` is free text of up to 4,096 bytes. True if it was not closed before.
        """
        body = given(outcome=outcome, reason=reason, force=force)
        return changed(
            await self._post("close", body=body, repeatable=True, silence_seconds=WORK_SECONDS_MAX)
        )

    async def reopen(self) -> bool:
        """Open a closed session again. True if it was closed."""
        return changed(await self._post("reopen", repeatable=True))

    async def trim(self, *, before: int) -> int:
        """Forget events below ``before``, but never an unfinished run's request.

        Returns the oldest seq that is still there. Runs whose request was trimmed are unknown.
        """
        document = await self._post("trim", body={"before": before}, repeatable=True)
        return int(decoding.member(document, "oldest_seq"))

    async def acknowledge(self, name: str, seq: int) -> int:
        """Record, durably, that who reads by this name is done with everything up to ``seq``.

        It is ``Subscription.ack`` for those who have left theirs. The cursor never goes back;
        returns where it is now. Raises CursorHeld while a program at the server subscribes by the
        name, and InvalidArgument for a seq beyond the head and a name of the server's own.
        """
        return await move_cursor(self._transport, self._id, name, seq)


def _header(key: str) -> str:
    """The key in quotes, so that blanks at its ends arrive."""
    check_name("key", key)
    if not key.isascii():
        raise InvalidArgument(f"key {key!r} is not ASCII, as a header of HTTP has to be")
    return f'"{key}"'
