"""``moorage run``: submit inputs, show what happens, say how it ended."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio
from moorage.adapters.sinks import Format
from moorage.adapters.sinks.rendering import FOR_PROGRAMS, describe_output
from moorage.runtime import InvalidArgument, QueueFull, RunState, open_supervisor
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.runs import OnInterrupt, outcome_of

from .chat.situation import Situation
from .chosen_source import Choice
from .following import screen
from .frame import EXIT_FAILED, note, write
from .remote import Server
from .tables import show_json, show_table
from .unfinished import refuse_others, tell_of, unfinished_runs
from .waiting_runs import answering, asked

if TYPE_CHECKING:
    from moorage.adapters.sinks import TextSink
    from moorage.runtime import Event, Run, RunOutcome, Session
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store

    from .chat.situation import Question

_SECOND_NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class Order:
    """What to run, and how to show it; ``format`` None shows no events."""

    session_id: str | None
    inputs: list[Any]
    slots: int | None
    timeout_seconds: float | None
    on_interrupt: OnInterrupt
    format: Format | None
    as_json: bool
    recover_others: bool = False
    agent: str | None = None
    """One of a server's agents; None lets it choose."""
    choice: Choice
    """Where it is done, as commands name it."""
    agent_spec: str | None = None
    """What works here, where that is no server."""


def parse_input(text: str) -> Any:
    """A JSON object or array is data, everything else is text as it stands.

    Raises InvalidArgument for JSON that no log can keep, as it is written (NaN).
    """
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, RecursionError):
        return text
    return value


def _refuse_constant(name: str) -> Any:
    raise InvalidArgument(f"{name} is no JSON: give a number, or null")


async def run_inputs(store: Store, agent: Agents, order: Order) -> int:
    """Submit every input, stream the events, show the outcomes.

    Returns the exit code: 1 if a run did not complete. Raises SessionHeld if another process owns
    the journal, and InvalidArgument if there is unfinished work of other sessions, which this agent
    is not told to recover.
    """
    return _show(await _run(store, agent, order), order)


async def run_at(server: Server, order: Order) -> int:
    """The same at a server, whose agents do the work; what was submitted goes on there, whatever
    becomes of this process. Raises ServerUnreachable."""
    async with server.connected(patient=True) as client:
        session = await client.session(order.session_id, slots=order.slots)
        outcomes = await _submit_and_follow(cast("Session", session), order)
    return _show(outcomes, order)


def _show(outcomes: list[RunOutcome], order: Order) -> int:
    if order.as_json:
        show_json([outcome_to_json(outcome) for outcome in outcomes])
    elif order.format not in FOR_PROGRAMS:
        _show_outcomes(outcomes, separated=order.format is not None)
    completed = all(outcome.state is RunState.COMPLETED for outcome in outcomes)
    return 0 if completed else EXIT_FAILED


async def _run(store: Store, agent: Agents, order: Order) -> list[RunOutcome]:
    unfinished = await unfinished_runs(store)
    others = [id for id in unfinished if id != order.session_id]
    if others and not order.recover_others:
        await refuse_others(store, others)
    async with open_supervisor(store, agent) as supervisor:
        # only now is it sure that they go on, and here
        tell_of(unfinished, order.session_id)
        session = await supervisor.session(order.session_id, slots=order.slots)
        return await _submit_and_follow(session, order)


async def _submit_and_follow(session: Session, order: Order) -> list[RunOutcome]:
    status = await session.status()
    older = {*status.running, *status.queued, *status.waiting}
    sink = None if order.format is None else screen(order.format)
    runs: list[Run] = []
    told = _Waiting(session.id, order)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_submit_all, session, order, runs)
        ended = await _follow(session, status.head_seq, len(order.inputs), older, sink, told)
    return [ended[run.id] for run in runs]


async def _submit_all(session: Session, order: Order, runs: list[Run]) -> None:
    oldest = 0
    for input in order.inputs:
        while True:
            try:
                run = await session.submit(
                    input,
                    agent=order.agent,
                    timeout_seconds=order.timeout_seconds,
                    on_interrupt=order.on_interrupt,
                )
            except QueueFull:
                if oldest >= len(runs):  # full of older runs
                    await session.wait_idle()
                    continue
                await runs[oldest].wait()
                oldest += 1
            else:
                runs.append(run)
                break


async def _follow(
    session: Session,
    after: int,
    count: int,
    older: set[str],
    sink: TextSink | None,
    waiting: _Waiting,
) -> dict[str, RunOutcome]:
    """Show events until ``count`` runs that are not ``older`` have ended."""
    ended: dict[str, RunOutcome] = {}
    async with AsyncExitStack() as stack:
        stack.enter_context(waiting)
        if sink is not None:
            await stack.enter_async_context(sink.opened())
        subscription = await stack.enter_async_context(session.subscribe(after=after))
        async for batch in subscription.batches():
            events = [event for event in batch if event.run_id not in older]
            _collect(events, ended)
            if sink is not None:
                await sink.write(events)
            waiting.take(events)
            if len(ended) >= count:
                break
    return ended


class _Waiting:
    """Says what the runs wait for, and when one is interrupted, what is left to be answered."""

    def __init__(self, session_id: str, order: Order) -> None:
        self._session_id = session_id
        self._order = order
        self._situation = Situation()
        self._told: set[tuple[str, str]] = set()

    def take(self, events: list[Event]) -> None:
        """Look at what has happened; each question is told of once."""
        for event in events:
            self._situation.apply(event)
        # nobody but this process could answer, and it reads no answers
        leave = "" if isinstance(self._order.choice, Server) else "Ctrl-C, then "
        for question in self._situation.questions:
            if question.key not in self._told:
                self._told.add(question.key)
                told = f"{asked(question)}, and waits: {leave}{self._command(question)}"
                note(f"run {question.run_id} {told}")

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        for question in self._situation.questions:
            # of one that runs while it asks, its end is what comes next
            if question.run_id in self._situation.waiting:
                command = self._command(question)
                note(f"run {question.run_id} is left waiting: {command}")

    def _command(self, question: Question) -> str:
        order = self._order
        return answering(question, self._session_id, order.choice, order.agent_spec)


def _collect(events: list[Event], ended: dict[str, RunOutcome]) -> None:
    for event in events:
        if event.type in RUN_TERMINAL_TYPES and event.run_id is not None:
            ended[event.run_id] = outcome_of(event)


def outcome_to_json(outcome: RunOutcome) -> dict[str, Any]:
    """The keys are those of RunOutcome."""
    fields = attrs.asdict(outcome)
    fields["state"] = outcome.state.value
    return fields


def _show_outcomes(outcomes: list[RunOutcome], *, separated: bool) -> None:
    rows = []
    for outcome in outcomes:
        if outcome.error is not None:
            result = f"{outcome.error.code}: {outcome.error.message}"
        else:
            result = describe_output(outcome.output)
        rows.append([outcome.run_id, outcome.state.value, _seconds(outcome), result])
    if separated:
        write("\n")
    show_table(
        ["RUN", "OUTCOME", "SECONDS", "RESULT"],
        rows,
        numbers=["SECONDS"],
        states="OUTCOME",
        full=["RUN"],
    )


def _seconds(outcome: RunOutcome) -> str:
    if outcome.started_at_ns is None:
        return "-"
    return f"{(outcome.ended_at_ns - outcome.started_at_ns) / _SECOND_NS:.2f}"
