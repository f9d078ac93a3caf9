"""One run's task: it calls the agent, and it is the RunContext that the agent sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog
import trio

from .agents import to_await
from .arguments import check_seconds
from .codec import copy_plain, encode_emitted, private_copy
from .current import run_in_context
from .errors import BufferFull, InvalidArgument, RecordTooLarge, RunEnded, WrongProcess
from .identifiers import check_name
from .overrides import overrides_in_context, overrides_of
from .own_process import OwnProcess, told_of_forks
from .problems import problem_of
from .raised import meant_for_all, told_traceback
from .runs import added_usage
from .steering import Steering
from .steps import AskSignal, RunEndedSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .agents import Agent, RunSession, Steer
    from .events import Data
    from .inbox import Inbox
    from .limits import SupervisorLimits
    from .moorage_error import MoorageError
    from .ports import Record
    from .runs import RunRequest

logger = structlog.get_logger("moorage")

CALLS_PER_CHECKPOINT = 64
USAGE_BYTES_MAX = 65_536


class Output(NamedTuple):
    """Events that an execution emitted, taken by the worker; ``told`` are the ids of the messages
    among them that the run was steered with."""

    execution: Execution
    records: list[Record]
    size: int
    told: tuple[str, ...] = ()


class Host(Protocol):
    """What an execution needs from its worker."""

    @property
    def inbox(self) -> Inbox: ...
    @property
    def limits(self) -> SupervisorLimits: ...
    @property
    def time_ns(self) -> Callable[[], int]: ...


class Execution:
    """Executes one attempt of one run.

    Emitted events collect in ``out``; the first one since the worker last looked puts this object
    into the inbox, so that a burst of events costs the worker one item.
    """

    def __init__(
        self,
        host: Host,
        agent: Agent,
        request: RunRequest,
        *,
        session_of: Callable[[str], RunSession],
        behind: Execution | None = None,
    ) -> None:
        """The agent is not called before that of ``behind`` has been, whatever order trio runs
        their tasks in."""
        self.request = request
        self.scope = trio.CancelScope()
        self.out: list[Record] = []
        self.out_bytes = 0
        self.last_emit_at = trio.current_time()
        self.unresponsive = False
        self._host = host
        self._agent = agent
        self._emitted_bytes = 0
        self._settled_bytes = 0
        self._calls = 0
        self._ended = False
        self._begun = False
        told_of_forks(self)
        self._behind = None if behind is None or behind._begun else behind
        self._session_of = session_of
        self._parked: dict[str, Any] | None = None
        self._questions: dict[str, trio.Event] = {}
        self.steering = Steering()
        self._usage: dict[str, Any] = {}
        self._room: trio.lowlevel.ParkingLot | None = None
        self._metadata: Mapping[str, Any] = request.metadata or {}
        self._stamp = host.time_ns
        self._process = OwnProcess()
        self._bytes_max = host.limits.record_bytes_max
        self._ahead_bytes_max = host.limits.emit_ahead_bytes_max

    # ---- the agent's side ----

    @property
    def session_id(self) -> str:
        return self.request.session_id

    @property
    def run_id(self) -> str:
        return self.request.run_id

    @property
    def attempt(self) -> int:
        return self.request.attempt

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self._metadata

    @property
    def limits(self) -> SupervisorLimits:
        return self._host.limits

    @property
    def session(self) -> RunSession:
        return self._session_of(self.request.session_id)

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._put(type, data, time_ns, metadata)
        self._calls += 1
        if self._emitted_bytes - self._settled_bytes > self._ahead_bytes_max:
            await self._wait_settled(self._emitted_bytes - self._ahead_bytes_max)
        elif self._calls >= CALLS_PER_CHECKPOINT:
            self._calls = 0
            await trio.lowlevel.checkpoint()

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        ahead = self._emitted_bytes - self._settled_bytes
        if ahead > self._ahead_bytes_max:
            raise BufferFull(
                "emit_ahead_bytes_max",
                used=ahead,
                limit=self._ahead_bytes_max,
                remedy="await emit() or flush(), which wait for the log",
            )
        self._put(type, data, time_ns, metadata)

    async def flush(self) -> None:
        if self._ended:
            raise self._over()
        await self._wait_settled(self._emitted_bytes)

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        if self._ended:
            raise self._over()
        if name in self.request.answers:
            await trio.lowlevel.checkpoint()
            return self.request.answers[name]
        self._parked = self._question("name to park under", name, data, timeout_seconds, default)
        self.scope.cancel()
        return await trio.sleep_forever()

    async def ask(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        if self._ended:
            raise self._over()
        if name not in self.request.answers:
            question = self._question("name to ask under", name, data, timeout_seconds, default)
            if name in self._questions:
                raise InvalidArgument(f"run {self.run_id} asks for {name!r} already: wait for it")
            answered = self._questions[name] = trio.Event()
            self._host.inbox.put(
                AskSignal(self.run_id, self.attempt, question.pop("name"), **question)
            )
            try:
                await answered.wait()
            finally:
                self._questions.pop(name, None)
        await trio.lowlevel.checkpoint()
        return self.request.answers[name]

    def _question(
        self, what: str, name: str, data: Data, timeout_seconds: float | None, default: Data
    ) -> dict[str, Any]:
        """Check and copy what ``park`` and ``ask`` were given."""
        check_name(what, name)
        copy, size = private_copy(data, "data", bytes_max=self._bytes_max)
        otherwise, more = private_copy(default, "default", bytes_max=self._bytes_max)
        if size + more > self._bytes_max:
            raise RecordTooLarge("data and default", size=size + more, limit=self._bytes_max)
        return {
            "name": name,
            "data": copy,
            "timeout_seconds": check_seconds("timeout_seconds", timeout_seconds),
            "default": otherwise,
            "size_bytes": size + more,
        }

    def become_copy(self) -> None:
        self._ended = True  # what it emits in a fork would be lost: nobody is there to record it

    def _over(self) -> MoorageError:
        return RunEnded(self.run_id) if self._process.is_this else WrongProcess(self._process.pid)

    def accept_steers(self) -> None:
        self.steering.accepts = True

    def take_steers(self) -> list[Steer]:
        return [] if self._ended else self.steering.take()

    async def wait_steer(self) -> None:
        await self.steering.wait()

    def _put(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        if self._ended:
            raise self._over()
        if time_ns is None:
            time_ns = self._stamp()
        record = encode_emitted(
            time_ns, type, self.request.run_id, data, metadata, bytes_max=self._bytes_max
        )
        if type == "token_usage_updated":
            self._count_usage(data)
        elif type == "message_sent":
            self.steering.note_sent(data)
        if not self.out:
            self._host.inbox.put(self)
        self.out.append(record)
        size = len(record.body)
        self.out_bytes += size
        self._emitted_bytes += size

    def _count_usage(self, data: Data) -> None:
        if isinstance(data, dict):
            self._usage = added_usage(self._usage, data)

    def _begin(self) -> None:
        """Let those behind go; they run when the agent has come to its first checkpoint."""
        self._begun = True
        self._behind = None
        self.settled(0)

    async def _wait_begun(self) -> None:
        while not self._begun:
            await self._park()

    async def _wait_settled(self, size: int) -> None:
        """Wait until so many bytes, counted from the run's start, are durable."""
        await trio.lowlevel.checkpoint()
        if self._parked is not None:
            self._host.inbox.put(self)  # what was kept for the end is wanted now
        while self._settled_bytes < size:
            if self._ended:
                raise self._over()
            await self._park()

    async def _park(self) -> None:
        if self._room is None:
            self._room = trio.lowlevel.ParkingLot()
        await self._room.park()

    # ---- the worker's side ----

    @property
    def keeps_output(self) -> bool:
        """Whether what was emitted is to become durable together with the run's wait, so that
        whoever sees it can answer: the agent has parked, and its task is about to end."""
        waited_for = self._room is not None and len(self._room) > 0
        return self._parked is not None and not self._ended and not waited_for

    def take_output(self) -> Output:
        """What was emitted since the last call."""
        output = Output(self, self.out, self.out_bytes, self.steering.newly_told())
        self.out, self.out_bytes = [], 0
        if output.records:
            self.last_emit_at = trio.current_time()
        return output

    def settled(self, size: int) -> None:
        """``size`` bytes of events are durable."""
        self._settled_bytes += size
        if self._room is not None:
            self._room.unpark_all()

    @property
    def asks(self) -> bool:
        """Whether the agent waits for an answer."""
        return bool(self._questions)

    def answered(self, name: str, value: Data) -> None:
        """An answer is durable. It is kept for an agent that gave up waiting and asks again."""
        self.request.answers[name] = copy_plain(value)
        question = self._questions.get(name)
        if question is not None:
            question.set()

    async def run(self) -> None:
        """Execute the agent; puts a RunEndedSignal into the inbox when its task has ended."""
        request = self.request
        signal: dict[str, Any] = {"how": "stopped"}
        # the task has a context of its own, so nothing needs to be unbound
        structlog.contextvars.bind_contextvars(session_id=request.session_id, run_id=request.run_id)
        run_in_context.set(self)
        overrides_in_context.set(overrides_of(request.metadata))
        try:
            with self.scope:
                if self._behind is not None:
                    await self._behind._wait_begun()
                self._begin()
                output = await to_await(self._agent(request, self))
                self._process.end_fork()
                signal = self._returned(output)
        except BaseException as error:
            self._process.end_fork(error)
            passing = meant_for_all(error)
            if passing is error:
                raise
            if passing is not None:
                raise passing from None
            problem = problem_of(error)
            signal = {"how": "raised", "problem": problem}
            if problem["code"] == "agent_failed" and not self._ended:
                # Without a code of its own it is not how the agent says that it failed, and the
                # event says what but not where. As text: see residents.py.
                logger.warning("agent_raised", traceback=told_traceback(error))
        self._begin()
        self._ended = True
        if self._parked is not None:
            parked = self._parked
            signal = {"how": "parked", "output": parked.pop("data"), **parked}
        usage, untold = self._usage_to_record(), self.steering.untold
        self._host.inbox.put(
            RunEndedSignal(request.run_id, request.attempt, usage=usage, untold=untold, **signal)
        )

    def _usage_to_record(self) -> dict[str, Any] | None:
        """The sums, unless they have grown out of what can be recorded."""
        if not self._usage:
            return None
        try:
            copy, _ = private_copy(self._usage, "usage", bytes_max=USAGE_BYTES_MAX)
        except InvalidArgument as error:
            logger.warning("usage_not_recorded", reason=str(error))
            return None
        return copy  # type: ignore[no-any-return]

    def _returned(self, output: object) -> dict[str, Any]:
        try:
            copy, size = private_copy(output, "output", bytes_max=self._bytes_max)
        except InvalidArgument as error:
            return {"how": "raised", "problem": problem_of(error, code="output_invalid")}
        return {"how": "returned", "output": copy, "size_bytes": size}

    def abandon(self) -> None:
        """The worker is gone: nothing that the agent still does is recorded."""
        self._ended = True
        self.settled(0)
        self.scope.cancel()
