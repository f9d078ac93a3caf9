"""A session's slots: the tasks that execute its runs, and the shared permits they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .agents import Steer
from .codec import copy_plain
from .execution import Execution
from .runs import RunRequest
from .steps import GiveAnswer, OfferSteer, StartRun, StopRun
from .turns import Granted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .execution import Host
    from .image import RunRecord, SessionImage
    from .machine import SessionMachine
    from .steps import Effect, RunEndedSignal
    from .turns import Batch, Environment


class Slots:
    """Runs in execution. A permit is held from before run_started until the task has ended."""

    def __init__(self, host: Host, environment: Environment) -> None:
        self.executions: dict[str, Execution] = {}
        self.grants = 0
        self._host = host
        self._env = environment
        self._permits = environment.permits
        self._held = 0
        self._newest: Execution | None = None
        self.tasks = 0
        """Tasks that have not ended; a run's task outlives its durable end by a moment."""
        self._tasks_ended: trio.Event | None = None

    def granted(self) -> None:
        """RunPermits: a permit is ours. Only counted here; the next turn uses it."""
        self._held += 1
        self.grants += 1
        self._host.inbox.put(Granted())

    def fill(self, machine: SessionMachine, batch: Batch) -> None:
        """Start what may start; stand in line for the rest, give back what is left over."""
        now_ns = self._host.time_ns()
        while self._env.may_start(machine):
            name = machine.next_run().agent
            if self._env.agents(name) is None:
                problem = {
                    "code": "agent_unknown",
                    "message": f"no agent named {name!r} is configured in this process",
                }
                batch.absorb(machine.reject(problem, now_ns))
                continue
            if self.grants:
                self.grants -= 1
            elif self._permits.try_acquire():
                self._held += 1
            else:
                self._permits.stand_in_line(self)
                return
            batch.starts += 1
            batch.absorb(machine.start(now_ns))
        self._permits.leave_line(self)
        self.release(self.grants)
        self.grants = 0

    def _start(self, session_id: str, run: RunRecord, start_soon: Callable[..., None]) -> None:
        """Execute a run in a task of its own."""
        agent = self._env.agents(run.agent)
        assert agent is not None, "looked up before the run was given its slot"
        request = RunRequest(
            input=copy_plain(run.input),
            session_id=session_id,
            run_id=run.run_id,
            agent=run.agent,
            attempt=run.attempt,
            key=run.key,
            answers=copy_plain(run.answers) if run.answers else {},
            metadata=copy_plain(run.metadata) if run.metadata else run.metadata,
            submitted_at_ns=run.submitted_at_ns,
        )
        execution = Execution(
            self._host, agent, request, behind=self._newest, session_of=self._env.session_of
        )
        for steer_id, message in run.steers.items():
            execution.steering.offer(Steer(steer_id, copy_plain(message)))
        self.executions[run.run_id] = self._newest = execution
        self.tasks += 1
        start_soon(self._execute, execution, name=f"moorage run {run.run_id}")

    async def _execute(self, execution: Execution) -> None:
        try:
            await execution.run()
        finally:
            self.tasks -= 1
            if self._newest is execution:
                self._newest = None  # it holds what the run was asked
            if self._tasks_ended is not None and not self.tasks:
                self._tasks_ended.set()
                self._host.inbox.put(Granted())

    def steerable(self, run_id: str) -> bool:
        """Whether the run's agent takes messages on its way."""
        execution = self.executions.get(run_id)
        return execution is not None and execution.steering.accepts

    def perform(self, effect: Effect, image: SessionImage, start_soon: Callable[..., None]) -> None:
        """Do to a run's task what was decided, now that it is durable. A task that was asked to
        stop keeps its slot until it has ended."""
        if isinstance(effect, StartRun):
            self._start(image.session_id, image.runs[effect.run_id], start_soon)
            return
        execution = self.executions.get(effect.run_id)
        if execution is None:
            return
        if isinstance(effect, StopRun):
            execution.scope.cancel()
        elif isinstance(effect, GiveAnswer):
            execution.answered(effect.name, effect.value)
        elif isinstance(effect, OfferSteer):
            execution.steering.offer(Steer(effect.steer_id, copy_plain(effect.message)))

    def ended(self, signal: RunEndedSignal) -> None:
        """The end of a task is durable: its permit is free."""
        execution = self.executions.get(signal.run_id)
        if execution is not None and execution.attempt == signal.attempt:
            del self.executions[signal.run_id]
            self.release(1)

    def stopped(self) -> set[str]:
        """Runs whose task was asked to stop and has not ended durably."""
        return {run_id for run_id, run in self.executions.items() if run.scope.cancel_called}

    def unresponsive(self) -> tuple[str, ...]:
        return tuple(run_id for run_id, run in self.executions.items() if run.unresponsive)

    def release(self, count: int) -> None:
        for _ in range(count):
            self._held -= 1
            self._permits.release()

    def abandon(self) -> None:
        """Cancel every task; nothing they still do is recorded, and nothing more will start."""
        for execution in self.executions.values():
            execution.abandon()
        self._permits.leave_line(self)
        self.release(self.grants)
        self.grants = 0

    async def wait_ended(self) -> None:
        """Return when every task has ended. Should that be later than anybody waits for it here,
        the last one's end puts an item into the inbox."""
        if self.tasks:
            self._tasks_ended = trio.Event()
            await self._tasks_ended.wait()

    def give_everything_back(self) -> None:
        """All tasks have ended."""
        self.executions.clear()
        self._newest = None
        self.grants = 0
        self._permits.leave_line(self)
        self.release(self._held)
