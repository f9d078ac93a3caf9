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

import trio

from . import commands
from .errors import SessionQuarantined, StaleOwner, UnknownSession
from .inbox import Ask
from .sessions import SessionState
from .turn_taking import TurnTaker
from .turns import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .inbox import Inbox
    from .turns import Environment


class Worker(TurnTaker):
    """Owns one session from the call of ``run`` until it returns or raises."""

    def __init__(self, session_id: str, inbox: Inbox, environment: Environment) -> None:
        super().__init__(session_id, inbox, environment)
        self.serving = False
        """Whether it came as far as to take asks."""
        self._lost = False

    async def run(
        self,
        on_idle: Callable[[bool], None],
        on_failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        """Claim the session, settle what a crash left, and serve until told to leave.

        Calls ``on_idle`` when it begins and ends to have nothing to do, and ``on_failed`` with what
        it will raise as soon as it fails, before its tasks have ended. Raises SessionHeld,
        StaleOwner, StoreFailed, SessionQuarantined, and whatever is a defect. On every way out,
        each ask that was taken has been answered.
        """
        self._on_idle = on_idle
        self._on_failed = on_failed
        self.claim = await self._store.claim(self.session_id)
        self._oldest_seq = self.claim.oldest_seq
        try:
            self._machine = await self._recall()
            image = self._machine.image
            if image.state is SessionState.QUARANTINED and not self._asked_to_lift():
                raise SessionQuarantined(self.session_id, reason=image.reason or "unknown")
            self._env.recent.own(self.session_id, image.runs)
            await self._serve()
            if self._deletion is not None:
                await self._store.delete(self.claim)
                self._env.recent.forget(self.session_id)
                self._reply(self._deletion, image.state is not None)
                self._refuse_taken(UnknownSession(self.session_id))
            else:
                await self._store.release(self.claim)
        except BaseException as error:
            self._refuse_taken(error)
            raise
        finally:
            self._env.tail.drop(self.session_id)
            self._env.recent.disown(self.session_id)
            self._slots.give_everything_back()

    def lose(self) -> None:
        """The claim could not be renewed: stop at once, another owner may be writing."""
        self._lost = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _asked_to_lift(self) -> bool:
        return any(
            isinstance(item, Ask) and isinstance(item.command, commands.LiftQuarantine)
            for item in self.inbox
        )

    async def _serve(self) -> None:
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                recovered = False
                while not recovered:
                    self._batch = Batch(self._machine.image.head_seq + 1)
                    self._batch.absorb(self._machine.recover(self.time_ns()))
                    self._slots.fill(self._machine, self._batch)
                    recovered = await self._commit()
                self.serving = True
                while not (self._leaving or self._lost):
                    await self._turn()
            except BaseException as error:
                failure = error
                self._refuse_taken(error)
                self._on_failed(error)
                # the tasks may take long to end: until then, too, readers go to the store
                self._env.tail.drop(self.session_id)
                self._env.recent.disown(self.session_id)
            # agents may take their time to end, and readers must not wait for what is not fed
            self._env.tail.drop(self.session_id)
            # left alone, only a deletion has executions: they end without being recorded
            self._slots.abandon()
            nursery.cancel_scope.cancel()
        if self._lost:
            epoch = self._owned().epoch
            raise StaleOwner(self.session_id, epoch=epoch, current="its lease ran out")
        if failure is not None:
            raise failure
