"""Every sequence of inputs up to a length, over one session with two runs, and what always holds.

Equal states are explored once: two worlds are equal when nothing that the machine can tell apart
(times and seqs aside) differs. Time stands still here, so a limit of time is an input like another.
What is expected comes from the log alone, read by the few lines of ``Ledger``, which share nothing
with the machine's tables. The worlds are as small as TigerBeetle's and as exhausted.
"""

from __future__ import annotations

import copy
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import pytest
from moorage.runtime.codec import decode_struct, encode_struct
from moorage.runtime.commands import (
    AnswerRun,
    AppendEvents,
    Cancel,
    Close,
    LiftQuarantine,
    OpenSession,
    Pause,
    Reopen,
    RestoreSession,
    Resume,
    SoftDelete,
    Steer,
    Submit,
)
from moorage.runtime.errors import MoorageError, UnknownRun
from moorage.runtime.events import RUN_TERMINAL_TYPES, Event, NewEvent
from moorage.runtime.image import RunRecord, SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.sessions import SessionState
from moorage.runtime.steps import (
    AskSignal,
    OfferSteer,
    RunEndedSignal,
    StartRun,
    Step,
    StopRun,
)
from moorage.runtime.talk_decisions import ANSWER_TIMER, ASK_TIMER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH = 6
NOW_NS = 1_000
LIMITS = SupervisorLimits()
RUNS = {
    "A": Submit(
        run_id="A",
        input="a",
        size_bytes=2,
        on_interrupt="requeue",
        attempts_max=2,
        timeout_seconds=5.0,
    ),
    "B": Submit(run_id="B", input="b", size_bytes=2, queue_seconds_max=9.0, timeout_seconds=5.0),
}
STEER_IDS = ("M", "N")
HOWS = ("returned", "raised", "stopped", "parked")
AFTER = {
    "run_submitted": "queued",
    "run_started": "running",
    "run_waiting": "waiting",
    "run_resumed": "queued",
    "run_requeued": "queued",
    "run_cancel_requested": "cancelling",
} | {type: type.removeprefix("run_") for type in RUN_TERMINAL_TYPES}
SESSION_AFTER = {
    "session_opened": "open",
    "session_paused": "paused",
    "session_resumed": "open",
    "session_closed": "closed",
    "session_reopened": "open",
    "session_quarantined": "quarantined",
    "session_deleted": "closed",
    "session_undeleted": "open",
}


TALK_IN = {
    "run_asked": ("running",),
    "run_answered": ("running", "queued"),
    "run_steered": ("running",),
    "run_steer_taken": ("running", "cancelling"),
}
"""What is said to a run, and the states in which it may be. It changes none."""
BUSY = ("running", "cancelling")


class Ledger:
    """What a log says, worked out naively; checks on the way that each run's story is possible."""

    def __init__(self, log: tuple[Event, ...]) -> None:
        self.session = ""
        self.deleted = False
        self.slots = 1
        self.accepted: list[str] = []
        self.runs: dict[str, str] = {}
        self.asked: set[tuple[str, str]] = set()
        self.answers: dict[str, dict[str, Any]] = {}
        self.steers: dict[str, str] = {}
        """Messages that no agent has told, and their runs."""
        self.told: set[str] = set()
        self.timed: set[str] = set()
        due: dict[str, str] = {}
        for seq, event in enumerate(log, 1):
            assert event.seq == seq
            run_id = event.run_id
            if run_id is None:
                self.session = SESSION_AFTER.get(event.type, self.session)
                if event.type in ("session_deleted", "session_undeleted"):
                    self.deleted = event.type == "session_deleted"
                if event.type == "session_recovered" and self.session == "quarantined":
                    self.session = "open"
                if event.type in ("session_opened", "session_configured"):
                    self.slots = event.data.get("slots", self.slots)
                continue
            before = self.runs.get(run_id)
            if event.type == "run_submitted":
                assert before is None
                steered = (event.data.get("metadata") or {}).get("steer_of")
                assert self.session != "closed" or (self.deleted and steered)
                self.accepted.append(run_id)
            assert f"run_{before}" not in RUN_TERMINAL_TYPES, "an event behind the end"
            if event.type in TALK_IN:
                assert before in TALK_IN[event.type]
                self.note_talk(run_id, event)
                continue
            if event.type == "run_started":
                self.check_may_start(run_id)
            if run_id in due:
                assert event.type == due[run_id], "the outcome is what was durably asked for"
            if event.type == "run_cancel_requested":
                due[run_id] = event.data["cause"]
            self.runs[run_id] = AFTER[event.type]
            self.note_wait(run_id, event)
        self.check_steers()

    def note_talk(self, run_id: str, event: Event) -> None:
        data = event.data
        if event.type == "run_asked":
            assert data["name"] not in self.answers.get(run_id, {})
            self.asked.add((run_id, data["name"]))
        elif event.type == "run_answered":
            self.asked.remove((run_id, data["name"]))
            self.answers.setdefault(run_id, {})[data["name"]] = data["value"]
        elif event.type == "run_steered":
            assert data["steer_id"] not in self.steers
            self.steers[data["steer_id"]] = run_id
        else:
            assert self.steers.pop(data["steer_id"]) == run_id
            self.told.add(data["steer_id"])

    def note_wait(self, run_id: str, event: Event) -> None:
        self.timed.discard(run_id)
        if event.type == "run_waiting":
            self.asked = {(id, name) for id, name in self.asked if id != run_id}
            if "expires_at_ns" in event.data:
                self.timed.add(run_id)
        elif event.type == "run_resumed":
            self.answers.setdefault(run_id, {})[event.data["name"]] = event.data["value"]

    def check_steers(self) -> None:
        for steer_id, run_id in list(self.steers.items()):
            has_ended = f"run_{self.runs[run_id]}" in RUN_TERMINAL_TYPES
            assert has_ended == (steer_id in self.runs), "a run if its own ended, and only then"
            if has_ended:
                del self.steers[steer_id]

    def check_may_start(self, run_id: str) -> None:
        assert self.session == "open"
        assert self.queue()[0] == run_id, "the one accepted first starts first"
        assert self.busy() < self.slots

    def queue(self) -> list[str]:
        return [run_id for run_id in self.accepted if self.runs[run_id] == "queued"]

    def busy(self) -> int:
        return sum(state in BUSY for state in self.runs.values())

    def counts(self) -> dict[str, int]:
        states = list(self.runs.values())
        return {state: states.count(state) for state in states}


@attrs.define
class World:
    """A machine, its log so far, and the tasks that a shell would be running for it."""

    machine: SessionMachine
    log: tuple[Event, ...]
    ledger: Ledger
    tasks: frozenset[str] = frozenset()
    promised: tuple[tuple[str, str], ...] = ()
    """Outcomes that callers were told of, or that a limit of time has set."""

    @property
    def image(self) -> SessionImage:
        return self.machine.image

    def fork(self) -> World:
        machine = copy.copy(self.machine)
        machine.image = copy_image(self.machine.image)
        machine.interrupting = set(self.machine.interrupting)
        return World(machine, self.log, self.ledger, self.tasks, self.promised)

    def key(self) -> tuple[Any, ...]:
        image, machine = self.image, self.machine
        return (
            image.state,
            image.state_before,
            image.deleted_from,
            image.outcome,
            image.slots,
            machine.draining,
            machine.closing,
            frozenset(machine.interrupting),
            self.tasks,
            self.promised,
            frozenset(self.ledger.told),
            repr([FIELDS_BUT_SEQ(run) for run in image.runs.values()]),
            repr({id: state for id, state in self.ledger.runs.items() if id not in image.runs}),
        )


RUN_FIELDS = attrgetter(*(field.name for field in attrs.fields(RunRecord)))
FIELDS_BUT_SEQ = attrgetter(
    *(f.name for f in attrs.fields(RunRecord) if f.name not in ("seq", "asked_at"))
)
IMAGE_FIELDS = attrgetter(*(field.name for field in attrs.fields(SessionImage) if field.init))


def copy_image(image: SessionImage) -> SessionImage:
    twin = SessionImage(*IMAGE_FIELDS(image))
    twin.runs = {run_id: copy_run(run) for run_id, run in image.runs.items()}
    twin.counts = dict(image.counts)
    twin.queue = list(image.queue)
    twin.agents = dict(image.agents)
    return twin


def copy_run(run: RunRecord) -> RunRecord:
    twin = RunRecord(*RUN_FIELDS(run))
    for name in ("answers", "asked", "asked_at", "steers", "steer_bytes"):
        setattr(twin, name, dict(getattr(run, name)))
    return twin


class Input(NamedTuple):
    name: str
    apply: Callable[[World], Step | None]
    """Gives the input to the world's machine; None where a shell could not give it."""
    crash: bool = False


def command(name: str, value: Any) -> Input:
    return Input(name, lambda world: world.machine.handle(value, NOW_NS))


def submit(run_id: str) -> Input:
    def apply(world: World) -> Step | None:
        if any(event.run_id == run_id for event in world.log):
            return None  # the ids of runs are never used again
        return world.machine.handle(RUNS[run_id], NOW_NS)

    return Input(f"submit {run_id}", apply)


def start(world: World) -> Step | None:
    if not world.machine.startable():
        return None
    return world.machine.start(NOW_NS)


def reject(world: World) -> Step | None:
    if not world.machine.startable():
        return None
    return world.machine.reject({"code": "agent_unknown", "message": "gone"}, NOW_NS)


def ended(
    run_id: str, how: str, *, untold: bool = False, timeout_seconds: float | None = None
) -> Input:
    def apply(world: World) -> Step | None:
        run = world.image.runs.get(run_id)
        if run is None or run.attempt == 0 or is_quarantined(world):
            return None
        if untold and not run.steers:
            return None
        # given without a task, too: late and double signals happen, and mean nothing
        is_late, state = run_id not in world.tasks, str(run.state)
        problem = {"code": "agent_failed", "message": "boom"} if how == "raised" else None
        name = "approval" if how == "parked" else None
        signal = RunEndedSignal(
            run_id,
            run.attempt,
            how,
            problem=problem,
            name=name,
            untold=tuple(run.steers) if untold else (),
            timeout_seconds=timeout_seconds,
            default="nobody",
        )
        step = world.machine.ended(signal, NOW_NS)
        assert not (is_late and step.events)
        told = [event.run_id for event in step.events if event.type == "run_steer_taken"]
        is_over = how == "returned" or state == "cancelling"
        assert bool(told) == (untold and is_over and not is_late), "lost with its agent, or not"
        return step

    name = f"{run_id} {how}{' with a limit' * bool(timeout_seconds)}{' and said nothing' * untold}"
    return Input(name, apply)


def expire(run_id: str, kind: str) -> Input:
    def apply(world: World) -> Step | None:
        run = world.image.runs.get(run_id)
        if run is None or is_quarantined(world):
            return None
        start = 0 if kind == "queue" else run.starts
        return world.machine.expired(run_id, kind, start, NOW_NS)

    return Input(f"{kind} limit of {run_id}", apply)


def ask(world: World) -> Step | None:
    run = world.image.runs.get("A")
    # a task that has its answer does not ask; one that gave up may ask again
    if run is None or run.attempt == 0 or "q" in run.answers or is_quarantined(world):
        return None
    signal = AskSignal("A", run.attempt, "q", None, timeout_seconds=9.0, default="nobody")
    step = world.machine.asked(signal, NOW_NS)
    assert bool(step.events) == (str(run.state) == "running")
    return step


def answer(name: str) -> Input:
    def apply(world: World) -> Step | None:
        run = world.image.runs.get("A")
        state = None if run is None else str(run.state)
        step = world.machine.handle(AnswerRun(run_id="A", name=name, value=True), NOW_NS)
        if name == "q":
            is_open = ("A", "q") in world.ledger.asked and state in ("queued", "running")
            assert step.answer is is_open, "who is waited for is heard, and nobody else"
        return step

    return Input(f"answer {name} of A", apply)


def steer(world: World) -> Step | None:
    ledger = world.ledger
    used = ledger.runs.keys() | ledger.told | ledger.steers.keys()
    unused = [steer_id for steer_id in STEER_IDS if steer_id not in used]
    if not unused:
        return None
    command = Steer(
        run_id="A", steer_id=unused[0], message="m", size_bytes=2, steerable="A" in world.tasks
    )
    return world.machine.handle(command, NOW_NS)


def tell(world: World) -> Step | None:
    if "A" not in world.tasks or is_quarantined(world):
        return None
    # the last one: an agent may tell of them in any order
    return world.machine.taken("A", next(reversed(world.ledger.steers), "none"), NOW_NS)


def answer_late(world: World) -> Step | None:
    run = world.image.runs.get("A")
    if run is None or is_quarantined(world):
        return None
    return world.machine.answer_expired("A", ANSWER_TIMER, run.starts, NOW_NS)


def ask_late(world: World) -> Step | None:
    run = world.image.runs.get("A")
    if run is None or is_quarantined(world):
        return None
    kind = f"{ASK_TIMER}{run.asked_at.get('q', 0)} q"
    return world.machine.answer_expired("A", kind, run.starts, NOW_NS)


def interrupt(world: World) -> Step | None:
    return None if is_quarantined(world) else world.machine.interrupt_running()


def drain(queued: str) -> Input:
    def apply(world: World) -> Step | None:
        world.machine.draining = queued
        return Step([], [])

    return Input(f"drain {queued}", apply)


def crash(world: World) -> Step | None:
    world.machine = SessionMachine(replay(world.log), LIMITS)
    return Step([], []) if is_quarantined(world) else world.machine.recover(NOW_NS)


def quarantine(world: World) -> Step | None:
    if is_quarantined(world):
        return None
    image = replay(world.log)
    data = {"reason": "it crashed too often", "state_before": str(image.state)}
    event = Event("s", image.head_seq + 1, NOW_NS, "session_quarantined", None, data)
    image.apply(event)
    world.machine = SessionMachine(image, LIMITS)
    return Step([event], [])


def lift(world: World) -> Step | None:
    if not is_quarantined(world):
        return world.machine.handle(LiftQuarantine(), NOW_NS)
    recovery = world.machine.recover(NOW_NS)
    step = world.machine.handle(LiftQuarantine(), NOW_NS)
    return Step(recovery.events + step.events, recovery.effects + step.effects, step.answer)


def is_quarantined(world: World) -> bool:
    return world.image.state is SessionState.QUARANTINED


INPUTS = (
    submit("A"),
    submit("B"),
    Input("start", start),
    Input("reject", reject),
    *(command(f"cancel {run_id}", Cancel(run_id=run_id)) for run_id in RUNS),
    *(ended(run_id, how) for run_id in RUNS for how in HOWS),
    *(
        command(f"answer {run_id}", AnswerRun(run_id=run_id, name="approval", value=True))
        for run_id in RUNS
    ),
    *(expire(run_id, kind) for run_id in RUNS for kind in ("queue", "attempt")),
    Input("ask", ask),
    answer("q"),
    Input("nobody answered A", ask_late),
    ended("A", "parked", timeout_seconds=9.0),
    Input("nobody answered A, which waits", answer_late),
    Input("steer A", steer),
    Input("tell", tell),
    *(ended("A", how, untold=True) for how in HOWS),
    command("append", AppendEvents(events=(NewEvent("message_received", "hi"),), size_bytes=3)),
    command("pause", Pause()),
    command("resume", Resume()),
    command("close", Close()),
    command("force close", Close(outcome="failed", force=True)),
    command("reopen", Reopen()),
    command("delete", SoftDelete()),
    command("restore", RestoreSession()),
    *(command(f"slots {slots}", OpenSession(slots=slots)) for slots in (1, 2)),
    Input("interrupt", interrupt),
    drain("keep"),
    drain("finish"),
    Input("crash", crash, crash=True),
    Input("quarantine", quarantine, crash=True),
    Input("lift", lift),
)


def replay(log: tuple[Event, ...]) -> SessionImage:
    image = SessionImage("s")
    for event in log:
        image.apply(event)
    return image


def successor(world: World, input: Input) -> World | None:
    """The world after an input, checked; None if the input cannot be given or was refused."""
    after = world.fork()
    machine = after.machine
    try:
        step = input.apply(after)
    except MoorageError as error:
        check_refused(world, after, input, error)
        return None
    if step is None:
        return None
    if step.events:
        after.log += tuple(step.events)
        after.ledger = Ledger(after.log)
    if input.crash:
        after.tasks = frozenset()
    else:
        assert after.machine is machine
    perform(after, step)
    note_promises(after, input, step)
    check_world(after, input)
    return after


def perform(world: World, step: Step) -> None:
    """Do what a shell does with a step's effects, and check that it can."""
    started = [event.run_id for event in step.events if event.type == "run_started"]
    assert started == [e.run_id for e in step.effects if isinstance(e, StartRun)]
    for effect in step.effects:
        if isinstance(effect, StartRun):
            assert effect.run_id not in world.tasks
            world.tasks |= {effect.run_id}
        elif isinstance(effect, (StopRun, OfferSteer)):
            assert effect.run_id in world.tasks
    for event in step.events:
        if event.type in RUN_TERMINAL_TYPES or event.type in ("run_waiting", "run_requeued"):
            world.tasks -= {event.run_id}


def note_promises(world: World, input: Input, step: Step) -> None:
    promised = dict(world.promised)
    if input.name.startswith("cancel") and step.answer:
        promised[input.name[-1]] = "cancelled"
    for event in step.events:
        if event.type == "run_cancel_requested":
            promised[event.run_id or ""] = event.data["cause"].removeprefix("run_")
    world.promised = tuple(sorted(promised.items()))


def check_refused(before: World, after: World, input: Input, error: MoorageError) -> None:
    assert after.image == before.image, "a refusal changes nothing"
    assert after.machine.draining == before.machine.draining
    assert after.machine.closing == before.machine.closing
    if isinstance(error, UnknownRun):
        assert input.name[-1] not in before.image.runs


def check_world(world: World, input: Input) -> None:
    image, ledger = world.image, world.ledger
    assert replay(world.log) == image, "replay(log) == live state"
    unfinished = {run_id for run_id, state in ledger.runs.items() if run_id in image.runs}
    assert {run_id: str(run.state) for run_id, run in image.runs.items()} == {
        run_id: state for run_id, state in ledger.runs.items() if run_id in unfinished
    }
    for run_id, state in ledger.runs.items():
        assert (run_id in unfinished) == (f"run_{state}" not in RUN_TERMINAL_TYPES)
    assert {state: count for state, count in image.counts.items() if count} == ledger.counts()
    assert str(image.state) == ledger.session
    assert (image.deleted_at_ns is not None) == ledger.deleted
    if ledger.deleted:
        assert len(unfinished) == ledger.busy(), "what is deleted waits for tasks alone"
    assert list(image.queued()) == ledger.queue()
    assert image.queue_bytes == 2 * (len(unfinished) + len(ledger.steers))
    assert image.steers == len(ledger.steers)
    assert image.timed_waits == len(ledger.timed)
    for run_id, run in image.runs.items():
        assert {(run_id, name) for name in run.asked} == {a for a in ledger.asked if a[0] == run_id}
        assert run.answers == ledger.answers.get(run_id, {}), "what was answered is not forgotten"
    free = (
        ledger.session == "open"
        and world.machine.draining != "keep"
        and ledger.busy() < ledger.slots
        and bool(ledger.queue())
    )
    assert world.machine.startable() == free
    if ledger.session != "quarantined":
        assert len(world.tasks) == ledger.busy(), "a slot is held by a task, and by nothing else"
    if world.machine.closing is not None:
        assert len(unfinished) == ledger.busy(), "what closes waits for tasks alone"
    for run_id, outcome in world.promised:
        if run_id not in unfinished:
            assert ledger.runs[run_id] == outcome


def check_snapshot(world: World, shorter: World) -> None:
    """A snapshot, and an older one with the events behind it, give the live state."""
    assert decode_struct(encode_struct(world.image), SessionImage) == world.image
    image = decode_struct(encode_struct(shorter.image), SessionImage)
    for event in world.log[len(shorter.log) :]:
        image.apply(event)
    assert image == world.image


def explore(length: int) -> Iterator[tuple[int, int]]:
    """Explores, and yields how many states are known and how many transitions were made."""
    machine = SessionMachine(SessionImage("s"), LIMITS)
    log = tuple(machine.handle(OpenSession(), NOW_NS).events)
    first = World(machine, log, Ledger(log))
    known = {first.key()}
    edge: list[tuple[World, tuple[str, ...]]] = [(first, ())]
    transitions = 0
    for _ in range(length):
        reached = []
        for world, path in edge:
            for input in INPUTS:
                try:
                    after = successor(world, input)
                    transitions += after is not None
                    if after is None or (key := after.key()) in known:
                        continue
                    known.add(key)
                    check_snapshot(after, world)
                except Exception as error:
                    error.add_note(f"after: {', '.join((*path, input.name))}")
                    raise
                reached.append((after, (*path, input.name)))
        edge = reached
        yield len(known), transitions


@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.promise(6)
def test_every_sequence_of_inputs_over_two_runs_keeps_what_is_promised() -> None:
    for length, (states, transitions) in enumerate(explore(LENGTH), 1):
        print(f"up to {length} inputs: {states} states, {transitions} transitions")

    assert states > 3_000, "the world has shrunk: what is it that no longer happens?"
    assert transitions > 20_000
