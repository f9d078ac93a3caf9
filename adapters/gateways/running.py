"""``moorage run``: submit inputs, show what happens, say how it ended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.sinks import renderer
from moorage.adapters.sinks.rendering import describe_output
from moorage.runtime import InvalidArgument, QueueFull, RunState, StoreFailed, open_supervisor
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.runs import OnInterrupt, outcome_of

from .frame import EXIT_FAILED, note, write, write_soon
from .tables import in_color, show_json, show_table, terminal_width

if TYPE_CHECKING:
    from moorage.adapters.sinks import Renderer
    from moorage.runtime import Event, Run, RunOutcome, Session
    from moorage.runtime.agents import Agents
    from moorage.stores import JournalStore

_SECOND_NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class Order:
    """What to run, and how to show it; ``format`` None shows no events."""

    session_id: str | None
    inputs: list[Any]
    slots: int | None
    timeout_seconds: float | None
    on_interrupt: OnInterrupt
    format: str | None
    as_json: bool
    recover_others: bool


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


async def run_inputs(store: JournalStore, agent: Agents, order: Order) -> int:
    """Submit every input, stream the events, show the outcomes.

    Returns the exit code: 1 if a run did not complete. Raises SessionHeld if another process owns
    the journal, and InvalidArgument if there is unfinished work of other sessions, which this agent
    is not told to recover.
    """
    outcomes = await _run(store, agent, order)
    if order.as_json:
        show_json([outcome_to_json(outcome) for outcome in outcomes])
    elif order.format != "jsonl":
        _show_outcomes(outcomes, separated=order.format is not None)
    completed = all(outcome.state is RunState.COMPLETED for outcome in outcomes)
    return 0 if completed else EXIT_FAILED


async def _run(store: JournalStore, agent: Agents, order: Order) -> list[RunOutcome]:
    unfinished = await _unfinished(store)
    others = [id for id in unfinished if id != order.session_id]
    if others and not order.recover_others:
        await _refuse(store, others)
    async with open_supervisor(store, agent) as supervisor:
        # only now is it sure that they go on, and here
        _tell_of(unfinished, order.session_id)
        session = await supervisor.session(order.session_id, slots=order.slots)
        status = await session.status()
        older = {*status.running, *status.queued, *status.waiting}
        rendering = (
            None
            if order.format is None
            else renderer(order.format, color=in_color(), width=terminal_width())
        )
        runs: list[Run] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_submit_all, session, order, runs)
            ended = await _follow(session, status.head_seq, len(order.inputs), older, rendering)
        return [ended[run.id] for run in runs]


async def _unfinished(store: JournalStore) -> dict[str, int]:
    """Unfinished runs by session, as they were left; a supervisor recovers all of them."""
    if store.path.exists():
        with suppress(StoreFailed):  # no journal yet, or what opening it will say, too
            async with store.reading() as reader:
                return {info.id: info.active async for info in reader.sessions(needs_worker=True)}
    return {}


async def _refuse(store: JournalStore, others: list[str]) -> None:
    """Raises SessionHeld if another process owns the journal, and serves what is in it."""
    async with store.opened(owner=f"pid {os.getpid()}", deliver=_deliver_nothing):
        pass
    raise InvalidArgument(
        "other sessions have unfinished runs, which this agent would finish too: "
        f"{_first_of(others)}; "
        "--recover-others if it should, or the service that they belong to, or another --data"
    )


async def _deliver_nothing(session_id: str, command: object) -> object:
    raise AssertionError(f"{command!r} for {session_id!r}: nobody is served yet")


def _tell_of(unfinished: dict[str, int], session_id: str | None) -> None:
    others = [id for id in unfinished if id != session_id]
    if mine := unfinished.get(session_id or "", 0):
        runs, go = ("run", "goes") if mine == 1 else ("runs", "go")
        note(f"{mine} unfinished {runs} of session {session_id!r} {go} on first")
    if others:
        sessions = "session has" if len(others) == 1 else "sessions have"
        note(
            f"{len(others)} other {sessions} unfinished runs, which go on too: {_first_of(others)}"
        )


def _first_of(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


async def _submit_all(session: Session, order: Order, runs: list[Run]) -> None:
    oldest = 0
    for input in order.inputs:
        while True:
            try:
                run = await session.submit(
                    input,
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
    session: Session, after: int, count: int, older: set[str], rendering: Renderer | None
) -> dict[str, RunOutcome]:
    """Show events until ``count`` runs that are not ``older`` have ended."""
    ended: dict[str, RunOutcome] = {}
    async with session.subscribe(after=after) as subscription:
        async for batch in subscription.batches():
            events = [event for event in batch if event.run_id not in older]
            _collect(events, ended)
            if rendering is not None:
                await write_soon(rendering.render(events))
            if len(ended) >= count:
                break
    if rendering is not None:
        await write_soon(rendering.finish())
    return ended


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
