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
from .completing import completed
from .drains import Drains, DrainWatch
from .errors import MoorageError, StoreFailed
from .execution import Execution, Output
from .inbox import Ask, Inbox
from .letters import append_answering
from .machine import SessionMachine
from .recall import recall_session
from .runs import RunState
from .sessions import SessionState, SessionStatus
from .slots import Slots
from .snapshots import SnapshotKeeper
from .steps import ArmTimer, AskSignal, RunEndedSignal
from .talk_decisions import ANSWER_TIMER, ASK_TIMER, question_of
from .turns import (
    Batch,
    Environment,
    Expiry,
    Granted,
    Keeper,
    Leave,
    Timers,
    Trimming,
)

if TYPE_CHECKING:
    from .ports import Claim
    from .steps import Effect

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""A batch takes no further items beyond this; the rest is the next one's."""
_NO_BATCH = Batch(0)
"""Stands where a batch is between two turns: an idle session must not hold its last one."""
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
        self._drains = Drains()
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
            if self._slots.grants or self._env.may_start(machine):
                self._slots.fill(machine, batch)
        if await self._commit():
            self._recovered = True
        self._batch = _NO_BATCH
        self._finish_drains()
        if (self._leaving or self._leaving_for_good) and self._deletion is None:
            self._leaving = not inbox and not batch.records and self._may_leave()
            if self._leaving and self._snapshots.due(leaving=True):
                await self._snapshots.save(self._owned(), self._machine.image)

    def _hands_on(self) -> bool:
        """Whether nothing runs and what is left is for other nodes."""
        busy = bool(self._slots.executions or self._drains)
        return not busy and self._env.leaves_to_others(self._machine)

    def _is_idle(self) -> bool:
        """Whether the session could leave memory: nothing runs, could run, or will fall due but
        the end of waits, which it is woken for."""
        slots = self._slots
        if slots.executions or slots.grants or self._drains or self._env.may_start(self._machine):
            return False
        if self._timers:
            self._timers.keep(self._still_wanted)
        return all(isinstance(i, Expiry) and i.kind == ANSWER_TIMER for i in self._timers)

    def _may_leave(self) -> bool:
        if self._leaving_for_good:
            return not self._slots.executions and not self._drains
        return self._is_idle() or self._hands_on()

    def _still_wanted(self, item: Any) -> bool:
        if not isinstance(item, Expiry):
            return True
        run = self._machine.image.runs.get(item.run_id)
        if run is None or run.starts != item.start:
            return False
        if item.kind.startswith(ASK_TIMER):
            return run.state is RunState.RUNNING and question_of(run, item.kind) is not None
        return (item.kind == ANSWER_TIMER) is (run.state is RunState.WAITING)

    def _take(self, item: Any) -> int:
        """Decide on one item; returns about how many bytes it adds to the batch."""
        kind = type(item)
        if isinstance(item, Execution):
            return self._take_from(item)
        if isinstance(item, Ask):
            if self.inbox.take(item):
                self._take_ask(item)
            return 256 + getattr(item.command, "size_bytes", 0)
        if isinstance(item, Output):
            self._take_output(item)
            return item.size
        if kind is RunEndedSignal:
            execution = self._slots.executions.get(item.run_id)
            size = 0 if execution is None else self._take_from(execution)
            self._batch.inputs.append(item)
            self._batch.absorb(self._machine.ended(item, self.time_ns()))
            return 256 + item.size_bytes + size  # type: ignore[no-any-return]
        if kind in (Expiry, AskSignal, DrainWatch):
            self._batch.inputs.append(item)
        if kind is Expiry:
            self._expire(item)
        elif kind is AskSignal:
            self._batch.absorb(self._machine.asked(item, self.time_ns()))
            return 256 + item.size_bytes  # type: ignore[no-any-return]
        elif kind is DrainWatch:
            self._expire_drain(item)
        elif isinstance(item, Leave):
            self._leaving = True
            self._leaving_for_good |= item.final
        return 256

    def _take_from(self, execution: Execution) -> int:
        if execution.keeps_output:
            return 0
        output = execution.take_output()
        if output.records and self._slots.executions.get(execution.run_id) is execution:
            self._take_output(output)
        return output.size

    def _take_output(self, output: Output) -> None:
        self._batch.inputs.append(output)
        self._batch.records += output.records
        self._machine.pass_over(len(output.records))
        for steer_id in output.told:
            step = self._machine.taken(output.execution.run_id, steer_id, self.time_ns())
            self._batch.absorb(step)

    def _take_ask(self, ask: Ask) -> None:
        self._taken[ask] = None
        command, machine = ask.command, self._machine
        try:
            if isinstance(command, commands.Drain):
                self._begin_drain(ask, command)
                return
            if isinstance(command, (commands.DeleteSession, commands.DeleteUnchanged)):
                machine.require_deletable(command)
                self._deletion, self._leaving = ask, True
                return
            answer: Any
            if isinstance(command, commands.Trim):
                answer = Trimming(machine.trim_point(command.before))
            else:
                was_draining = machine.draining
                step = machine.handle(completed(command, machine, self._slots), self.time_ns())
                if machine.draining is not was_draining:
                    self._batch.resumed_from = was_draining
                    self._batch.called_off += list(self._drains)
                self._batch.absorb(step)
                answer = step.answer
        except MoorageError as error:
            answer = error
        self._batch.answers.append((ask, answer))

    def _expire(self, expiry: Expiry) -> None:
        machine, now_ns = self._machine, self.time_ns()
        run_id, kind, start = expiry
        if kind == ANSWER_TIMER or kind.startswith(ASK_TIMER):
            self._batch.absorb(machine.answer_expired(run_id, kind, start, now_ns))
            return
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
            if execution.asks:
                left = limit or 0.0  # it is the one who has to answer that is silent
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
                info = self._machine.image.info() if batch.events else None
                await append_answering(self._store, self._owned(), batch, info)
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
        self._drains.note(batch.events)
        self._env.recent.note(self.session_id, batch)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, ArmTimer):
            self._timers.keep_now_and_then(self._still_wanted)
            self._timers.arm(effect.seconds, Expiry(effect.run_id, effect.kind, effect.start))
        else:
            self._slots.perform(effect, self._machine.image, self._keeper.start_soon)

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
            or self._drains.any_expired()
            or any(isinstance(item, Leave) and item.final for item in self.inbox)
        )

    # ---- draining ----

    def _begin_drain(self, ask: Ask, command: commands.Drain) -> None:
        self._machine.status()  # raises for a session that is not there
        self._machine.draining = command.queued
        self._env.set_draining(self.session_id, command.queued)
        self._timers.arm(command.timeout_seconds, self._drains.begin(ask, command))

    def _expire_drain(self, watch: DrainWatch) -> None:
        if watch in self._drains:
            watch.expired = True
            self._machine.draining = "keep"
            self._env.set_draining(self.session_id, "keep")
            self._batch.absorb(self._machine.interrupt_running())

    def _finish_drains(self) -> None:
        if self._drains:
            for watch in self._drains.over(self._machine.image, self._slots.unresponsive()):
                self._end_drain(watch)

    def _end_drain(self, watch: DrainWatch) -> None:
        self._drains.remove(watch)
        self._timers.keep(partial(operator.is_not, watch))
        self._reply(watch.ask, watch.report(self._machine.image))
