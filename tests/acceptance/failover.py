"""A cluster on Postgres under constant trouble, checked from outside: nothing may be lost.

    python tests/acceptance/failover.py [--seconds 120] [--seed 1]

A real database, four nodes, and forty clients that write down what was acknowledged. By a seed
nodes are killed, stopped for longer than a lease, and cut off from the database, and the database
crashes. At the end the logs are held against what the clients have: all of it is there, once and in
order, every run has one end, each command was done once, followers have seen everything once,
epochs only went up, what a killed node was running was taken over in time, and nothing is left.

Prints one line of JSON. Exits with 1 if anything is amiss, or if what has to hold was never put to
the test.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import structlog
import trio

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.acceptance.failover_checks import (
    Kill,
    check_left_over,
    check_logs,
    read_logs,
    takeovers,
)
from tests.acceptance.failover_clients import Books, Client
from tests.acceptance.failover_cluster import Cluster, Member, now
from tests.acceptance.failover_watch import Watch
from tests.cutting_proxy import Cut
from tests.postgres_server import PostgresSchema, PostgresServer

NODES = 4
SESSIONS = 40
QUIET_EVERY = 4
LEASE_SECONDS = 4.0
"""So long that the quarter of a lease which a takeover has to spare is a second."""
TAKEOVER_LEASES_MAX = 1.5
"""From a node's death, with nothing added: the time for which the machine stood still is taken
off."""
QUIET_LEASES = 2.0
"""After a kill that is to be measured nothing else happens for so long."""
FAULT_SECONDS = (0.5, 3.0)
"""Between two faults."""
LONGER_SECONDS_MAX = 60.0
"""It goes on for so long until there was one of each."""
QUIET_SECONDS_MAX = 20.0
"""For all nodes to be well again before such a kill."""
DISTURBED_MAX = 2
"""Nodes that are disturbed at a time."""
EPOCHS_SECONDS = 0.25
SETTLE_SECONDS_MAX = 90.0
"""For what was begun to be brought to its end, when the faults are over."""
AMBUSH_SECONDS_MAX = 3.0
MARKER_OF_APPENDS = b"note\xc0\x81\xa5token"
"""In the statement that keeps an event which a client has appended, and in no other."""
NEEDED = ("kill", "ambush that worked", "stop", "silence", "cut", "crash")
APPROVED = ("accepted", "not accepted")
LEFT_OVER = {
    "nodes": "SELECT number, owner FROM node WHERE lease_until > clock_timestamp()",
    "owned sessions": "SELECT s.id, s.owner FROM session AS s JOIN node AS n "
    "ON n.number = s.owner WHERE n.lease_until > clock_timestamp()",
    "unfinished sessions": "SELECT id FROM session WHERE needs_worker",
    "unanswered commands": "SELECT id, session_id, kind FROM command WHERE answer IS NULL",
    "locks": "SELECT locktype, mode FROM pg_locks WHERE locktype = 'advisory' OR NOT granted",
    "connections": "SELECT pid, query FROM pg_stat_activity "
    "WHERE application_name = 'moorage' AND pid <> pg_backend_pid()",
}


class Trouble:
    """Faults, one after the other."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.kills: list[Kill] = []
        self.watch = Watch()
        self._cluster = cluster
        self._dice = dice
        self._pending: tuple[float, frozenset[str]] | None = None

    def _disturbing(self) -> None:
        """From now on a kill before does not count as undisturbed."""
        if self._pending is not None:
            at, sessions = self._pending
            self.kills.append(Kill(at, now(), sessions))
            self.counts["kill that nothing disturbed"] += (
                now() - at > TAKEOVER_LEASES_MAX * LEASE_SECONDS
            )
            self._pending = None

    async def run(self, seconds: float, nursery: trio.Nursery) -> None:
        faults = [self._stop, self._silence, self._silence, self._cut, self._crash]
        kills = [self._kill, self._kill, self._lone_kill, self._ambush, self._ambush]
        bag: list[Any] = []
        until = trio.current_time() + seconds
        while trio.current_time() < until or (
            trio.current_time() < until + LONGER_SECONDS_MAX
            and (self.missing() or not self.counts["kill that nothing disturbed"])
        ):
            await trio.sleep(self._dice.uniform(*FAULT_SECONDS))
            well = self._well()
            if len(well) <= NODES - DISTURBED_MAX:
                continue
            if not bag:
                bag = self._dice.sample(faults + kills, k=len(faults + kills))
            fault = bag.pop()
            self.counts[fault.__name__.strip("_")] += 1
            if fault in kills:
                await fault(self._dice.choice(well), nursery)
                # for a look at what becomes of what it did, now and then
                if fault == self._lone_kill or self._dice.random() < 0.5:
                    await trio.sleep(QUIET_LEASES * LEASE_SECONDS)
            else:
                self._disturbing()
                nursery.start_soon(fault, self._dice.choice(well))
        self._disturbing()

    def missing(self) -> list[str]:
        return [fault for fault in NEEDED if not self.counts[fault]]

    def _well(self) -> list[Member]:
        return [
            member
            for member in self._cluster.members
            if not member.disturbed and member.node is not None and member.node.ready
        ]

    async def _held(self, member: Member) -> frozenset[str]:
        """The sessions that its node has."""
        assert member.node is not None
        with suppress(psycopg.Error):
            rows = await self._cluster.ask_database(
                "SELECT s.id FROM session AS s JOIN node AS n ON n.number = s.owner "
                "WHERE n.owner LIKE %s",
                f"pid {member.node.pid} on %",
            )
            return frozenset(row[0] for row in rows)
        return frozenset()

    async def _lone_kill(self, member: Member, nursery: trio.Nursery) -> None:
        """Kill the node that has most, when nothing else is amiss."""
        with trio.move_on_after(QUIET_SECONDS_MAX):
            while len(self._well()) < NODES or not self._cluster.database_is_up:
                await trio.sleep(0.1)
        held = {one: len(await self._held(one)) for one in self._well()}
        await self._kill(max(held, key=held.__getitem__, default=member), nursery)

    async def _kill(self, member: Member, nursery: trio.Nursery) -> None:
        self._disturbing()
        node = member.node
        assert node is not None
        member.disturbed = True
        self._cluster.expected_ends.add(node.pid)
        held = await self._held(member)
        node.send(signal.SIGKILL)
        at = now()
        await node.ended.wait()
        others = [other for other in self._cluster.members if other.disturbed]
        if self._cluster.database_is_up and others == [member]:
            self._pending = at, held
        nursery.start_soon(self._start_again, member)

    async def _ambush(self, member: Member, nursery: trio.Nursery) -> None:
        """Kill it when what a command caused is in the database, and nobody has been told yet."""
        self._disturbing()
        node, proxy = member.node, member.proxy
        assert node is not None
        member.disturbed = True
        self._cluster.expected_ends.add(node.pid)
        cuts = proxy.cuts
        proxy.refusing = True  # it may not find out by itself that it was kept
        proxy.plan[MARKER_OF_APPENDS] = (Cut.AFTER, 1)
        with trio.move_on_after(AMBUSH_SECONDS_MAX):
            while proxy.cuts == cuts:
                await trio.sleep(0.002)
            self.counts["ambush that worked"] += 1
        node.send(signal.SIGKILL)
        await node.ended.wait()
        proxy.plan.clear()
        proxy.refusing = False
        nursery.start_soon(self._start_again, member)

    async def _start_again(self, member: Member) -> None:
        await trio.sleep(self._dice.uniform(0.2, 2.0) * LEASE_SECONDS)
        self._cluster.start(member)

    async def _stop(self, member: Member) -> None:
        """For longer than a lease: others have its sessions when it goes on."""
        node = member.node
        assert node is not None
        member.disturbed = True
        node.send(signal.SIGSTOP)
        try:
            await trio.sleep(self._dice.uniform(1.2, 2.5) * LEASE_SECONDS)
        finally:
            node.send(signal.SIGCONT)
            member.disturbed = False

    async def _silence(self, member: Member) -> None:
        """A cut network: its connections stay, and nothing comes through."""
        member.disturbed = True
        member.proxy.fall_silent()
        # shorter than a lease now and then; or what was on its way arrives under the next owner
        leases = self._dice.choice((0.5, 1.8, 2.5))
        await trio.sleep(leases * LEASE_SECONDS)
        member.proxy.speak()
        member.disturbed = False

    async def _cut(self, member: Member) -> None:
        """All of its connections break, at whatever they are, and for a moment there are none."""
        member.disturbed = True
        member.proxy.refusing = True
        member.proxy.cut_all()
        await trio.sleep(self._dice.uniform(0.0, 1.2) * LEASE_SECONDS)
        member.proxy.refusing = False
        member.disturbed = False

    async def _crash(self, member: Member) -> None:
        """The database, for everybody."""
        if self._cluster.database_is_up:
            self._cluster.crash_database()
            await trio.sleep(self._dice.uniform(0.0, 1.0) * LEASE_SECONDS)
            self._cluster.start_database()


async def watch_epochs(cluster: Cluster, problems: list[str], counts: Counter[str]) -> None:
    """Until cancelled."""
    before: dict[str, int] = {}
    while True:
        await trio.sleep(EPOCHS_SECONDS)
        try:
            rows = await cluster.ask_database("SELECT id, epoch FROM session")
        except psycopg.Error:
            continue
        for session_id, epoch in rows:
            last = before.get(session_id, 0)
            if epoch < last:
                problems.append(f"{session_id}: epoch {epoch} came after {last}")
            counts["claims seen"] += epoch > last
            before[session_id] = epoch


async def settle(cluster: Cluster) -> bool:
    """Wait until every session is done with its work and every command is answered."""
    with trio.move_on_after(SETTLE_SECONDS_MAX):
        while True:
            unfinished = [LEFT_OVER["unfinished sessions"], LEFT_OVER["unanswered commands"]]
            with suppress(psycopg.Error):
                if not any([await cluster.ask_database(question) for question in unfinished]):
                    return True
            await trio.sleep(0.2)
    return False


async def wait_followed(cluster: Cluster, books: Books) -> None:
    """Wait until every follower has what there is."""
    with trio.move_on_after(SETTLE_SECONDS_MAX):
        while True:
            rows = await cluster.ask_database("SELECT id, head_seq FROM session")
            if all(len(books.seen[session_id]) >= head for session_id, head in rows):
                return
            await trio.sleep(0.2)


async def torment(cluster: Cluster, books: Books, seconds: float, seed: int) -> Trouble:
    """Everything that goes on while the nodes run."""
    trouble = Trouble(cluster, random.Random(f"faults {seed}"))
    names = [f"s{number}" for number in range(SESSIONS)]
    clients = [
        Client(name, cluster, books, f"{name} {seed}", quiet=number % QUIET_EVERY == 0)
        for number, name in enumerate(names)
    ]
    over = trio.Event()
    async with cluster.running(NODES):
        async with trio.open_nursery() as watching:
            watching.start_soon(watch_epochs, cluster, books.problems, books.counts)
            watching.start_soon(trouble.watch.run)
            for client in clients:
                watching.start_soon(client.follow)
            with trio.move_on_after(seconds + LONGER_SECONDS_MAX + SETTLE_SECONDS_MAX) as patience:
                async with trio.open_nursery() as working:
                    for client in clients:
                        working.start_soon(client.run, over)
                    async with trio.open_nursery() as faults:
                        await trouble.run(seconds, faults)
                    over.set()
            if patience.cancelled_caught:
                books.problems.append("clients did not come to an end of what they had begun")
            if not await settle(cluster):
                books.problems.append("sessions did not come to an end of their work")
            await wait_followed(cluster, books)
            watching.cancel_scope.cancel()
        async with trio.open_nursery() as leaving:
            for member in cluster.members:
                leaving.start_soon(leave, member, books)
    return trouble


async def leave(member: Member, books: Books) -> None:
    if member.node is not None and (code := await member.node.leave()) != 0:
        books.problems.append(f"{member.name} did not leave in order: exit code {code}")


async def check(cluster: Cluster, books: Books, trouble: Trouble) -> dict[str, Any]:
    logs = await read_logs(cluster)
    seconds_max = TAKEOVER_LEASES_MAX * LEASE_SECONDS
    times, late = takeovers(logs, trouble.kills, trouble.watch, seconds_max)
    left = {name: await cluster.ask_database(text) for name, text in LEFT_OVER.items()}
    problems = [*cluster.problems, *books.problems, *check_logs(logs, books), *late]
    problems += check_left_over(left)
    problems += [f"there was no {fault}" for fault in trouble.missing()]
    if not times:
        problems.append("no takeover could be measured")
    approvals = Counter(what for _, what in books.approvals.values())
    problems += [f"no approval was {what}" for what in APPROVED if not approvals[what]]
    appends = Counter(books.appends.values())
    return {
        "problems": len(problems),
        "what": problems[:40],
        "faults": dict(trouble.counts),
        "events": sum(len(log) for log in logs.values()),
        "runs": len(books.submits),
        "appends": dict(appends),
        "approvals": dict(approvals),
        "steers": len(books.steers),
        "cancels": sum(True in answers for answers in books.cancels.values()),
        "outcomes_seen": len(books.outcomes),
        "counts": dict(sorted(books.counts.items())),
        "takeovers": len(times),
        "takeover_seconds_median": round(sorted(times)[len(times) // 2], 2) if times else None,
        "takeover_seconds_max": round(max(times), 2) if times else None,
    }


async def run(seconds: float, seed: int, server: PostgresServer, errors: Path) -> int:
    books = Books()
    schema = PostgresSchema(server, "failover")
    schema.make()
    dice = random.Random(f"choices {seed}")
    cluster = Cluster(schema, LEASE_SECONDS, books.take_events, dice, errors)
    began = trio.current_time()
    trouble = await torment(cluster, books, seconds, seed)
    result = await check(cluster, books, trouble)
    if result["problems"]:
        show_end(errors)
    head = {"failover": "postgres", "seed": seed, "seconds": round(trio.current_time() - began)}
    print(json.dumps(head | result))
    return 1 if result["problems"] else 0


def show_end(errors: Path) -> None:
    """The last lines of what the nodes logged."""
    for line in errors.read_text(errors="replace").splitlines()[-200:]:
        print(line, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="moorage-failover-") as directory:
        server = PostgresServer()
        try:
            server.make()
            server.start()
            code = trio.run(run, options.seconds, options.seed, server, Path(directory) / "errors")
        finally:
            server.remove()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if children:
            print(f"PROBLEM processes are left: {children}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
