"""Handles: what programs hold of sessions and runs.

A handle is an id and a way to the owner. It survives passivation, worker crashes and, by id, the
process. Commands go through one seam (``Store.hand_over``); everything else is read from the log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import attrs

from . import commands
from .arguments import (
    check_choice,
    check_count,
    check_drain,
    check_expiry,
    check_metadata,
    check_node_tags,
    check_reason,
    check_run_id,
    check_seconds,
    check_slots,
    check_summary,
    check_tags,
)
from .codec import private_copy
from .conversation import ConversationOperations
from .errors import KeyConflict, UnknownRun
from .events import same_data
from .identifiers import check_name, sortable_id
from .named_cursors import CursorOperations
from .overrides import with_overrides
from .reading import SessionReader, has_left
from .run_handle import Run
from .runs import RunState, approval_of, outcome_of
from .sessions import SessionState
from .steers import hand_over_keyed_steer, hand_over_steer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .commands import Answer, Command
    from .events import Data
    from .limits import SupervisorLimits
    from .reading import SessionLog
    from .runs import OnInterrupt, RunOutcome, SteerOutcome
    from .sessions import CloseOutcome, DrainReport, QueuedPolicy, SessionStatus

RUN_ATTEMPTS_MAX = 1_000_000
"""The largest ``attempts_max`` of a run."""


class Session(ConversationOperations, CursorOperations, SessionReader):
    """One session. Methods that change it raise UnknownSession, SessionQuarantined, SessionHeld
    and StoreFailed as well as what they name themselves."""

    def __init__(
        self,
        log: SessionLog,
        session_id: str,
        limits: SupervisorLimits,
        hand_over: Callable[[str, Command], Awaitable[Answer]],
        time_ns: Callable[[], int],
        check_agent: Callable[[str | None], None],
    ) -> None:
        super().__init__(log, session_id, limits)
        self._hand_over = hand_over
        self._time_ns = time_ns
        self._check_agent = check_agent

    def _sibling(self, session_id: str) -> Session:
        """A handle of another session of the same supervisor."""
        seam = self._hand_over, self._time_ns, self._check_agent
        return Session(self._log, session_id, self._limits, *seam)

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

        ``agent`` names one of a supervisor that has several. ``on_interrupt="requeue"`` starts it
        again, until it was started ``attempts_max`` times, when its process or supervisor ends;
        "fail" ends it as interrupted. It is timed out after ``timeout_seconds`` of running,
        ``queue_seconds_max`` of queueing or ``silence_seconds_max`` without an event.

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
        self._check_agent(agent)
        return commands.Submit(
            run_id=self._new_run_id(),
            input=copy,
            size_bytes=size,
            key=key,
            agent=agent,
            metadata=check_metadata(with_overrides(metadata)),
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
        """Answer a run that parked under ``name``, or asks. True the first time, False when it was
        not waiting for that. Raises UnknownRun."""
        check_run_id(run_id)
        check_name("name", name)
        copy, size = private_copy(value, "value", bytes_max=self._limits.record_bytes_max)
        command = commands.AnswerRun(run_id=run_id, name=name, value=copy, size_bytes=size)
        return await self._of_unfinished(run_id, command)

    async def approve(
        self,
        request_id: str,
        *,
        tool_input: Data = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Let the tool call of a ``tool_approval_requested`` event go on, with another input if
        one is given; ``by`` says who did. True the first time, False when it is answered, expired
        or its run has ended. Raises UnknownRun, and InvalidArgument for what is no request id."""
        value = {"approved": True, "tool_input": tool_input, "reason": reason}
        return await self._decide(request_id, value, by)

    async def deny(
        self, request_id: str, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Refuse a tool call; the agent is told ``reason``. Otherwise like ``approve``."""
        return await self._decide(request_id, {"approved": False, "reason": reason}, by)

    async def _decide(self, request_id: str, value: dict[str, Any], by: str | None) -> bool:
        run_id, name = approval_of(request_id)
        value |= {"reason": check_reason(value["reason"]), "by": check_summary(by)}
        given = {key: item for key, item in value.items() if item is not None}
        return await self.answer(run_id, name, given)

    async def steer(self, run_id: str, message: Data, *, key: str | None = None) -> SteerOutcome:
        """Give a running run a message on its way; durable when this returns.

        Its agent takes it at its next safe point. Where it takes none, or the run does not run
        (now, or any more when the message would be taken), the message becomes a run of its own
        behind all others; the outcome says which, and the id that run has or would have. ``key``
        makes it idempotent: with the same key the run gets it once, another message raises
        KeyConflict. Raises UnknownRun, and what ``submit`` raises.
        """
        check_run_id(run_id)
        copy, size = private_copy(message, "message", bytes_max=self._limits.record_bytes_max)
        steer_id, store = self._new_run_id(), self._log.store
        command = commands.Steer(run_id=run_id, steer_id=steer_id, message=copy, size_bytes=size)
        if key is None:
            return await hand_over_steer(store, self._id, self._hand_over, command)
        check_name("key", key)
        return await hand_over_keyed_steer(store, self._id, self._hand_over, command, key)

    def _new_run_id(self) -> str:
        return sortable_id("run", self._time_ns(), os.urandom(10))

    async def _of_unfinished(self, run_id: str, command: Command) -> bool:
        """Workers know only unfinished runs; of the others the log tells whether they were."""
        try:
            return bool(await self._hand_over(self._id, command))
        except UnknownRun:
            if await self._log.store.find_run(self._id, run_id) is None:
                raise
            return False

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
        metadata_update: dict[str, Any] | None = None,
        expire_after_seconds: float | Literal["never", "by_policy"] | None = None,
        node_tags: dict[str, str] | None = None,
    ) -> None:
        """Change what is given. More slots take effect at once, fewer as runs end.

        ``metadata`` replaces all of it; ``metadata_update`` changes single entries, whatever
        others change at the same time, and removes those that are None. ``node_tags`` replaces
        what the session demands of the node that serves it.
        """
        await self._hand_over(
            self._id,
            commands.OpenSession(
                mode="resume",
                slots=check_slots(slots),
                tags=check_tags(tags),
                metadata=check_metadata(metadata),
                summary=check_summary(summary),
                metadata_update=check_metadata(metadata_update),
                node_tags=check_node_tags(node_tags),
                **check_expiry(expire_after_seconds),
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
        if self._log.left:
            raise has_left()
        asked_at = (await self.info()).head_seq
        changed = bool(await self._hand_over(self._id, command))
        if changed:
            await self._wait_closed(command, asked_at)
        return changed

    async def _wait_closed(self, command: commands.Close, after: int) -> None:
        """Wait until it was closed behind ``after``, the head from before the command."""
        info = await self.info()
        if info.state is SessionState.CLOSED:
            return
        seen_seq = info.head_seq
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
