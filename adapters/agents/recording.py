"""RecordingContext: a run's context without a supervisor, for testing an agent by itself.

::

    context = RecordingContext()
    ended = await execute(agent, context.request({"messages": []}), context)
    assert ended.state is RunState.COMPLETED
    assert [event.type for event in context.events] == ["message_streamed"]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.agents import Steer
from moorage.runtime.codec import decode_event, encode_emitted, private_copy
from moorage.runtime.errors import BufferFull, InvalidArgument, RunEnded
from moorage.runtime.events import Data, Event
from moorage.runtime.identifiers import check_name
from moorage.runtime.limits import MEBIBYTE, SupervisorLimits
from moorage.runtime.runs import RunRequest, RunState

from .recording_session import RecordingSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moorage.runtime.agents import Agent, RunContext

CALLS_PER_CHECKPOINT = 64


@attrs.frozen
class Ended:
    """How ``execute`` saw an agent end: COMPLETED with ``output``, FAILED with ``error``,
    CANCELLED, or WAITING with ``parked`` (name, data)."""

    state: RunState
    output: Any = None
    error: Exception | None = None
    parked: tuple[str, Data] | None = None


class RecordingContext:
    """A RunContext that keeps events in memory and is as strict as the real one.

    ``refused`` has what was refused, as (type, error), also if the agent ignored the error.
    ``late`` counts what was emitted after ``end``. While the log is held (``hold_log``) nothing
    becomes durable, so that ``emit`` waits beyond ``emit_ahead_bytes_max``.

    ``history`` is what the session's log has from before this run, ``session_metadata`` what is
    recorded about the session: with those of another context a conversation goes on.
    """

    def __init__(
        self,
        *,
        session_id: str = "session",
        run_id: str = "run",
        attempt: int = 1,
        metadata: Mapping[str, Any] | None = None,
        answers: Mapping[str, Data] | None = None,
        record_bytes_max: int = 16 * MEBIBYTE,
        emit_ahead_bytes_max: int = 4 * MEBIBYTE,
        history: Iterable[Event] = (),
        session_metadata: dict[str, Any] | None = None,
    ) -> None:
        self.session_id = session_id
        self.run_id = run_id
        self.attempt = attempt
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self.events: list[Event] = list(history)
        self._history = len(self.events)
        self.refused: list[tuple[object, Exception]] = []
        self.late = 0
        self.parked: tuple[str, Data] | None = None
        self.asked: dict[str, Data] = {}
        """What ``ask`` was given and nobody has answered, by name."""
        self.session = RecordingSession(session_id, self, metadata=session_metadata)
        self._answers = dict(answers or {})
        self.steers_taken: list[Steer] = []
        self._steerable = False
        self._steers: list[Steer] = []
        self._record_bytes_max = record_bytes_max
        self._emit_ahead_bytes_max = emit_ahead_bytes_max
        self._scope = trio.CancelScope()
        self._ended = False
        self._held = False
        self._ahead_bytes = 0
        self._calls = 0
        self._room = trio.lowlevel.ParkingLot()
        self._watchers = trio.lowlevel.ParkingLot()

    @property
    def limits(self) -> SupervisorLimits:
        return SupervisorLimits(emit_ahead_bytes_max=max(1_024, self._emit_ahead_bytes_max))

    def request(self, input: Data = None, **fields: Any) -> RunRequest:
        """A request for this context's run; ``fields`` are others of RunRequest."""
        return RunRequest(
            input=input,
            session_id=self.session_id,
            run_id=self.run_id,
            attempt=self.attempt,
            answers=dict(self._answers),
            metadata=dict(self.metadata),
            **fields,
        )

    def deltas(self) -> str:
        """Everything streamed by message_streamed events, joined."""
        return "".join(e.data["delta"] for e in self.events if e.type == "message_streamed")

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._record(type, data, time_ns, metadata)
        self._calls += 1
        if self._ahead_bytes > self._emit_ahead_bytes_max:
            await self._wait_log()
        elif self._calls % CALLS_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if self._ahead_bytes > self._emit_ahead_bytes_max:
            raise BufferFull(
                "emit_ahead_bytes_max",
                used=self._ahead_bytes,
                limit=self._emit_ahead_bytes_max,
                remedy="await emit() or flush(), which wait for the log",
            )
        self._record(type, data, time_ns, metadata)

    async def flush(self) -> None:
        if self._ended:
            raise RunEnded(self.run_id)
        await trio.lowlevel.checkpoint()
        if self._ahead_bytes:
            await self._wait_log()

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        if self._ended:
            raise RunEnded(self.run_id)
        if name in self._answers:
            await trio.lowlevel.checkpoint()
            return self._answers[name]
        check_name("name to park under", name)
        copy, _ = private_copy(data, "parked data", bytes_max=self._record_bytes_max)
        private_copy(default, "default", bytes_max=self._record_bytes_max)
        self.parked = (name, copy)
        self._scope.cancel()
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
            raise RunEnded(self.run_id)
        if name in self.asked:
            raise InvalidArgument(f"run {self.run_id} asks for {name!r} already: wait for it")
        if name not in self._answers:
            check_name("name to ask under", name)
            copy, _ = private_copy(data, "data", bytes_max=self._record_bytes_max)
            otherwise, _ = private_copy(default, "default", bytes_max=self._record_bytes_max)
            self.asked[name] = copy
            self._watchers.unpark_all()
            seconds = math.inf if timeout_seconds is None else timeout_seconds
            try:
                with trio.move_on_after(seconds) as limit:
                    while name not in self._answers:
                        await self._watchers.park()
                if limit.cancelled_caught:
                    self._answers.setdefault(name, otherwise)
            finally:
                del self.asked[name]
        await trio.lowlevel.checkpoint()
        return self._answers[name]

    def answer(self, name: str, value: Data) -> bool:
        """Answer what the agent asks for under ``name``. False if it does not."""
        if name not in self.asked or name in self._answers:
            return False
        self._answers[name] = value
        self._watchers.unpark_all()
        return True

    async def wait_asked(self, name: str | None = None) -> str:
        """Wait until the agent asks something, or this; returns the name. Raises RunEnded if it
        ends without."""
        while not self.asked or (name is not None and name not in self.asked):
            if self._ended:
                raise RunEnded(self.run_id)
            await self._watchers.park()
        return next(iter(self.asked)) if name is None else name

    def accept_steers(self) -> None:
        self._steerable = True

    def steer(self, message: Data, *, id: str | None = None) -> bool:
        """Offer the agent a message. False if it accepts none (any more)."""
        if self._ended or not self._steerable:
            return False
        copy, _ = private_copy(message, "message", bytes_max=self._record_bytes_max)
        self._steers.append(
            Steer(id or f"steer-{len(self.steers_taken) + len(self._steers)}", copy)
        )
        self._watchers.unpark_all()
        return True

    def take_steers(self) -> list[Steer]:
        taken, self._steers = ([], []) if self._ended else (self._steers, [])
        self.steers_taken += taken
        return taken

    async def wait_steer(self) -> None:
        while not self._steers:
            await self._watchers.park()
        await trio.lowlevel.checkpoint()

    def hold_log(self) -> None:
        """From now on nothing becomes durable."""
        self._held = True

    def release_log(self) -> None:
        """Make everything durable, and go on doing so."""
        self._held = False
        self._ahead_bytes = 0
        self._room.unpark_all()

    async def wait_blocked(self) -> None:
        """Wait until an ``emit`` or ``flush`` waits for the held log."""
        while not len(self._room):
            await self._watchers.park()

    async def wait_events(self, count: int = 1) -> None:
        """Wait until that many events were recorded, or the run has ended."""
        while len(self.events) - self._history < count and not self._ended:
            await self._watchers.park()

    async def wait_ended(self) -> None:
        """Wait until the run has ended."""
        while not self._ended:
            await self._watchers.park()

    @property
    def ended(self) -> bool:
        return self._ended

    def cancel(self) -> None:
        """Cancel the run, as its session would; ``execute`` tells when it has ended."""
        self._scope.cancel()

    def end(self) -> None:
        """The run has ended: from now on ``emit`` raises RunEnded."""
        self._ended = True
        self._watchers.unpark_all()

    def _record(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        if self._ended:
            self.late += 1
            raise RunEnded(self.run_id)
        if time_ns is None:
            time_ns = int(trio.current_time() * 1e9)
        try:
            record = encode_emitted(
                time_ns, type, self.run_id, data, metadata, bytes_max=self._record_bytes_max
            )
        except InvalidArgument as error:
            self.refused.append((type, error))
            raise
        self.events.append(decode_event(self.session_id, len(self.events) + 1, record.body))
        if self._held:
            self._ahead_bytes += len(record.body)
        self._watchers.unpark_all()

    async def _wait_log(self) -> None:
        while self._held and self._ahead_bytes:
            self._watchers.unpark_all()
            await self._room.park()


async def execute(agent: Agent, request: RunRequest, context: RecordingContext) -> Ended:
    """Run the agent to its end, as a worker would, and end the context.

    A cancellation from outside passes through once the agent has ended. An exception that is no
    Exception (KeyboardInterrupt, SystemExit) passes through too.
    """
    output, error = None, None
    with context._scope as scope:
        try:
            output = await agent(request, context)
        except Exception as raised:
            error = raised
        finally:
            context.end()
    if context.parked is not None and scope.cancelled_caught:
        return Ended(RunState.WAITING, parked=context.parked)
    if scope.cancelled_caught:
        return Ended(RunState.CANCELLED)
    if error is not None:
        return Ended(RunState.FAILED, error=error)
    return Ended(RunState.COMPLETED, output=output)


def _is_run_context(context: RecordingContext) -> RunContext:
    return context  # checked by mypy: the recording context is a RunContext
