"""Two sessions in a real supervisor live through any sequence of commands, faults and crashes.

After every step the log is what the live machine thinks it is, a subscriber has seen exactly the
log, and the log tells a story that keeps the promises. A command is a tuple, and one function
interprets them all under a virtual clock, so that a failing sequence shrinks to a short one.

A process death is a store that stops writing: at that moment, or within an append that did or did
not reach the medium. Whatever the dying process still does leaves no trace, and the next
supervisor finds what a power failure would have left.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.runtime import (
    Event,
    MoorageError,
    RunContext,
    RunRequest,
    Session,
    SessionInfo,
    SessionQuarantined,
    StoreFailed,
    Supervisor,
    SupervisorLimits,
    open_supervisor,
)
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.recall import recall
from moorage.runtime.testing import VirtualClock, assert_history
from moorage.stores import MemoryStore
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Claim, Record, Snapshot

SESSIONS = ("one", "two")
LISTEN = "listen"
RUNNING_MAX = 3
LIMITS = SupervisorLimits(
    runs_running_max=RUNNING_MAX,
    runs_queued_max=6,
    idle_seconds=4.0,
    cancel_grace_seconds=1.0,
    drain_seconds=2.0,
    snapshot_events_max=7,
)
EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "25"))
LONG_SECONDS = 100_000.0
"""More than all that is asked for here can take; it passes at once."""


class MortalStore(MemoryStore):
    """A MemoryStore that dies like a process, and whose writes fail as they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = False
        self.next_append: str | None = None

    def after_death(self) -> MortalStore:
        """What the next process finds."""
        heir = MortalStore()
        heir._content = self._content
        return heir

    async def append(
        self, claim: Claim, *, expected_seq: int, records: Sequence[Record], info: Any = None
    ) -> None:
        self._check_alive()
        fault, self.next_append = self.next_append, None
        if fault in (None, "die behind", "lose answer"):
            await super().append(claim, expected_seq=expected_seq, records=records, info=info)
        if fault == "full":
            raise StoreFailed("no space left on device", written=False)
        if fault in ("lose answer", "lose write"):
            raise StoreFailed("connection lost")
        if fault == "defect":
            raise RuntimeError("a defect")
        if fault is not None:
            self.dead = True
            self._check_alive()

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        self._check_alive()
        await super().save_snapshot(claim, snapshot)

    def _check_alive(self) -> None:
        if self.dead:
            raise StoreFailed("this process is dead", poisoned=True)


FAULTS = ("full", "lose answer", "lose write", "defect", "die in front", "die behind")


class Agent:
    """Does what its input says, and counts the tasks in which it does."""

    def __init__(self) -> None:
        self.running = 0
        self.running_max = 0
        self.calls: Counter[str] = Counter()

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        what, seconds = request.input
        self.calls[request.run_id] += 1
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await context.emit("message_streamed", {"attempt": request.attempt})
            if what in (LISTEN, "hear"):
                await listen(context, seconds, tells=what == LISTEN)
            with trio.CancelScope(shield=what == "shield"):
                await trio.sleep(seconds)
            if what == "park":
                await context.park("question")
            if what == "wait":
                await context.park("question", timeout_seconds=9.0, default="nobody")
            if what == "ask":
                await context.ask("question", timeout_seconds=5.0, default="nobody")
            if what == "raise":
                raise RuntimeError("boom")
        finally:
            self.running -= 1
        return what


async def listen(context: RunContext, seconds: float, *, tells: bool) -> None:
    """Take what the run is steered with, and tell of it as it should, or not at all."""
    context.accept_steers()
    with trio.move_on_after(seconds):
        while True:
            await context.wait_steer()
            for steer in context.take_steers():
                if tells:
                    await context.emit("message_sent", {"content": "m", "steer_id": steer.id})


class History:
    """What callers were told over all lives of the process, to be held against the log."""

    def __init__(self) -> None:
        self.accepted: dict[str, list[str]] = {name: [] for name in SESSIONS}
        self.keys: dict[tuple[str, str], str] = {}
        self.cancelled: set[str] = set()
        self.answered: Counter[str] = Counter()
        self.steers: dict[str, list[str]] = {name: [] for name in SESSIONS}
        self.outcomes: dict[str, str] = {}
        self.seen: dict[str, list[Event]] = {name: [] for name in SESSIONS}

    def check(self, name: str, log: list[Event], agent: Agent) -> None:
        submitted = [event.run_id for event in log if event.type == "run_submitted"]
        assert set(self.accepted[name]) <= set(submitted), "accepted is durable"
        assert agent.running_max <= RUNNING_MAX, "the limit over all sessions"
        unfinished = set(submitted)
        for event in log:
            if event.type in RUN_TERMINAL_TYPES:
                unfinished.discard(event.run_id)
                if event.run_id in self.cancelled:
                    assert event.type == "run_cancelled", "cancelled is the outcome"
                if event.run_id in self.outcomes:
                    assert event.type == f"run_{self.outcomes[event.run_id]}"
        assert_history(log, unfinished=[run_id or "" for run_id in unfinished])
        check_slots(log)
        self.check_talk(name, log)
        starts = Counter(event.run_id for event in log if event.type == "run_started")
        for run_id in submitted:
            assert agent.calls[run_id or ""] <= starts[run_id], "started before it is executed"

    def check_talk(self, name: str, log: list[Event]) -> None:
        """Answers count once; a message is told, or a run, or still on its way, and only one."""
        answers = [e for e in log if e.type in ("run_answered", "run_resumed")]
        by_somebody = Counter(e.run_id for e in answers if "expired" not in e.data)
        runs = {event.run_id for event in log}
        answered = {id: count for id, count in self.answered.items() if id in runs}
        assert answered.items() <= by_somebody.items(), "who was told that it counts is heard"
        assert all(count == 1 for count in Counter(e.run_id for e in answers).values())
        submitted = {event.run_id for event in log if event.type == "run_submitted"}
        steered = {e.data["steer_id"]: e.run_id for e in log if e.type == "run_steered"}
        taken = [e.data["steer_id"] for e in log if e.type == "run_steer_taken"]
        told = [e.data["steer_id"] for e in log if e.type == "message_sent"]
        ended = {event.run_id for event in log if event.type in RUN_TERMINAL_TYPES}
        tell = [e.run_id for e in log if e.type == "run_submitted" and e.data["input"][0] == LISTEN]
        assert {id for id in taken if steered[id] in tell} <= set(told), "told, so not lost"
        assert set(self.steers[name]) <= steered.keys() | submitted, "accepted is durable"
        assert max(Counter(told).values(), default=0) <= 1
        assert set(told) <= set(taken)
        for steer_id, run_id in steered.items():
            ways = taken.count(steer_id) + (steer_id in submitted)
            assert ways == (1 if steer_id in taken else run_id in ended)


def check_slots(log: list[Event]) -> None:
    """Never more than the slots of the moment start; fewer slots take effect as runs end."""
    slots, running = 1, set()
    for event in log:
        if event.run_id is None:
            slots = event.data.get("slots", slots) if event.type in SLOT_TYPES else slots
        elif event.type == "run_started":
            running.add(event.run_id)
            assert len(running) <= slots
        elif event.type in RUN_TERMINAL_TYPES or event.type in ("run_requeued", "run_waiting"):
            running.discard(event.run_id)


SLOT_TYPES = ("session_opened", "session_configured")


class Life:
    """One process: a supervisor, its sessions, a subscriber of each, and waiting callers."""

    def __init__(self, supervisor: Supervisor, store: MortalStore, past: History) -> None:
        self.supervisor = supervisor
        self.store = store
        self.past = past
        self.nursery: trio.Nursery
        self.sessions: dict[str, Session] = {}

    async def open_sessions(self) -> None:
        for name in SESSIONS:
            with trio.fail_after(LONG_SECONDS):
                self.sessions[name] = await self.supervisor.session(name)
            self.nursery.start_soon(self.follow, name)

    async def follow(self, name: str) -> None:
        """See everything once, over all lives; a session that is closed is followed again."""
        seen = self.past.seen[name]
        try:
            while True:
                after = seen[-1].seq if seen else 0
                async with self.sessions[name].subscribe(after=after) as events:
                    async for event in events:
                        seen.append(event)
                await self.store.wait_news(name, after=seen[-1].seq if seen else 0)
        except StoreFailed:
            assert self.store.dead

    async def wait_for(self, name: str, run_id: str) -> None:
        try:
            outcome = await self.sessions[name].wait(run_id)
        except StoreFailed:
            assert self.store.dead
        except SessionQuarantined:
            return
        else:
            self.past.outcomes[run_id] = str(outcome.state)

    async def do(self, command: tuple[Any, ...]) -> None:
        """Give one command; what refuses it must be a MoorageError."""
        verb, *arguments = command
        try:
            with trio.fail_after(LONG_SECONDS):
                await getattr(self, verb)(*arguments)
        except MoorageError as error:
            if isinstance(error, StoreFailed) and not self.store.dead:
                await trio.sleep(1)  # the session is built again from its log

    async def submit(self, name: str, what: str, seconds: float, key: str, options: Any) -> None:
        options = dict(options)
        if key:
            options["key"] = key
            what, seconds = KEYED.get(key, (what, seconds))
        run = await self.sessions[name].submit([what, seconds], **options)
        accepted = self.past.accepted[name]
        if key:
            known = self.past.keys.setdefault((name, key), run.id)
            assert run.id == known, "the same key is the same run"
        if run.id not in accepted:
            accepted.append(run.id)
        self.nursery.start_soon(self.wait_for, name, run.id)

    async def cancel(self, name: str, number: int) -> None:
        accepted = self.past.accepted[name]
        if accepted:
            run_id = accepted[number % len(accepted)]
            if await self.sessions[name].cancel(run_id):
                self.past.cancelled.add(run_id)
            assert not await self.sessions[name].cancel(run_id) or run_id in self.past.cancelled

    async def answer(self, name: str) -> None:
        status = await self.sessions[name].status()
        for run_id in (*status.waiting, *status.running, *status.queued):
            if await self.sessions[name].answer(run_id, "question", "yes"):
                self.past.answered[run_id] += 1

    async def steer(self, name: str, number: int) -> None:
        accepted = self.past.accepted[name]
        running = (await self.sessions[name].status()).running
        candidates = running or accepted
        if candidates:
            run_id = candidates[number % len(candidates)]
            steer = await self.sessions[name].steer(run_id, ["return", 0.5])
            self.past.steers[name].append(steer.steer_id)

    async def configure(self, name: str, slots: int) -> None:
        await self.sessions[name].configure(slots=slots)

    async def pause(self, name: str) -> None:
        await self.sessions[name].pause()

    async def resume(self, name: str) -> None:
        await self.sessions[name].resume()

    async def drain(self, name: str, queued: Any) -> None:
        report = await self.sessions[name].drain(timeout_seconds=3, queued=queued)
        assert not set(report.interrupted) & set(report.requeued)

    async def close(self, name: str, force: bool) -> None:
        await self.sessions[name].close(force=force)

    async def reopen(self, name: str) -> None:
        await self.sessions[name].reopen()

    async def unquarantine(self, name: str) -> None:
        await self.supervisor.unquarantine(name)

    async def end_all(self, name: str) -> None:
        for _ in range(3):  # a run parks once, and may be interrupted before it does
            await self.answer(name)
            await self.sessions[name].wait_idle()

    async def soon(self, command: tuple[Any, ...]) -> None:
        self.nursery.start_soon(self.do, command)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def fault(self, name: str) -> None:
        self.store.next_append = name

    async def crash(self) -> None:
        self.store.dead = True

    async def check(self, agent: Agent) -> None:
        await wait_all_tasks_blocked()
        for name in SESSIONS:
            log = await read_log(self.store, name)
            self.past.check(name, log, agent)
            await self.check_live(name)
            if not self.store.dead:
                assert self.past.seen[name] == log, "a subscriber sees the log"

    async def check_live(self, name: str) -> None:
        """replay(log) == live state, wherever there is a live one."""
        resident = self.supervisor.residents._by_id.get(name)
        worker = resident.worker if resident is not None else None
        if worker is None or not worker.serving or self.store.dead:
            return
        if not worker._ending:  # else it is given up
            assert worker._machine.image == await replay(self.store, name)


async def read_log(store: MemoryStore, name: str) -> list[Event]:
    info = await store.info(name)
    return [] if info is None else (await store.read(name, limit=10_000)).events


async def replay(store: MemoryStore, name: str) -> Any:
    """The state as the whole log has it; and from the latest snapshot on, it is the same."""
    info: SessionInfo | None = await store.info(name)
    head_seq = 0 if info is None else info.head_seq
    image = await recall(store, name, head_seq=head_seq, info=info, snapshot=None)
    snapshot = await store.snapshot(name) if info is not None else None
    assert image == await recall(store, name, head_seq=head_seq, info=info, snapshot=snapshot)
    return image


class Exit(Exception):
    """Raised in the supervisor's block."""


async def live(
    commands: list[tuple[Any, ...]], store: MortalStore, past: History, agent: Agent, time_ns: Any
) -> None:
    """One life of the process; takes its commands off the list."""
    with suppress(Exit):
        async with open_supervisor(store, agent, limits=LIMITS, time_ns=time_ns) as supervisor:
            life = Life(supervisor, store, past)
            async with trio.open_nursery() as life.nursery:
                await life.do(("open_sessions",))
                command: tuple[Any, ...] = ()
                while commands and not store.dead and command not in (RESTART, EXIT):
                    command = commands.pop(0)
                    if command not in (RESTART, EXIT):
                        await life.do(command)
                    await life.check(agent)
                store.next_append = None
                life.nursery.cancel_scope.cancel()
            if store.dead or command == EXIT:
                raise Exit
    assert agent.running == 0, "leaving ends every task"


async def interpret(commands: list[tuple[Any, ...]], clock: VirtualClock) -> None:
    store, past, agent = MortalStore(), History(), Agent()
    rest = list(commands)
    while rest:
        await live(rest, store, past, agent, clock.time_ns)
        if store.dead:
            store = store.after_death()
    verbs = ("unquarantine", "reopen", "resume", "end_all")
    ends = [(verb, name) for name in SESSIONS for verb in verbs]
    await live(ends, store, past, agent, clock.time_ns)
    async with store.reading() as reader:
        for name in SESSIONS:
            assert_history((await reader.read(name, limit=10_000)).events)  # nothing is unfinished


RESTART, EXIT = ("restart",), ("leave by an exception",)
NAMES = st.sampled_from(SESSIONS)
SECONDS = st.sampled_from([6.0, 2.0, 0.5, 0.0])
KEYED = {"k1": ("return", 2.0), "k2": ("park", 0.5)}
"""What is submitted with these keys is always the same; with other keys it is a conflict."""
OPTIONS = st.fixed_dictionaries(
    {"on_interrupt": st.sampled_from(["requeue", "fail"])},
    optional={
        "attempts_max": st.integers(1, 2),
        "timeout_seconds": st.sampled_from([0.0, 1.0, 5.0]),
        "queue_seconds_max": st.sampled_from([0.0, 1.0, 5.0]),
        "silence_seconds_max": st.sampled_from([1.0, 5.0]),
    },
)
WHAT = st.sampled_from(["return", "raise", "park", "shield", "wait", "ask", LISTEN, "hear"])
SUBMIT = st.tuples(
    st.just("submit"), NAMES, WHAT, SECONDS, st.sampled_from(["", "", "k1", "k2", "k3"]), OPTIONS
)
CANCEL = st.tuples(st.just("cancel"), NAMES, st.integers(0, 9))
ANSWER = st.tuples(st.just("answer"), NAMES)
STEER = st.tuples(st.just("steer"), NAMES, st.integers(0, 9))
RESUME = st.tuples(st.just("resume"), NAMES)
SWITCH = st.tuples(st.sampled_from(["pause", "reopen", "unquarantine"]), NAMES)
CONFIGURE = st.tuples(st.just("configure"), NAMES, st.integers(1, 3))
DRAIN = st.tuples(st.just("drain"), NAMES, st.sampled_from(["keep", "finish"]))
CLOSE = st.tuples(st.just("close"), NAMES, st.booleans())
SOON = st.tuples(st.just("soon"), CANCEL | STEER | RESUME | DRAIN | CLOSE)
SLEEP = st.tuples(st.just("sleep"), st.sampled_from([0.5, 1.5, 5.0]))
FAULT = st.tuples(st.just("fault"), st.sampled_from(FAULTS))
END = st.sampled_from([RESTART, EXIT, ("crash",)])
WEIGHTS = {
    SUBMIT: 12, CANCEL: 3, ANSWER: 3, STEER: 4, RESUME: 3, SWITCH: 2, CONFIGURE: 2,
    DRAIN: 1, CLOSE: 1, SOON: 2, SLEEP: 3, FAULT: 2, END: 2,
}  # fmt: skip
COMMANDS = [command for command, weight in WEIGHTS.items() for _ in range(weight)]
COMMAND = st.integers(0, len(COMMANDS) - 1).flatmap(COMMANDS.__getitem__)


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.promise(4)
@pytest.mark.promise(7)
@given(commands=st.lists(COMMAND, min_size=20, max_size=50))
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
def test_the_log_is_the_live_state_whatever_happens(commands: list[tuple[Any, ...]]) -> None:
    clock = VirtualClock()
    trio.run(interpret, commands, clock, clock=clock.trio_clock)
