"""What every agent must do, as checks that need no test framework.

Describe your agent by an AgentFixture and run each check in trio, for instance with pytest::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_my_agent_conforms(check):
        await check(MyFixture())

A check returns, or raises NonConforming with what went wrong. Checks run on any clock that the
agent can run on. Only a cancelled agent that never ends can keep a check from returning, because
nothing in Python can end it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunRequest, RunState

from .recording import Ended, RecordingContext, execute

if TYPE_CHECKING:
    from moorage.runtime.agents import Agent
    from moorage.runtime.events import Data

INPUT: Data = {"messages": [{"role": "user", "content": "Hello"}], "options": {"depth": [1, 2]}}
OUTPUT: Data = {"content": "Hello world", "numbers": [1, 2.5, None, True], "deep": {"er": ["x"]}}
DELTAS = ["The ", "quick ", "brown ", "fox ", "über\n", "die ", "Straße"]
SETTLE_SECONDS = 0.05
"""How long a check looks for what an agent does after its end."""
HELD_LOG_SECONDS_MAX = 5.0
"""How long a check waits for an agent to notice that the log is slow."""


class NonConforming(AssertionError):
    """The agent breaks a rule; the message says which and how."""


class AgentFixture(Protocol):
    """How to make the agent under test behave in the ways that the checks need.

    Every method returns an agent, a new one or the same. ``cancel_grace_seconds`` is how long it
    may take to end once cancelled.
    """

    cancel_grace_seconds: float

    def returning(self, output: Data) -> Agent:
        """An agent whose runs complete with ``output``."""
        ...

    def streaming(self, deltas: Sequence[str]) -> Agent:
        """An agent that streams this text in ``message_streamed`` events with a str ``delta``, in
        whatever portions, and completes. If its output is a map with a str ``content``, that is
        the same text."""
        ...

    def failing(self, message: str) -> Agent:
        """An agent whose runs fail by an exception whose text contains ``message``."""
        ...

    def endless(self) -> Agent:
        """An agent that emits at least one event and then works until it is cancelled."""
        ...


Check = Callable[[AgentFixture], Awaitable[None]]


async def output_arrives_as_plain_data(fixture: AgentFixture) -> None:
    context = RecordingContext()

    ended = await _execute(fixture.returning(OUTPUT), context)

    _expect(ended.state is RunState.COMPLETED, f"it ended {ended}, not completed")
    _expect(_packed(ended.output, "output") == pack(OUTPUT), f"output {ended.output!r} changed")


async def nothing_at_all_is_an_output_too(fixture: AgentFixture) -> None:
    ended = await _execute(fixture.returning(None), RecordingContext())

    _expect(ended.state is RunState.COMPLETED and ended.output is None, f"it ended {ended}")


async def events_are_plain_and_of_allowed_types(fixture: AgentFixture) -> None:
    context = RecordingContext()

    await _execute(fixture.streaming(DELTAS), context)

    _expect(bool(context.events), "it streamed nothing")


async def streamed_text_arrives_whole_and_in_order(fixture: AgentFixture) -> None:
    context = RecordingContext()

    ended = await _execute(fixture.streaming(DELTAS), context)

    text = "".join(DELTAS)
    _expect(context.deltas() == text, f"it streamed {context.deltas()!r}, not {text!r}")
    _packed(ended.output, "output")
    if isinstance(ended.output, dict) and isinstance(ended.output.get("content"), str):
        content = ended.output["content"]
        _expect(content == text, f"its content {content!r} is not what it streamed, {text!r}")


async def a_slow_log_loses_no_event(fixture: AgentFixture) -> None:
    context = RecordingContext(emit_ahead_bytes_max=1)
    context.hold_log()

    async def release() -> None:
        with trio.move_on_after(HELD_LOG_SECONDS_MAX):
            await context.wait_blocked()
        context.release_log()

    async with _leaving_nothing(), trio.open_nursery() as nursery:
        nursery.start_soon(release)
        request = context.request(_copy(INPUT))
        ended = await execute(fixture.streaming(DELTAS), request, context)
        nursery.cancel_scope.cancel()

    _check_events(context)
    _expect(ended.state is RunState.COMPLETED, f"it ended {ended}, not completed")
    _expect(context.deltas() == "".join(DELTAS), f"only {context.deltas()!r} arrived")


async def failure_is_an_ordinary_exception(fixture: AgentFixture) -> None:
    ended = await _execute(fixture.failing("the reason why"), RecordingContext())

    _expect(ended.state is RunState.FAILED, f"it ended {ended}, not failed")
    error = ended.error
    _expect(not isinstance(error, BaseExceptionGroup), f"raise the cause bare, not in {error!r}")
    _expect("the reason why" in str(error), f"its error {error!r} does not say why")
    if getattr(error, "details", None) is not None:
        _packed(getattr(error, "details"), "the error's details")  # noqa: B009


async def cancellation_ends_it_within_its_grace(fixture: AgentFixture) -> None:
    await _cancel_when_running(fixture, fixture.endless(), RecordingContext())


async def cancelled_before_it_begins_it_does_nothing(fixture: AgentFixture) -> None:
    context = RecordingContext()

    async with _leaving_nothing():
        started_at = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await execute(fixture.endless(), context.request(_copy(INPUT)), context)
        took = trio.current_time() - started_at

    _check_events(context)
    limit = fixture.cancel_grace_seconds
    _expect(took <= limit, f"it took {took:.1f} s to end and its grace is {limit} s")


async def the_request_is_left_as_it_was(fixture: AgentFixture) -> None:
    for agent in (fixture.returning(OUTPUT), fixture.streaming(DELTAS)):
        context = RecordingContext(metadata={"tenant": ["a", {"b": 1}]}, answers={"name": [1]})
        request = context.request(_copy(INPUT))
        before = _facts(request)

        await _execute(agent, context, request)

        _expect(_facts(request) == before, f"it changed its request to {request}")


async def two_runs_at_once_are_independent(fixture: AgentFixture) -> None:
    agent = fixture.streaming(DELTAS)
    contexts = [RecordingContext(run_id=f"run-{number}") for number in range(2)]

    async with _leaving_nothing(), trio.open_nursery() as nursery:
        for context in contexts:
            nursery.start_soon(execute, agent, context.request(_copy(INPUT)), context)

    for context in contexts:
        text = context.deltas()
        _expect(text == "".join(DELTAS), f"{context.run_id} streamed {text!r} beside another run")


async def cancelling_one_run_leaves_the_other_alone(fixture: AgentFixture) -> None:
    agent = fixture.endless()
    first, second = RecordingContext(run_id="first"), RecordingContext(run_id="second")
    problem, running = None, False

    async with _leaving_nothing(), trio.open_nursery() as nursery:
        nursery.start_soon(execute, agent, second.request(_copy(INPUT)), second)
        if await _has_begun(second):
            problem = await _cancel(agent, first, fixture.cancel_grace_seconds)
            running = not second.ended
        nursery.cancel_scope.cancel()

    _expect(problem is None, f"with two runs at once {problem}")
    _expect(running, "the other run ended too")


async def a_second_attempt_starts_from_the_beginning(fixture: AgentFixture) -> None:
    agent = fixture.streaming(DELTAS)
    for attempt in (1, 2):
        context = RecordingContext(attempt=attempt)

        ended = await _execute(agent, context)

        _expect(ended.state is RunState.COMPLETED, f"attempt {attempt} ended {ended}")
        text = context.deltas()
        _expect(text == "".join(DELTAS), f"attempt {attempt} streamed {text!r}")


async def a_run_after_a_cancelled_one_works(fixture: AgentFixture) -> None:
    agent = fixture.endless()
    for attempt in (1, 2):
        await _cancel_when_running(fixture, agent, RecordingContext(attempt=attempt))


CHECKS: tuple[Check, ...] = (
    output_arrives_as_plain_data,
    nothing_at_all_is_an_output_too,
    events_are_plain_and_of_allowed_types,
    streamed_text_arrives_whole_and_in_order,
    a_slow_log_loses_no_event,
    failure_is_an_ordinary_exception,
    cancellation_ends_it_within_its_grace,
    cancelled_before_it_begins_it_does_nothing,
    the_request_is_left_as_it_was,
    two_runs_at_once_are_independent,
    cancelling_one_run_leaves_the_other_alone,
    a_second_attempt_starts_from_the_beginning,
    a_run_after_a_cancelled_one_works,
)


async def _execute(
    agent: Agent, context: RecordingContext, request: RunRequest | None = None
) -> Ended:
    """Execute one run alone, and check what holds for every run."""
    async with _leaving_nothing():
        ended = await execute(agent, request or context.request(_copy(INPUT)), context)
    _check_events(context)
    return ended


async def _cancel_when_running(
    fixture: AgentFixture, agent: Agent, context: RecordingContext
) -> None:
    async with _leaving_nothing():
        problem = await _cancel(agent, context, fixture.cancel_grace_seconds)
    _expect(problem is None, str(problem))
    _check_events(context)


async def _cancel(agent: Agent, context: RecordingContext, grace_seconds: float) -> str | None:
    """Start a run, cancel it after its first event, wait for its end; return what was wrong."""
    problem = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, agent, context.request(_copy(INPUT)), context)
        if not await _has_begun(context):
            problem = "it ended before it was cancelled"
        context.cancel()
        with trio.move_on_after(grace_seconds):
            await context.wait_ended()
        if not context.ended:
            problem = f"{grace_seconds} s after its cancellation it still ran"
    return problem


async def _has_begun(context: RecordingContext) -> bool:
    """Wait for the first event or the end; whether the run goes on."""
    await context.wait_events(1)
    return not context.ended


@asynccontextmanager
async def _leaving_nothing() -> AsyncIterator[None]:
    """Check that the tasks and child processes afterwards are those from before."""
    tasks, children = _tasks(trio.lowlevel.current_root_task()), child_processes()
    yield
    # the loop forgets an ended task in its own time, so look again before complaining
    with trio.move_on_after(SETTLE_SECONDS):
        while _tasks(trio.lowlevel.current_root_task()) - tasks:  # noqa: ASYNC110
            await trio.sleep(SETTLE_SECONDS / 10)
    left = _tasks(trio.lowlevel.current_root_task()) - tasks
    _expect(not left, f"it left tasks running: {sorted(task.name for task in left)}")
    orphans = child_processes() - children
    _expect(not orphans, f"it left the child processes {sorted(orphans)}")


def _tasks(task: trio.lowlevel.Task | None) -> set[trio.lowlevel.Task]:
    if task is None:
        return set()
    found = {task}
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            found |= _tasks(child)
    return found


def child_processes() -> set[int]:
    """Ids of this process's children, zombies too; empty where there is no /proc to ask."""
    children: set[int] = set()
    for thread in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        try:
            children.update(int(pid) for pid in thread.read_text().split())
        except OSError:  # the thread has just ended
            continue
    return children


def _check_events(context: RecordingContext) -> None:
    for type_, error in context.refused:
        raise NonConforming(f"its event of type {type_!r} was refused: {error}")
    _expect(not context.late, f"it emitted {context.late} events after its end")


def _packed(value: object, what: str) -> bytes:
    try:
        return pack(value, what)
    except InvalidArgument as error:
        raise NonConforming(str(error)) from error


def _copy(value: Data) -> Data:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _facts(request: RunRequest) -> tuple[object, ...]:
    plain = _packed([request.input, request.answers, request.metadata], "the request")
    return plain, request.session_id, request.run_id, request.attempt, request.key, request.agent


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise NonConforming(message)
