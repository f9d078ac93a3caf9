"""The processes of ``failover.py``: a database, nodes, and a proxy before each node's database."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import trio
from psycopg.conninfo import make_conninfo

from tests.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable

    from tests.postgres_server import PostgresSchema

PROGRAM = Path(__file__).with_name("failover_node.py")
LINE_BYTES = 65_536
LEAVE_SECONDS_MAX = 120.0
DIE_WITH_US = functools.partial(ctypes.CDLL(None).prctl, 1, signal.SIGKILL)
"""Loaded here: little is safe between fork and exec."""

Reply = dict[str, Any]


@attrs.define
class Gone(Exception):
    """The node ended, or did not answer in time; what was asked for may be done or not."""

    reason: str


class NodeProcess:
    """One life of a node. ``on_reply`` is called with every answer, late ones too, and
    ``on_events`` with what followers are given."""

    def __init__(self, command: list[str], errors: int) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # of this thread, the main one: it must not be started from one that ends earlier
            preexec_fn=DIE_WITH_US,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = trio.lowlevel.FdStream(os.dup(self._process.stdin.fileno()))
        self._output = trio.lowlevel.FdStream(os.dup(self._process.stdout.fileno()))
        self._process.stdin.close()
        self._process.stdout.close()
        self._sending = trio.Lock()
        self._waiting: dict[int, Callable[[Reply | None], None]] = {}
        self._numbers = itertools.count(1)
        self.pid = self._process.pid
        self.ready = False
        self.ended = trio.Event()
        self.code: int | None = None

    async def read(self, on_events: Callable[[str, list[list[Any]]], None]) -> None:
        """Take what it says until it ends; then everybody who waits is told."""
        rest = b""
        while True:
            try:
                chunk = await self._output.receive_some(LINE_BYTES)
            except trio.BrokenResourceError:
                break
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                said = json.loads(line)
                if "ready" in said:
                    self.ready = True
                elif "events" in said:
                    on_events(said["follower"], said["events"])
                else:
                    self._waiting.pop(said["id"])(said)
        self.code = await trio.to_thread.run_sync(self._process.wait)
        self.ready = False
        self.ended.set()
        for tell in list(self._waiting.values()):
            tell(None)
        self._waiting.clear()
        await self._output.aclose()

    async def ask(
        self, on_reply: Callable[[Reply | None], None], seconds: float, **request: Any
    ) -> Reply:
        """The answer, which ``on_reply`` is given as well, however late it is: None if the node
        ended without one. Raises Gone."""
        answered = trio.Event()
        found: list[Reply | None] = []

        def tell(reply: Reply | None) -> None:
            on_reply(reply)
            found.append(reply)
            answered.set()

        number = next(self._numbers)
        with trio.move_on_after(seconds):
            try:
                async with self._sending:
                    if self.ended.is_set():
                        raise Gone("it has ended")
                    self._waiting[number] = tell
                    line = json.dumps({"id": number, **request}).encode() + b"\n"
                    # never half a line, whatever becomes of who waits; the pipe holds many
                    with trio.CancelScope(shield=True):
                        await self._input.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Gone("it does not listen any more") from None
            await answered.wait()
        if not found or found[0] is None:
            raise Gone("it ended" if found else "no answer in time")
        return found[0]

    def send(self, what: signal.Signals) -> None:
        if self.code is None and not self.ended.is_set():
            self._process.send_signal(what)

    async def leave(self) -> int | None:
        """Have it end in order. Its exit code, None if it had to be killed."""
        await self._input.aclose()
        with trio.move_on_after(LEAVE_SECONDS_MAX):
            await self.ended.wait()
            return self.code
        self.send(signal.SIGKILL)
        await self.ended.wait()
        return None


class Member:
    """A place in the cluster: nodes live there, one after the other, behind a proxy."""

    def __init__(self, name: str, proxy: CuttingProxy) -> None:
        self.name = name
        self.proxy = proxy
        self.node: NodeProcess | None = None
        self.disturbed = False
        """By us, as far as we know: it is stopped, cut off, or not there."""


class Cluster:
    """All of it, and what it says when nobody asks."""

    def __init__(
        self,
        schema: PostgresSchema,
        lease_seconds: float,
        on_events: Callable[[str, list[list[Any]]], None],
        dice: random.Random,
        errors: Path,
    ) -> None:
        self.schema = schema
        self.lease_seconds = lease_seconds
        self.members: list[Member] = []
        self.problems: list[str] = []
        self.expected_ends: set[int] = set()
        """Process ids of those that we killed."""
        self.database_is_up = True
        self._on_events = on_events
        self._dice = dice
        self._errors = errors
        self._nursery: trio.Nursery | None = None

    @contextlib.asynccontextmanager
    async def running(self, nodes: int) -> AsyncGenerator[None]:
        """With so many nodes, none of which is left behind."""
        async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as proxies:
            self._nursery = nursery
            for number in range(nodes):
                proxy = CuttingProxy(self.schema.server.port)
                await proxies.enter_async_context(proxy.running())
                self.members.append(Member(f"n{number}", proxy))
            try:
                for member in self.members:
                    self.start(member)
                yield
            finally:
                for member in self.members:
                    if member.node is not None and member.node.code is None:
                        self.expected_ends.add(member.node.pid)
                        member.node.send(signal.SIGKILL)
                        member.node.send(signal.SIGCONT)

    def start(self, member: Member) -> None:
        assert self._nursery is not None
        dsn = make_conninfo(self.schema.server.dsn, port=member.proxy.port)
        command = [sys.executable, str(PROGRAM), dsn, self.schema.name, str(self.lease_seconds)]
        with self._errors.open("ab") as errors:
            node = member.node = NodeProcess(command, errors.fileno())
        member.disturbed = False
        self._nursery.start_soon(self._attend, member, node)

    async def _attend(self, member: Member, node: NodeProcess) -> None:
        await node.read(self._on_events)
        if node.code and node.pid not in self.expected_ends:
            self.problems.append(f"{member.name} ended by itself with exit code {node.code}")

    def choose(self) -> NodeProcess | None:
        """A node to ask: one that seems well, or now and then one that does not."""
        found = [
            member
            for member in self.members
            if member.node is not None and member.node.ready and member.node.code is None
        ]
        well = [member for member in found if not member.disturbed]
        if well and self._dice.random() < 0.9:
            found = well
        return self._dice.choice(found).node if found else None

    def rows(self, statement: str, *parameters: object) -> list[Any]:
        """Asked of the database itself. Raises psycopg.Error."""
        place = self.schema.store()._place
        with psycopg.connect(place.conninfo, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    async def ask_database(self, statement: str, *parameters: object) -> list[Any]:
        return await trio.to_thread.run_sync(lambda: self.rows(statement, *parameters))

    def crash_database(self) -> None:
        self.database_is_up = False
        self.schema.server.stop(signal.SIGQUIT)

    def start_database(self) -> None:
        """Blocks for a moment: the server has to be started by the main thread."""
        self.schema.server.start()
        self.database_is_up = True


def now() -> float:
    """As events have it: seconds since 1970."""
    return time.time()
