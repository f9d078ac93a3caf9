"""ScriptedAgent: an agent that does exactly what it is told, for tests and demonstrations.

::

    agent = ScriptedAgent([Say("Hello world"), Wait(2), Emit("turn_completed", {}), Return("done")])

A script is a sequence of steps, or a function of the RunRequest that returns one. The steps are
data; each run goes through them once, from the first, whatever other runs do. Time is trio's, so
under ``trio.testing.MockClock`` nothing really waits.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import trio
from moorage.runtime.agents import RunContext
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import Data
from moorage.runtime.runs import RunRequest


class Gate(Protocol):
    """What WaitFor waits for, such as a trio.Event."""

    async def wait(self) -> object: ...


class Settable(Protocol):
    """What Signal sets, such as a trio.Event."""

    def set(self) -> object: ...


def _check_seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) not in (int, float) or math.isnan(value) or value < 0:
        raise InvalidArgument(f"{attribute.name} must be a number of at least 0, not {value!r}")


def _check_count(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InvalidArgument(
            f"{attribute.name} must be a whole number of at least 1, not {value!r}"
        )


def _check_text(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not str:
        raise InvalidArgument(f"{attribute.name} must be a str, not {value!r}")


def _check_error(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, trio.Cancelled) or not (value is None or isinstance(value, BaseException)):
        raise InvalidArgument(f"{attribute.name} must be an exception to raise, not {value!r}")


def _has(method: str, what: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not callable(getattr(value, method, None)):
            raise InvalidArgument(f"{attribute.name} must be {what}, not {value!r}")

    return check


@attrs.frozen
class Say:
    """Stream ``text`` as ``message_streamed`` events, one per word, ``seconds_between`` apart.

    What was said is the run's output, ``{"content": text}``, unless the script returns another.
    """

    text: str = attrs.field(validator=_check_text)
    seconds_between: float = attrs.field(default=0, kw_only=True, validator=_check_seconds)

    def deltas(self) -> list[str]:
        """The words, each with the white space behind it; joined they are the text."""
        words: list[str] = []
        for character in self.text:
            if not words or (not character.isspace() and words[-1][-1].isspace()):
                words.append(character)
            else:
                words[-1] += character
        return words


@attrs.frozen
class Emit:
    """Emit any event; what the context refuses fails the run as it would for a real agent."""

    type: str
    data: Data = None
    metadata: dict[str, Any] | None = attrs.field(default=None, kw_only=True)
    count: int = attrs.field(default=1, kw_only=True, validator=_check_count)


@attrs.frozen
class Flush:
    """Wait until everything emitted so far is durable."""


@attrs.frozen
class Wait:
    """Wait on trio's clock."""

    seconds: float = attrs.field(validator=_check_seconds)


@attrs.frozen
class WaitFor:
    """Wait for a gate that the test holds, such as a trio.Event."""

    gate: Gate = attrs.field(validator=_has("wait", "something to wait for, as a trio.Event"))


@attrs.frozen
class Signal:
    """Tell the test that the run has come this far, by setting a trio.Event."""

    event: Settable = attrs.field(validator=_has("set", "something to set, as a trio.Event"))


@attrs.frozen
class IgnoreCancel:
    """Wait, and ignore cancellation until the time is over."""

    seconds: float = attrs.field(validator=_check_seconds)


@attrs.frozen
class Call:
    """Await ``function(request, context)``, for what no other step does."""

    function: Callable[[RunRequest, RunContext], Awaitable[object]] = attrs.field(
        validator=_has("__call__", "an async function of the request and the context")
    )


@attrs.frozen
class Park:
    """Leave the run waiting for an answer. The answered run goes through the script again."""

    name: str = attrs.field(validator=_check_text)
    data: Data = None


@attrs.frozen
class Return:
    """End the run with ``value``, or with what the function ``value`` makes of the request."""

    value: Data | Callable[[RunRequest], Data] = None


@attrs.frozen
class Echo:
    """End the run with its own input as output."""


@attrs.frozen
class Fail:
    """End the run by raising ``error``, or a ScriptFailed of the given facts."""

    error: BaseException | None = attrs.field(default=None, validator=_check_error)
    message: str = attrs.field(default="the script says so", kw_only=True, validator=_check_text)
    code: str = attrs.field(default="script_failed", kw_only=True, validator=_check_text)
    retryable: bool = attrs.field(default=False, kw_only=True)
    details: Data = attrs.field(default=None, kw_only=True)


Step = (
    Say | Emit | Flush | Wait | WaitFor | Signal | IgnoreCancel | Call | Park | Return | Echo | Fail
)
Script = Sequence[Step] | Callable[[RunRequest], Sequence[Step]]


class ScriptFailed(Exception):
    """What a Fail step raises; it has what the runtime copies into the outcome."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "script_failed",
        retryable: bool = False,
        details: Data = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.details = details


@attrs.frozen
class ScriptStatistics:
    """Counts of runs: ``started``, and how they ended."""

    started: int
    running: int
    returned: int
    failed: int
    cancelled: int


class ScriptedAgent:
    """An agent that performs a script. ``requests`` are those it was called with, in order.

    Raises InvalidArgument for a script that is none, at once if it is a sequence, otherwise in the
    run whose request the function was asked about.
    """

    def __init__(self, script: Script = (Echo(),)) -> None:
        if inspect.iscoroutinefunction(script):
            raise InvalidArgument("a script must be a plain function, not an async one")
        self._script = script if callable(script) else _checked(script)
        self._watchers = trio.lowlevel.ParkingLot()
        self._counts: Counter[str] = Counter()
        self.requests: list[RunRequest] = []

    async def __call__(self, request: RunRequest, context: RunContext) -> Data:
        self.requests.append(request)
        self._watchers.unpark_all()
        try:
            steps = _checked(self._script(request)) if callable(self._script) else self._script
            output = await _perform(steps, request, context)
        except trio.Cancelled:
            self._counts["cancelled"] += 1
            raise
        except BaseException:
            self._counts["failed"] += 1
            raise
        self._counts["returned"] += 1
        return output

    async def wait_started(self, count: int = 1) -> None:
        """Wait until the agent was called ``count`` times in all."""
        while len(self.requests) < count:
            await self._watchers.park()

    def statistics(self) -> ScriptStatistics:
        counts = self._counts
        return ScriptStatistics(
            started=len(self.requests),
            running=len(self.requests) - counts.total(),
            returned=counts["returned"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
        )


def _checked(script: object) -> Sequence[Step]:
    if not isinstance(script, Sequence) or isinstance(script, str | bytes):
        raise InvalidArgument(f"a script must be a sequence of steps, not {script!r}")
    for index, step in enumerate(script):
        if not isinstance(step, Step):
            raise InvalidArgument(
                f"step {index} is {step!r}: a step is one of "
                f"{', '.join(kind.__name__ for kind in Step.__args__)}"
            )
        if isinstance(step, Return | Echo | Fail) and index + 1 < len(script):
            raise InvalidArgument(
                f"step {index} ends the run, so step {index + 1} is never reached: {step!r}"
            )
    return tuple(script)


async def _perform(steps: Sequence[Step], request: RunRequest, context: RunContext) -> Data:
    said: list[str] = []
    await trio.lowlevel.checkpoint()
    for step in steps:
        match step:
            case Say():
                await _say(step, context)
                said.append(step.text)
            case Return(value):
                return value(request) if callable(value) else value
            case Echo():
                return request.input
            case Fail():
                raise step.error or ScriptFailed(
                    step.message, code=step.code, retryable=step.retryable, details=step.details
                )
            case _:
                await _PERFORM[type(step)](step, request, context)
    return {"content": "".join(said)}


async def _say(step: Say, context: RunContext) -> None:
    for index, delta in enumerate(step.deltas()):
        if index and step.seconds_between:
            await trio.sleep(step.seconds_between)
        await context.emit("message_streamed", {"delta": delta})


async def _emit(step: Emit, request: RunRequest, context: RunContext) -> None:
    for _ in range(step.count):
        await context.emit(step.type, step.data, metadata=step.metadata)


async def _wait(step: Wait, request: RunRequest, context: RunContext) -> None:
    await trio.sleep(step.seconds)


async def _ignore_cancel(step: IgnoreCancel, request: RunRequest, context: RunContext) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(step.seconds)


async def _signal(step: Signal, request: RunRequest, context: RunContext) -> None:
    step.event.set()


_Performer = Callable[[Any, RunRequest, RunContext], Awaitable[object]]
_PERFORM: Mapping[type, _Performer] = {
    Emit: _emit,
    Flush: lambda step, request, context: context.flush(),
    Wait: _wait,
    WaitFor: lambda step, request, context: step.gate.wait(),
    Signal: _signal,
    IgnoreCancel: _ignore_cancel,
    Call: lambda step, request, context: step.function(request, context),
    Park: lambda step, request, context: context.park(step.name, step.data),
}
