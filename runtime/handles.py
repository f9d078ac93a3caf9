"""Handles: what programs hold of sessions and runs.

A handle is an id and a way to the owner. It survives passivation, worker crashes and, by id, the
process. Commands go through one seam (``Store.hand_over``); everything else is read from the log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from . import commands
from .arguments import (
    check_choice,
    check_count,
    check_drain,
    check_metadata,
    check_reason,
    check_run_id,
    check_seconds,
    check_slots,
    check_summary,
    check_tags,
)
from .codec import check_event_type, private_copy
from .errors import InvalidArgument, KeyConflict, MoorageError, UnknownRun
from .events import same_data
from .identifiers import check_name, sortable_id
from .reading import SessionReader
from .runs import RunState, outcome_of
from .sessions import SessionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .commands import Answer, Command
    from .events import Data, Event
    from .limits import SupervisorLimits
    from .reading import SessionLog
    from .runs import OnInterrupt, RunOutcome
    from .sessions import CloseOutcome, DrainReport, QueuedPolicy, SessionStatus

logger = structlog.get_logger("moorage")

RUN_ATTEMPTS_MAX = 1_000_000
"""The largest ``attempts_max`` of a run."""


class Session(SessionReader):
    """One session. Methods that change it raise UnknownSession, SessionQuarantined, SessionHeld
    and StoreFailed as well as what they name themselves."""

    def __init__(
        self,
        log: SessionLog,
        session_id: str,
        limits: SupervisorLimits,
        hand_over: Callable[[str, Command], Awaitable[Answer]],
        time_ns: Callable[[], int],
        agent_names: Callable[[str | None], bool],
    ) -> None:
        super().__init__(log, session_id, limits)
        self._hand_over = hand_over
        self._time_ns = time_ns
        self._knows_agent = agent_names

    def run(self, run_id: str) -> Run:
        """A handle for a run by id. No check is made: ``wait`` and ``cancel`` raise UnknownRun."""
        return Run(self, check_run_id(run_id), None)

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

        ``key`` makes it idempotent: the same key returns the same run, with another input it
        raises KeyConflict. Raises QueueFull, SessionClosed, AdmissionClosed, RecordTooLarge and
        InvalidArgument with nothing left behind; after StoreFailed the outcome is unknown: submit
        again with the same key. Cancelled means not accepted.
        """
        submission = self._submission(
            input,
            key=key,
            agent=agent,
            metadata=metadata,
            on_interrupt=on_interrupt,
            attempts_max=attempts_max,
            timeout_seconds=timeout_seconds,
            queue_seconds_max=queue_seconds_max,
            silence_seconds_max=silence_seconds_max,
        )
        return await self._accept(submission)

    def _submission(
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
    ) -> commands.Submit:
        """Check what ``submit`` was given. Raises InvalidArgument and RecordTooLarge."""
        copy, size = private_copy(input, "input", bytes_max=self._limits.record_bytes_max)
        if key is not None:
            check_name("key", key)
        if agent is not None:
            check_name("agent", agent)
        if not self._knows_agent(agent):
            raise InvalidArgument(f"no agent named {agent!r} is configured in this supervisor")
        return commands.Submit(
            run_id=sortable_id("run", self._time_ns(), os.urandom(10)),
            input=copy,
            size_bytes=size,
            key=key,
            agent=agent,
            metadata=check_metadata(metadata),
            on_interrupt=check_choice("on_interrupt", on_interrupt, ("fail", "requeue")),
            attempts_max=check_count(
                "attempts_max", attempts_max, minimum=1, maximum=RUN_ATTEMPTS_MAX
            ),
            timeout_seconds=check_seconds("timeout_seconds", timeout_seconds),
            queue_seconds_max=check_seconds("queue_seconds_max", queue_seconds_max),
            silence_seconds_max=check_seconds("silence_seconds_max", silence_seconds_max),
        )

    async def _accept(self, submission: commands.Submit) -> Run:
        if submission.key is None:
            return Run(self, await self._hand_over(self._id, submission), None)
        return await self._submit_keyed(submission, submission.key)

    async def _submit_keyed(self, command: commands.Submit, key: str) -> Run:
        """Look the key up, then submit; again if a run with a key ended in between."""
        while True:
            info = await self._log.store.info(self._id)
            checked_at = 0 if info is None else info.head_seq
            known = await self._log.store.find_key(self._id, key)
            if known is not None:
                stored = await self._log.store.find_run(self._id, known)
                if stored is not None:
                    if not same_data(stored.submitted.data["input"], command.input):
                        raise KeyConflict(self._id, key=key, run_id=known)
                    return Run(self, known, key)
            run_id = await self._hand_over(self._id, _checked(command, checked_at))
            if run_id is not None:
                return Run(self, run_id, key)

    async def execute(
        self, input: Data, *, wait_seconds: float | None = None, **options: Any
    ) -> RunOutcome:
        """``submit`` (whose options it takes) and ``wait`` in one.

        Raises trio.TooSlowError after ``wait_seconds``; the run goes on.
        """
        check_seconds("wait_seconds", wait_seconds)  # before anything is accepted
        run = await self.submit(input, **options)
        return await run.wait(timeout_seconds=wait_seconds)

    async def cancel(self, run_id: str, *, reason: str | None = None) -> bool:
        """End a run: a queued one never reaches the agent, a running one is cancelled.

        True, once it is durable, if the run is or will be cancelled; False if it had ended.
        ``reason`` is free text of up to 4,096 bytes. Raises UnknownRun.
        """
        check_run_id(run_id)
        command = commands.Cancel(run_id=run_id, reason=check_reason(reason))
        return await self._of_unfinished(run_id, command)

    async def answer(self, run_id: str, name: str, value: Data) -> bool:
        """Answer a run that parked under ``name``. True the first time, False when it was not
        waiting for that. Raises UnknownRun."""
        check_run_id(run_id)
        check_name("name", name)
        copy, _ = private_copy(value, "value", bytes_max=self._limits.record_bytes_max)
        command = commands.AnswerRun(run_id=run_id, name=name, value=copy)
        return await self._of_unfinished(run_id, command)

    async def _of_unfinished(self, run_id: str, command: Command) -> bool:
        """Workers know only unfinished runs; of the others the log tells whether they were."""
        try:
            return bool(await self._hand_over(self._id, command))
        except UnknownRun:
            if await self._log.store.find_run(self._id, run_id) is None:
                raise
            return False

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        """Record something outside any run; durable when it returns. Raises SessionClosed,
        RecordTooLarge, and InvalidArgument for types that only the session writes."""
        check_event_type(type)
        copy, size = private_copy(data, "data", bytes_max=self._limits.record_bytes_max)
        event: Event = await self._hand_over(
            self._id,
            commands.AppendEvent(
                type=type, data=copy, size_bytes=size, metadata=check_metadata(metadata)
            ),
        )
        return event

    async def status(self) -> SessionStatus:
        """State, slots, and the ids of running, queued and waiting runs, from the owner."""
        status: SessionStatus = await self._hand_over(self._id, commands.GetStatus())
        return status

    async def run_state(self, run_id: str) -> RunState:
        """A run's state now. Raises UnknownRun."""
        stored = await self._log.store.find_run(self._id, run_id)
        if stored is None:
            raise UnknownRun(self._id, run_id)
        if stored.ended is not None:
            return outcome_of(stored.ended).state
        status = await self.status()
        if run_id in status.queued:
            return RunState.QUEUED
        if run_id in status.waiting:
            return RunState.WAITING
        if run_id in status.running:
            return RunState.CANCELLING if run_id in status.cancelling else RunState.RUNNING
        return await self.run_state(run_id)  # it ended in between

    async def configure(
        self,
        *,
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
    ) -> None:
        """Change what is given. More slots take effect at once, fewer as runs end."""
        await self._hand_over(
            self._id,
            commands.OpenSession(
                mode="resume",
                slots=check_slots(slots),
                tags=check_tags(tags),
                metadata=check_metadata(metadata),
                summary=check_summary(summary),
            ),
        )

    async def pause(self) -> bool:
        """Go on admitting, start nothing. True if that changed anything."""
        return bool(await self._hand_over(self._id, commands.Pause()))

    async def resume(self) -> bool:
        """Start again; after a drain, admit again. True if that changed anything."""
        return bool(await self._hand_over(self._id, commands.Resume()))

    async def drain(
        self, *, timeout_seconds: float | None = None, queued: QueuedPolicy = "keep"
    ) -> DrainReport:
        """Admit nothing more, let running work end until the deadline, interrupt the rest.

        ``queued="finish"`` lets queued work run too; ``keep`` leaves it for later. Without a
        timeout ``limits.drain_seconds`` counts; infinity is no deadline at all.
        """
        command = check_drain(self._limits, timeout_seconds, queued)
        report: DrainReport = await self._hand_over(self._id, command)
        return report

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
        check_choice("outcome", outcome, ("completed", "failed", "cancelled"))
        command = commands.Close(outcome=outcome, reason=check_reason(reason), force=force)
        changed = bool(await self._hand_over(self._id, command))
        if changed:
            await self._wait_closed(command)
        return changed

    async def _wait_closed(self, command: commands.Close) -> None:
        if (info := await self.info()).state is SessionState.CLOSED:
            return
        after = seen_seq = info.head_seq
        # by the log from here on, not by the state: somebody may have reopened it since
        while not await self.events(after=after, types={"session_closed"}, limit=1):
            await self._check_hope()
            await self._log.wait_news(self._id, after=seen_seq)
            seen_seq = (await self.info()).head_seq
            if not await self.events(after=after, types={"session_closed"}, limit=1):
                # a worker that was built anew knows what was cancelled, and not why
                await self._hand_over(self._id, command)

    async def reopen(self) -> bool:
        """Open a closed session again. True if it was closed."""
        return bool(await self._hand_over(self._id, commands.Reopen()))

    async def trim(self, *, before: int) -> int:
        """Forget events below ``before``, but never an unfinished run's request.

        Returns the oldest seq that is still there. Runs whose request was trimmed are unknown.
        """
        check_count("before", before, minimum=1, maximum=2**63)
        oldest: int = await self._hand_over(self._id, commands.Trim(before=before))
        return oldest


def _checked(command: commands.Submit, checked_at: int) -> commands.Submit:
    return attrs.evolve(command, key_checked_at=checked_at)


async def execute_and_close(
    session: Session,
    create: Callable[[], Awaitable[object]],
    input: Data,
    *,
    wait_seconds: float | None = None,
    **options: Any,
) -> RunOutcome:
    """``Session.execute`` in a session that ``create`` makes, once the arguments are known to be
    good, and that is closed whatever happens."""
    submission = session._submission(input, **options)
    check_seconds("wait_seconds", wait_seconds)
    await create()
    try:
        run = await session._accept(submission)
        outcome = await run.wait(timeout_seconds=wait_seconds)
    except BaseException:
        await _close_unfinished(session)
        raise
    with trio.CancelScope(shield=True):
        completed = outcome.state is RunState.COMPLETED
        await session.close(outcome="completed" if completed else "failed")
    return outcome


async def _close_unfinished(session: Session) -> None:
    """Close a session that nobody will come back to. An agent that does not end gets the time of
    ``cancel_grace_seconds``; its session is closed when it ends."""
    command = commands.Close(outcome="failed", force=True)
    try:
        with trio.CancelScope(shield=True) as scope:
            await session._hand_over(session.id, command)
            scope.deadline = trio.current_time() + session._limits.cancel_grace_seconds
            await session._wait_closed(command)
    except MoorageError as error:
        logger.warning("session_not_closed", session_id=session.id, reason=str(error))


class Run:
    """One run of a session, by id. ``key`` is the idempotency key it was submitted with here."""

    __slots__ = ("_session", "id", "key")

    def __init__(self, session: Session, run_id: str, key: str | None) -> None:
        self._session = session
        self.id = run_id
        self.key = key

    @property
    def session_id(self) -> str:
        return self._session.id

    def __repr__(self) -> str:
        return f"<Run {self.id} of session {self.session_id!r}>"

    async def wait(self, *, timeout_seconds: float | None = None) -> RunOutcome:
        """See ``Session.wait``."""
        return await self._session.wait(self.id, timeout_seconds=timeout_seconds)

    async def cancel(self, *, reason: str | None = None) -> bool:
        """See ``Session.cancel``."""
        return await self._session.cancel(self.id, reason=reason)

    async def status(self) -> RunState:
        """The run's state now. Raises UnknownRun."""
        return await self._session.run_state(self.id)
