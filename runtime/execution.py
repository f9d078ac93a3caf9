"""One run's task: it calls the agent, and it is the RunContext that the agent sees."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio

from .codec import check_plain, encode_emitted, pack, private_copy
from .errors import BufferFull, InvalidArgument, RunEnded
from .identifiers import check_name
from .steps import RunEndedSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .agents import Agent
    from .events import Data
    from .inbox import Inbox
    from .limits import SupervisorLimits
    from .ports import Record
    from .runs import RunRequest

logger = structlog.get_logger("moorage")

CALLS_PER_CHECKPOINT = 64
MESSAGE_CHARS_MAX = 4_096
"""Longest error message that is recorded; agents put whole outputs into exceptions."""
CODE_CHARS_MAX = 256
TRACEBACK_CHARS_MAX = 16_384
"""Most that is logged of the traceback of an agent that raised: its end."""
DETAILS_BYTES_MAX = 65_536
USAGE_BYTES_MAX = 65_536


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
        self, host: Host, agent: Agent, request: RunRequest, *, behind: Execution | None = None
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
        self._behind = None if behind is None or behind._begun else behind
        self._parked: tuple[str, Data] | None = None
        self._usage: dict[str, Any] = {}
        self._room: trio.lowlevel.ParkingLot | None = None
        self._metadata: Mapping[str, Any] = request.metadata or {}
        self._stamp = host.time_ns
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
            raise RunEnded(self.run_id)
        await self._wait_settled(self._emitted_bytes)

    async def park(self, name: str, data: Data = None) -> Data:
        if self._ended:
            raise RunEnded(self.run_id)
        if name in self.request.answers:
            await trio.lowlevel.checkpoint()
            return self.request.answers[name]
        check_name("name to park under", name)
        copy, _ = private_copy(data, "parked data", bytes_max=self._bytes_max)
        self._parked = (name, copy)
        self.scope.cancel()
        return await trio.sleep_forever()

    def _put(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        if self._ended:
            raise RunEnded(self.run_id)
        if time_ns is None:
            time_ns = self._stamp()
        record = encode_emitted(
            time_ns, type, self.request.run_id, data, metadata, bytes_max=self._bytes_max
        )
        if type == "token_usage_updated":
            self._count_usage(data)
        if not self.out:
            self._host.inbox.put(self)
        self.out.append(record)
        size = len(record.body)
        self.out_bytes += size
        self._emitted_bytes += size

    def _count_usage(self, data: Data) -> None:
        for name, value in data.items() if isinstance(data, dict) else ():
            before = self._usage.get(name, 0)
            if type(value) in _NUMBERS and type(before) in _NUMBERS:
                self._usage[name] = before + value
            else:
                self._usage[name] = value

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
        while self._settled_bytes < size:
            if self._ended:
                raise RunEnded(self.run_id)
            await self._park()

    async def _park(self) -> None:
        if self._room is None:
            self._room = trio.lowlevel.ParkingLot()
        await self._room.park()

    # ---- the worker's side ----

    def take_output(self) -> tuple[list[Record], int]:
        """The events emitted since the last call, and their bytes."""
        out, size = self.out, self.out_bytes
        self.out, self.out_bytes = [], 0
        if out:
            self.last_emit_at = trio.current_time()
        return out, size

    def settled(self, size: int) -> None:
        """``size`` bytes of events are durable."""
        self._settled_bytes += size
        if self._room is not None:
            self._room.unpark_all()

    async def run(self) -> None:
        """Execute the agent; puts a RunEndedSignal into the inbox when its task has ended."""
        request = self.request
        signal: dict[str, Any] = {"how": "stopped"}
        # the task has a context of its own, so nothing needs to be unbound
        structlog.contextvars.bind_contextvars(session_id=request.session_id, run_id=request.run_id)
        try:
            with self.scope:
                if self._behind is not None:
                    await self._behind._wait_begun()
                self._begin()
                output = await self._agent(request, self)
                signal = self._returned(output)
        except BaseException as error:
            passing = _no_failure_in(error)
            if passing is error:
                raise
            if passing is not None:
                raise passing from None
            problem = problem_of(error)
            signal = {"how": "raised", "problem": problem}
            if problem["code"] == "agent_failed" and not self._ended:
                # Without a code of its own it is not how the agent says that it failed, and the
                # event says what but not where. As text: see residents.py.
                trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]
                logger.warning("agent_raised", traceback=trace)
        self._begin()
        self._ended = True
        if self._parked is not None:
            name, data = self._parked
            signal = {"how": "parked", "name": name, "output": data}
        self._host.inbox.put(
            RunEndedSignal(request.run_id, request.attempt, usage=self._usage_to_record(), **signal)
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


_NUMBERS = (int, float)


def _no_failure_in(error: BaseException) -> BaseException | None:
    """What an exception is, or has in its group, that is meant for the whole program. The rest of
    such a group is the agent's matter: trio would make it everybody's."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((KeyboardInterrupt, trio.Cancelled))
    return error if isinstance(error, (KeyboardInterrupt, trio.Cancelled)) else None


def problem_of(error: BaseException, *, code: str | None = None) -> dict[str, Any]:
    """Describe an exception as an event's ``error``; takes code, retryable and details from the
    exception's attributes where they are fit to be recorded."""
    own_code = None if isinstance(error, SystemExit) else _fact(error, "code")
    if isinstance(own_code, str) and own_code:
        code = code or _encodable(own_code)[:CODE_CHARS_MAX]
    try:
        message = str(error)
    except Exception:
        message = "(the exception's message cannot be made)"
    problem: dict[str, Any] = {
        "code": code or ("agent_exited" if isinstance(error, SystemExit) else "agent_failed"),
        "message": _encodable(message)[:MESSAGE_CHARS_MAX],
        "type": _encodable(type(error).__qualname__),
        "retryable": _fact(error, "retryable") is True,
    }
    details = _fact(error, "details")
    if details is not None:
        try:
            check_plain(details)
            if len(pack(details)) <= DETAILS_BYTES_MAX:
                problem["details"] = details
        except InvalidArgument:
            pass
    return problem


def _fact(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # a property of somebody else's class may do anything
        return None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
