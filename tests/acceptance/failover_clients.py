"""The clients of ``failover.py``, which write down what they were told, and nothing else."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any

import attrs
import trio

from tests.acceptance.failover_cluster import Cluster, Gone, NodeProcess, Reply

ANSWER_SECONDS = 5.0
"""After that a client asks another node; the answer may still come, and counts."""
WAIT_SECONDS = 3.0
PAUSE_SECONDS = (0.2, 1.0)
QUIET_PAUSE_SECONDS = (5.0, 9.0)
"""Longer than a lease: a session that was asked for would be taken over for that alone."""
QUIET_STEPS = (40, 90)
WAITED_FOR_MAX = 20
"""Runs whose outcome a client still wants to see."""


@attrs.define
class Books:
    """What was asked for and what was acknowledged, by keys and tokens of the clients' own."""

    sessions: set[str] = attrs.field(factory=set)
    submits: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    """Key -> the ids of the runs that were acknowledged for it."""
    appends: dict[str, str] = attrs.field(factory=dict)
    """Token -> unknown, kept or refused."""
    steers: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    approvals: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Token, asked for once -> the run, and unknown, accepted or not accepted."""
    cancels: dict[str, set[bool]] = attrs.field(factory=lambda: defaultdict(set))
    outcomes: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    """Run id -> the outcomes that were seen of it."""
    seen: dict[str, list[list[Any]]] = attrs.field(factory=lambda: defaultdict(list))
    """Session -> (seq, type, run id) of every event that its follower has, each once."""
    waiting: dict[str, dict[str, None]] = attrs.field(factory=lambda: defaultdict(dict))
    """Session -> the ids of runs that wait for an answer, as far as its follower knows."""
    problems: list[str] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    _last: dict[str, int] = attrs.field(factory=dict)

    def take_events(self, follower: str, events: list[list[Any]]) -> None:
        """A subscription gives every event once and in order; the next one of the same name may
        give some again, and leaves none out. ``follower`` is SESSION/NUMBER."""
        session_id = follower.partition("/")[0]
        seen = self.seen[session_id]
        for event in events:
            seq = event[0]
            last = self._last.get(follower, min(seq - 1, len(seen)))
            if seq != last + 1:
                self.problems.append(f"{follower}: seq {seq} was delivered behind {last}")
            self._last[follower] = seq
            if seq == len(seen) + 1:
                seen.append(event)
                self._note_waiting(session_id, *event[1:])
                self.counts["delivered"] += 1
            else:
                self.counts["delivered again"] += 1
                if seq > len(seen) or seen[seq - 1] != event:
                    self.problems.append(f"{follower}: {event} is not what was delivered before")

    def _note_waiting(self, session_id: str, type: str, run_id: str | None) -> None:
        if type == "run_waiting":
            self.waiting[session_id][str(run_id)] = None
        elif type in ("run_resumed", "run_cancelled"):
            self.waiting[session_id].pop(str(run_id), None)


class Client:
    """Works with one session, whichever nodes there are."""

    def __init__(
        self, session_id: str, cluster: Cluster, books: Books, seed: str, *, quiet: bool
    ) -> None:
        """A ``quiet`` one has long work done and asks for nothing while it goes on."""
        self.session_id = session_id
        self._quiet = quiet
        self._cluster = cluster
        self._books = books
        self._dice = random.Random(seed)
        self._serial = 0
        self._runs: list[str] = []

    def _name(self) -> str:
        self._serial += 1
        return f"{self.session_id}.{self._serial}"

    async def _ask(self, node: NodeProcess | None, note: Any, **request: Any) -> Reply:
        """Ask this node once. Raises Gone."""
        if node is None:
            await trio.sleep(0.2)
            raise Gone("there is no node")
        try:
            return await node.ask(
                note, request.pop("seconds", ANSWER_SECONDS), session=self.session_id, **request
            )
        except Gone:
            self._books.counts[f"gone on {request['do']}"] += 1
            raise

    async def _insist(self, note: Any, **request: Any) -> Any:
        """Ask one node after the other until one has done it; for what may be asked again."""
        while True:
            try:
                reply = await self._ask(self._cluster.choose(), note, **request)
            except Gone:
                continue
            if "answer" in reply:
                return reply["answer"]
            self._books.counts[f"{reply['error']} on {request['do']}"] += 1
            await trio.sleep(0.1)

    async def run(self, over: trio.Event) -> None:
        """Until ``over``; what was begun then is brought to its end."""
        await self._insist(_ignore, do="open")
        self._books.sessions.add(self.session_id)
        while not over.is_set():
            acts = {self._submit: 3, self._approve: 1}
            if not self._quiet:
                acts = {
                    self._submit: 5,
                    self._append: 4,
                    self._cancel: 1,
                    self._steer: 2,
                    self._wait: 3,
                    self._approve: 3,
                }
            (act,) = self._dice.choices(list(acts), weights=list(acts.values()))
            await act()
            pause = QUIET_PAUSE_SECONDS if self._quiet else PAUSE_SECONDS
            with trio.move_on_after(self._dice.uniform(*pause)):
                await over.wait()

    async def _submit(self) -> None:
        key, books = self._name(), self._books

        def note(reply: Reply | None) -> None:
            if reply is not None and "answer" in reply:
                books.submits[key].add(reply["answer"])

        long = self._dice.random() < 0.3
        steps = QUIET_STEPS if self._quiet else (10, 40) if long else (0, 5)
        spec = {
            "key": key,
            "steps": self._dice.randrange(*steps),
            "fails": self._dice.random() < 0.1,
            "asks": self._dice.random() < 0.25,
        }
        books.submits[key]  # asked for
        self._runs.append(await self._insist(note, do="submit", key=key, input=spec))
        del self._runs[:-WAITED_FOR_MAX]

    async def _append(self) -> None:
        """Once: an append has no key."""
        token, books = self._name(), self._books
        books.appends[token] = "unknown"

        def note(reply: Reply | None) -> None:
            if reply is not None and "answer" in reply:
                books.appends[token] = "kept"
            elif reply is not None and not reply["unknown"]:
                books.appends[token] = "refused"

        with suppress(Gone):
            await self._ask(self._cluster.choose(), note, do="append", token=token)

    async def _cancel(self) -> None:
        if not self._runs:
            return
        run_id, books = self._dice.choice(self._runs[-2:]), self._books

        def note(reply: Reply | None) -> None:
            if reply is not None and "answer" in reply:
                books.cancels[run_id].add(reply["answer"])

        await self._insist(note, do="cancel", run=run_id)

    async def _steer(self) -> None:
        if not self._runs:
            return
        run_id, token, books = self._runs[-1], self._name(), self._books

        def note(reply: Reply | None) -> None:
            if reply is not None and "answer" in reply:
                books.steers[token].add(reply["answer"])

        for _ in range(self._dice.randrange(1, 3)):  # now and then somebody says it twice
            await self._insist(note, do="steer", run=run_id, token=token)

    async def _approve(self) -> None:
        """Of what waits for it; now and then two do so at once, wherever they are."""
        waiting = list(self._books.waiting[self.session_id])
        if not waiting:
            return
        run_id = self._dice.choice(waiting)
        async with trio.open_nursery() as nursery:
            for _ in range(self._dice.randrange(1, 3)):
                nursery.start_soon(self._approve_run, run_id)

    async def _approve_run(self, run_id: str) -> None:
        """Until somebody has answered; each time in another name, so that each is asked once."""
        answered, books = False, self._books
        while not answered:
            token = self._name()
            books.approvals[token] = run_id, "unknown"

            def note(reply: Reply | None, token: str = token) -> None:
                if reply is not None and "answer" in reply:
                    what = "accepted" if reply["answer"] else "not accepted"
                    books.approvals[token] = run_id, what

            with suppress(Gone):
                node = self._cluster.choose()
                reply = await self._ask(node, note, do="approve", run=run_id, token=token)
                answered = "answer" in reply
            await trio.sleep(0.1)

    async def _wait(self) -> None:
        if not self._runs:
            return
        run_id, books = self._dice.choice(self._runs), self._books

        def note(reply: Reply | None) -> None:
            if reply is not None and "answer" in reply:
                books.outcomes[run_id].add(reply["answer"])

        with suppress(Gone):
            node = self._cluster.choose()
            await self._ask(node, note, do="wait", run=run_id, seconds=WAIT_SECONDS)

    async def follow(self) -> None:
        """Follow the session by name, through whichever node there is, until cancelled."""
        number = 0
        while True:
            node = self._cluster.choose()
            number += 1
            follower = f"{self.session_id}/{number}"
            patience = self._dice.uniform(4.0, 20.0)
            try:
                await self._ask(node, _ignore, do="follow", follower=follower, seconds=patience)
            except Gone:
                if node is not None and not node.ended.is_set():
                    await self._leave(node, follower)
            await trio.sleep(0.2)

    async def _leave(self, node: NodeProcess, follower: str) -> None:
        with suppress(Gone):
            await self._ask(node, _ignore, do="unfollow", follower=follower, seconds=1.0)


def _ignore(reply: Reply | None) -> None:
    """Nothing of it is worth a note."""
