"""The worker: the one task that owns a session while it is resident.

It takes what is in its inbox as one batch and keeps this order, always:

1. the machine decides, item by item, in memory;
2. everything that came of it is appended in one atomic, durable write;
3. only then are readers given the new events and effects performed (tasks started and
   cancelled, timers armed),
4. and callers their answers.

What can fail is the write. StoreFailed(written=False) left nothing behind: the asks of the batch
are refused, the machine is rebuilt from the log, and what the running tasks said is tried again
until it can be kept. Any other failure ends the worker: its tasks are cancelled, every ask that
it took is answered, and the supervisor decides whether a new one is built from the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from . import commands
from .errors import (
    AdmissionClosed,
    MoorageError,
    SessionQuarantined,
    StaleOwner,
    UnknownSession,
)
from .inbox import Ask
from .letters import delete_answering
from .sessions import DrainReport, SessionState
from .turn_taking import TurnTaker
from .turns import Leave

if TYPE_CHECKING:
    from .inbox import Inbox
    from .turns import Environment, Keeper


class Worker(TurnTaker):
    """Owns one session from the call of ``run`` until it returns or raises."""

    def __init__(
        self, session_id: str, inbox: Inbox, environment: Environment, keeper: Keeper
    ) -> None:
        super().__init__(session_id, inbox, environment, keeper)
        self._ending = False
        self._lost = False
        self._demands_told: frozenset[str] | None = None

    async def run(self) -> None:
        """Claim the session, settle what a crash left, and serve until told to leave.

        Raises SessionHeld, StaleOwner, StoreFailed, SessionQuarantined, and whatever is a defect.
        On every way out the tasks of all runs have ended, and each ask that was taken has been
        answered.
        """
        await self._claim()
        try:
            self._machine = await self._recall()
            image = self._machine.image
            if image.state is SessionState.QUARANTINED and not self._asked_to_lift():
                await self._store.release(self._owned())
                raise SessionQuarantined(self.session_id, reason=image.reason or "unknown")
            await self._tell_demands()
            self._env.recent.own(self.session_id, image.runs)
            await self._serve()
            if self._deletion is not None:
                existed = image.state is not None
                await delete_answering(self._store, self._owned(), self._deletion, existed)
                self._env.forget(self.session_id)
                self._reply(self._deletion, existed)
                self._refuse_taken(UnknownSession(self.session_id))
            else:
                await self._store.release(self._owned())
                left = self._machine.image
                if left.queue and left.state is SessionState.OPEN:
                    self._keeper.note_handed_on()
                if self._timers:
                    self._keeper.wake_at(self._timers.next_at())
        except BaseException as error:
            self._refuse_taken(error)
            raise
        finally:
            self._env.tail.drop(self.session_id)
            self._env.recent.disown(self.session_id)
            self._slots.give_everything_back()

    async def _claim(self) -> None:
        claim = await self._store.claim(self.session_id)
        # kept for as long as the session is in memory, a large snapshot must not be
        self.claim = attrs.evolve(claim, info=None, snapshot=None)
        self._demands_told = None if claim.info is None else claim.info.demands
        self._oldest_seq = claim.oldest_seq

    async def _tell_demands(self) -> None:
        """Where nodes go by them: what an earlier release wrote of the session has none."""
        image = self._machine.image
        if self._env.offer is None or self._demands_told is None or image.state is None:
            return
        info = image.info()
        if info.demands != self._demands_told:
            claim = self._owned()
            await self._store.append(claim, expected_seq=image.head_seq + 1, records=(), info=info)

    def lose(self) -> None:
        """The claim could not be renewed: stop at once, another owner may be writing."""
        self._lost = True
        self._slots.abandon()
        self.inbox.put(Leave())

    def _asked_to_lift(self) -> bool:
        return any(
            isinstance(item, Ask) and isinstance(item.command, commands.LiftQuarantine)
            for item in self.inbox
        )

    async def _serve(self) -> None:
        failure: BaseException | None = None
        try:
            while not (self._leaving or self._lost):
                if self.inbox or not self._recovered:
                    await self._turn()
                elif self._machine.image.state is None:
                    break  # there is no such session, and nobody asked to make it
                else:
                    await self._wait()
        except BaseException as error:
            failure = error
            self._refuse_taken(error)
            self._keeper.note_failed(error)
        self._ending = True
        # agents may take their time to end, and readers must not wait for what is not fed
        self._env.tail.drop(self.session_id)
        self._env.recent.disown(self.session_id)
        # left alone, only a deletion has executions: they end without being recorded
        self._slots.abandon()
        await self._wait_tasks_ended()
        if self._lost:
            epoch = self._owned().epoch
            raise StaleOwner(self.session_id, epoch=epoch, current="its lease ran out")
        if failure is not None:
            raise failure

    async def _wait(self) -> None:
        """Wait for an item, or for a timer."""
        # who is to go and has just recorded something goes with a turn of its own
        if self._hands_on() or (self._leaving_for_good and self._may_leave()):
            self.inbox.put(Leave())
            await trio.lowlevel.checkpoint()
            return
        idle = self._is_idle()
        if idle:
            self._keeper.note_idle(True)
        try:
            if self.inbox:
                pass  # somebody needs the room: it was asked to leave at once
            elif self._timers:
                with trio.move_on_at(self._timers.next_at()):
                    await self.inbox.wait()
                self.inbox.put_first(self._timers.due())
            else:
                await self.inbox.wait()
        finally:
            if idle:
                self._keeper.note_idle(False)

    @property
    def serving(self) -> bool:
        """Whether it came as far as to settle what a crash left."""
        return self._recovered

    async def _wait_tasks_ended(self) -> None:
        """Who asks meanwhile waits with us, but not longer than agents are given to end."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self.limits.cancel_grace_seconds):
                await self._slots.wait_ended()
            while self._slots.tasks:
                for item in self.inbox.take_all():
                    if isinstance(item, Ask) and self.inbox.take(item):
                        await self._answer_at_the_end(item)
                if not self.inbox and self._slots.tasks:
                    await self.inbox.wait()

    async def _answer_at_the_end(self, ask: Ask) -> None:
        ignoring = tuple(self._slots.executions)
        if not isinstance(ask.command, commands.Drain):
            reason = f"waiting for {', '.join(ignoring)}, which goes on although it was cancelled"
            ask.refuse(AdmissionClosed(f"session {self.session_id!r}", reason=reason))
            return
        self._env.set_draining(self.session_id, "keep")
        try:
            machine = await self._recall()
        except MoorageError as error:
            ask.refuse(error)
        else:
            ask.answer(DrainReport(queued=machine.image.queued(), not_stopped=ignoring))
