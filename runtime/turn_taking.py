"""One turn of a worker: take what is in the inbox, decide, write, and do what follows.

See worker.py for the order that is kept and for what happens when the write fails.
"""

from __future__ import annotations

import copy
import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from . import commands
from .drains import DrainWatch
from .errors import (
    MoorageError,
    StoreFailed,
)
from .events import RUN_TERMINAL_TYPES
from .execution import Execution
from .inbox import Ask, Inbox
from .machine import SessionMachine
from .recall import recall_session
from .runs import RunState
from .sessions import SessionState, SessionStatus
from .slots import Slots
from .snapshots import SnapshotKeeper
from .steps import RunEndedSignal, StartRun, StopRun
from .turns import Batch, Environment, Expiry, Granted, Keeper, Leave, Output, Timers, Trimming

if TYPE_CHECKING:
    from .ports import Claim
    from .steps import Effect

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""A batch takes no further items beyond this; the rest is the next one's."""
_NO_BATCH = Batch(0)
"""Stands where a batch is between two turns: an idle session must not hold its last one."""
TIMERS_UNCHECKED_MAX = 100
"""Timers that may wait before those of ended runs are looked for and forgotten."""
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses before a write that left nothing behind is tried again; the last one repeats."""


class TurnTaker:
    """One session's inbox, machine and tasks, and the turns that bring them together."""

    def __init__(
        self, session_id: str, inbox: Inbox, environment: Environment, keeper: Keeper
    ) -> None:
        self.session_id = session_id
        self.inbox = inbox
        self.limits = environment.limits
        self.time_ns = environment.time_ns
        self.claim: Claim | None = None
        self._env = environment
        self._keeper = keeper
        self._store = environment.store
        self._machine: SessionMachine
        self._batch = _NO_BATCH
        self._slots = Slots(self, environment)
        self._taken: dict[Ask, None] = {}
        self._timers = Timers()
        self._timers_checked_at = TIMERS_UNCHECKED_MAX
        self._drains: list[DrainWatch] = []
        self._leaving = False
        self._leaving_for_good = False
        self._deletion: Ask | None = None
        self._retries = 0
        self._recovered = False
        self._closing_before: commands.Close | None = None
        self._oldest_seq = 1
        self._snapshots = SnapshotKeeper(self._store, self.limits.snapshot_events_max)

    def _owned(self) -> Claim:
        assert self.claim is not None, "claiming is the first thing that a worker does"
        return self.claim

    def _refuse_taken(self, error: BaseException) -> None:
        """Nobody may be left waiting, whatever ends the worker."""
        if not isinstance(error, MoorageError):
            error = StoreFailed(
                f"the worker of session {self.session_id!r} ended before the outcome was known "
                f"({type(error).__name__}): submit again with the same key"
            )
        for ask in self._taken:
            ask.refuse(copy.copy(error))
        self._taken.clear()

    async def _recall(self) -> SessionMachine:
        """The machine as the log has it; conditions of the process are the supervisor's."""
        recalled = await recall_session(
            self._store, self.session_id, tombstone_seq=self._owned().head_seq
        )
        image = recalled.image
        self._snapshots.recalled(image.head_seq, recalled.snapshot)
        machine = SessionMachine(image, self.limits)
        machine.draining = self._env.draining_of(self.session_id)
        return machine

    # ---- one turn ----

    async def _turn(self) -> None:
        inbox = self.inbox
        if self._timers and self._timers.next_at() <= trio.current_time():
            inbox.put_first(self._timers.due())  # an inbox that is never empty starves no timer
        machine = self._machine
        self._closing_before = machine.closing
        batch = self._batch = Batch(machine.image.head_seq + 1)
        size = 0
        if not self._recovered:
            batch.absorb(machine.recover(self.time_ns()))
            self._slots.fill(machine, batch)
        while inbox and size < BATCH_BYTES_MAX and self._deletion is None:
            size += self._take(inbox.pop())
            if self._slots.grants or machine.startable():
                self._slots.fill(machine, batch)
        if await self._commit():
            self._recovered = True
        self._batch = _NO_BATCH
        self._finish_drains()
        if (self._leaving or self._leaving_for_good) and self._deletion is None:
            self._leaving = not inbox and not batch.records and self._may_leave()
            if self._leaving and self._snapshots.due(leaving=True):
                await self._snapshots.save(self._owned(), self._machine.image)

    async def _wait(self) -> None:
        """Wait for an item, or for a timer."""
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

    def _is_idle(self) -> bool:
        """Whether the session could leave memory: nothing runs, could run, or will fall due."""
        slots = self._slots
        if slots.executions or slots.grants or self._drains or self._machine.startable():
            return False
        if self._timers:
            self._timers.keep(self._still_wanted)
        return not self._timers

    def _may_leave(self) -> bool:
        if self._leaving_for_good:
            return not self._slots.executions and not self._drains
        return self._is_idle()

    def _still_wanted(self, item: Any) -> bool:
        if not isinstance(item, Expiry):
            return True
        run = self._machine.image.runs.get(item.run_id)
        return run is not None and run.starts == item.start and run.state is not RunState.WAITING

    def _take(self, item: Any) -> int:
        """Decide on one item; returns about how many bytes it adds to the batch."""
        kind = type(item)
        if isinstance(item, Execution):
            records, size = item.take_output()
            if records and self._slots.executions.get(item.run_id) is item:
                self._take_output(Output(item, records, size))
            return size
        if isinstance(item, Ask):
            if self.inbox.take(item):
                self._take_ask(item)
            return 256 + getattr(item.command, "size_bytes", 0)
        if isinstance(item, Output):
            self._take_output(item)
            return item.size
        if kind is RunEndedSignal:
            self._batch.inputs.append(item)
            self._batch.absorb(self._machine.ended(item, self.time_ns()))
            return 256 + item.size_bytes  # type: ignore[no-any-return]
        if kind is Expiry:
            self._batch.inputs.append(item)
            self._expire(item)
        elif kind is DrainWatch:
            self._batch.inputs.append(item)
            self._expire_drain(item)
        elif isinstance(item, Leave):
            self._leaving = True
            self._leaving_for_good |= item.final
        return 256

    def _take_output(self, output: Output) -> None:
        self._batch.inputs.append(output)
        self._batch.records += output.records
        self._machine.pass_over(len(output.records))

    def _take_ask(self, ask: Ask) -> None:
        self._taken[ask] = None
        command, machine = ask.command, self._machine
        try:
            if isinstance(command, commands.Drain):
                self._begin_drain(ask, command)
                return
            if isinstance(command, commands.DeleteSession):
                self._deletion = ask
                self._leaving = True
                return
            answer: Any
            if isinstance(command, commands.Trim):
                answer = Trimming(machine.trim_point(command.before))
            else:
                was_draining = machine.draining
                step = machine.handle(command, self.time_ns())
                if machine.draining is not was_draining:
                    self._batch.resumed_from = was_draining
                    self._batch.called_off += self._drains
                self._batch.absorb(step)
                answer = step.answer
        except MoorageError as error:
            answer = error
        self._batch.answers.append((ask, answer))

    def _expire(self, expiry: Expiry) -> None:
        machine, now_ns = self._machine, self.time_ns()
        run_id, kind, start = expiry
        execution = self._slots.executions.get(run_id)
        if kind == "grace":
            step = machine.unresponsive(run_id, start, now_ns)
            if step.answer and execution is not None:
                execution.unresponsive = True
                self._batch.absorb(step)
            return
        if kind == "silence" and execution is not None:
            run = machine.image.runs.get(run_id)
            limit = run.silence_seconds_max if run is not None else None
            left = execution.last_emit_at + (limit or 0.0) - trio.current_time()
            if left > 0:
                self._timers.arm(left, expiry)
                return
        self._batch.absorb(machine.expired(run_id, kind, start, now_ns))

    # ---- the write, and what follows it ----

    async def _commit(self) -> bool:
        """Write the batch and do what follows. False if the write left nothing behind."""
        batch = self._batch
        if batch.records:
            try:
                await self._store.append(
                    self._owned(),
                    expected_seq=batch.first_seq,
                    records=batch.records,
                    info=self._machine.image.info() if batch.events else None,
                )
            except StoreFailed as error:
                if error.written is not False or error.poisoned:
                    raise
                await self._write_again_later(error)
                return False
            self._retries = 0
            self._after_append(batch)
        if batch.resumed_from is not None:
            self._env.set_draining(self.session_id, self._machine.draining)
            for watch in batch.called_off:
                self._end_drain(watch)
        for effect in batch.effects:
            self._perform(effect)
        for ask, answer in batch.answers:
            if isinstance(answer, Trimming):
                answer = await self._trim(answer.before)
            elif isinstance(answer, SessionStatus):
                answer = self._with_unresponsive(answer)
            self._reply(ask, answer)
        if self._snapshots.due():
            await self._snapshots.save(self._owned(), self._machine.image)
        return True

    async def _trim(self, before: int) -> int | StoreFailed:
        image, before = self._machine.image, max(before, self._oldest_seq)
        answer = await self._snapshots.trim(self._owned(), image, before)
        if isinstance(answer, int):
            self._oldest_seq = before
        self._env.recent.forget(self.session_id)
        return answer

    def _after_append(self, batch: Batch) -> None:
        self._snapshots.note(batch)
        closed = self._machine.image.state is SessionState.CLOSED
        self._env.tail.feed(self.session_id, batch.first_seq, batch.records, closed=closed)
        for item in batch.inputs:
            if type(item) is Output:
                item.execution.settled(item.size)
            elif type(item) is RunEndedSignal:
                self._slots.ended(item)
        for watch in self._drains:
            watch.note(batch.events)
        self._tell_runs(batch)

    def _tell_runs(self, batch: Batch) -> None:
        recent, session_id = self._env.recent, self.session_id
        for event in batch.events:
            if event.type == "run_submitted":
                recent.accepted(session_id, event.run_id or "")
            elif event.type in RUN_TERMINAL_TYPES:
                body = batch.records[event.seq - batch.first_seq].body
                recent.ended(session_id, event.run_id or "", event.seq, body)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, StartRun):
            run = self._machine.image.runs[effect.run_id]
            self._slots.start(self.session_id, run, self._keeper.start_soon)
        elif isinstance(effect, StopRun):
            self._slots.stop(effect.run_id)
        else:
            if len(self._timers) >= self._timers_checked_at:
                # most timers are of runs that have ended by now, long before they would be due
                self._timers.keep(self._still_wanted)
                self._timers_checked_at = 2 * len(self._timers) + TIMERS_UNCHECKED_MAX
            self._timers.arm(effect.seconds, Expiry(effect.run_id, effect.kind, effect.start))

    def _reply(self, ask: Ask, answer: Any) -> None:
        self._taken.pop(ask, None)
        if isinstance(answer, MoorageError):
            ask.refuse(answer)
        else:
            ask.answer(answer)

    def _with_unresponsive(self, status: SessionStatus) -> SessionStatus:
        ignoring = self._slots.unresponsive()
        return status if not ignoring else attrs.evolve(status, unresponsive=ignoring)

    async def _write_again_later(self, error: StoreFailed) -> None:
        """The write left nothing behind: refuse the asks, rebuild, keep what the tasks said.

        Raises the error when the process is leaving and has tried for long enough.
        """
        batch, old = self._batch, self._machine
        for ask, _ in batch.answers:
            self._reply(ask, StoreFailed(error.message, written=False))
        self._slots.release(batch.starts)
        self._machine = await self._recall()
        self._machine.draining = batch.resumed_from or old.draining
        self._machine.interrupting = self._slots.stopped()
        self._machine.closing = self._closing_before
        # with an item to look at, runs whose start was not written get another chance
        self.inbox.put_first([*batch.inputs, Granted()])
        if self._retries >= len(RETRY_SECONDS) and self._must_leave():
            raise error
        pause = RETRY_SECONDS[min(self._retries, len(RETRY_SECONDS) - 1)]
        self._retries += 1
        await trio.sleep(pause)

    def _must_leave(self) -> bool:
        return (
            self._leaving_for_good
            or any(watch.expired for watch in self._drains)
            or any(isinstance(item, Leave) and item.final for item in self.inbox)
        )

    # ---- draining ----

    def _begin_drain(self, ask: Ask, command: commands.Drain) -> None:
        self._machine.status()  # raises for a session that is not there
        self._machine.draining = command.queued
        self._env.set_draining(self.session_id, command.queued)
        watch = DrainWatch(ask, command)
        self._drains.append(watch)
        self._timers.arm(command.timeout_seconds, watch)

    def _expire_drain(self, watch: DrainWatch) -> None:
        if watch in self._drains:
            watch.expired = True
            self._machine.draining = "keep"
            self._env.set_draining(self.session_id, "keep")
            self._batch.absorb(self._machine.interrupt_running())

    def _finish_drains(self) -> None:
        if not self._drains:
            return
        image = self._machine.image
        ignoring = frozenset(self._slots.unresponsive())
        for watch in list(self._drains):
            if watch.is_over(image, ignoring):
                self._end_drain(watch)

    def _end_drain(self, watch: DrainWatch) -> None:
        self._drains.remove(watch)
        self._timers.keep(partial(operator.is_not, watch))
        self._reply(watch.ask, watch.report(self._machine.image))
