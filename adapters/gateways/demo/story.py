"""The story: starts service and client, kills the service half-way, and has the client check.

Everything waits for progress, not for time; time only makes the phases long enough to watch. One
deadline over all ends the story with a reason.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..frame import CommandFailed
from .checks import Finding
from .places import Places
from .programs import SESSIONS
from .screen import Screen
from .service import TOKEN_VARIABLE
from .wire import Lines, PeerGone, connect, process_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

DEADLINE_SECONDS = 65.0
"""Beyond the seconds that the phases are asked to last."""
CHILDREN_GONE_SECONDS = 1.0
FRAME_SECONDS = 0.1
POLL_SECONDS = 0.005
ENDED_MIN = 8
"""Runs that must have ended before the kill, and again after it."""
QUEUED_MIN = 4
RUNNING_MIN = 3
CANCELLED_MIN = 2
EXIT_SECONDS = 10.0


class StoryFailed(CommandFailed):
    """The demo did not show what it should; the message is the reason."""

    code = "demo_failed"


@attrs.define
class Child:
    """A process of ours and the JSON lines to and from it."""

    name: str
    process: trio.Process
    lines: Lines
    errors: Path

    async def expect(self, key: str) -> Any:
        """Wait for the line that has ``key``. Raises StoryFailed if the process ends first."""
        async for value in self.lines:
            if key in value:
                return value[key]
        raise StoryFailed(f"the {self.name} ended: {self.last_words()}")

    def last_words(self) -> str:
        with suppress(OSError):
            lines = self.errors.read_text(errors="replace").strip().splitlines()
            if lines:
                return " | ".join(lines[-3:])
        return f"exit code {self.process.returncode}, nothing said"


class Story:
    """One telling of it."""

    def __init__(self, root: Path, screen: Screen, seconds: float) -> None:
        self._places = Places(root)
        self._screen = screen
        self._seconds = seconds
        self._token = secrets.token_hex(8)
        self._counts: dict[str, int] = {}
        self._rows: dict[str, Any] = {}
        self._client_done = False
        self._findings: list[Finding] | None = None
        self._status_from: str | None = None
        self._end_expected = False
        self._first_started = trio.Event()
        self.phase = "starting"

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._screen.phase(phase)

    async def tell(self) -> list[Finding]:
        """All of it; returns the findings. Raises StoryFailed."""
        async with (
            self._child("client", self._places.client_errors) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._listen_to, client)
            nursery.start_soon(self._watch)
            killed_at = await self._until_the_kill()
            await self._after_the_kill(client, killed_at)
            self._enter("checking")
            await client.lines.send("check")
            await self._until(lambda: self._findings is not None)
            nursery.cancel_scope.cancel()
        assert self._findings is not None
        return self._findings

    async def _until_the_kill(self) -> float:
        screen = self._screen
        async with self._child("service", self._places.service_errors) as service:
            pid = await service.expect("ready")
            screen.say(f"service {pid} serves {len(SESSIONS)} sessions with 2 slots each")
            self._enter("working")
            async with trio.open_nursery() as listening:
                listening.start_soon(self._listen_to_service, service)
                began = trio.current_time()
                await self._until(lambda: self._ready_to_kill(began))
                children = programs_alive(self._token)
                service.process.send_signal(signal.SIGKILL)
                killed_at = trio.current_time()
                self._status_from = None
                self._end_expected = True
                await service.process.wait()
                screen.say(
                    f"kill -9 {pid}, while {len(children)} programs were running", "bold red"
                )
                listening.cancel_scope.cancel()
        self._rows = {}
        self._enter("killed")
        screen.blank()
        gone = await self._wait_children_gone(killed_at)
        screen.say(f"all its programs were gone {gone:.2f} s after the kill")
        return killed_at

    def _ready_to_kill(self, began: float) -> bool:
        rows = self._rows.values()
        return (
            trio.current_time() - began >= self._seconds * 0.45
            and self._counts.get("ended", 0) >= ENDED_MIN
            and self._counts.get("cancelled", 0) >= CANCELLED_MIN
            and sum(len(row["running"]) for row in rows) >= RUNNING_MIN
            and sum(row["queued"] for row in rows) >= QUEUED_MIN
            and bool(programs_alive(self._token))
        )

    async def _wait_children_gone(self, killed_at: float) -> float:
        while True:
            # before the look: what holds this process up in between is none of their time
            passed = trio.current_time() - killed_at
            left = programs_alive(self._token)
            if not left:
                return passed
            if passed > CHILDREN_GONE_SECONDS:
                raise StoryFailed(f"{len(left)} programs were alive {passed:.1f} s after the kill")
            await trio.sleep(POLL_SECONDS)

    async def _after_the_kill(self, client: Child, killed_at: float) -> None:
        screen = self._screen
        ended_before = self._counts.get("ended", 0)
        self._first_started = trio.Event()
        async with self._child("service", self._places.service_errors) as service:
            pid = await service.expect("ready")
            serving = trio.current_time() - killed_at
            self._enter("going on")
            async with trio.open_nursery() as listening:
                listening.start_soon(self._listen_to_service, service)
                await self._first_started.wait()
                running = trio.current_time() - killed_at
                screen.say(
                    f"service {pid} serves again {serving:.2f} s after the kill, and runs "
                    f"programs after {running:.2f} s",
                    "green",
                )
                began = trio.current_time()
                await self._until(
                    lambda: (
                        trio.current_time() - began >= self._seconds * 0.3
                        and self._counts.get("ended", 0) - ended_before >= ENDED_MIN
                    )
                )
                self._enter("finishing what is queued")
                await client.lines.send("finish")
                await self._until(lambda: self._client_done)
                screen.say("every accepted run has ended; stopping the service")
                self._status_from = None
                self._end_expected = True
                listening.cancel_scope.cancel()
            await self._stop(service)

    async def _stop(self, service: Child) -> None:
        with suppress(PeerGone):
            await service.lines.send("stop")
        with trio.move_on_after(EXIT_SECONDS):
            if await service.process.wait():
                raise StoryFailed(f"the service did not stop cleanly: {service.last_words()}")
            return
        raise StoryFailed(f"the service did not stop within {EXIT_SECONDS:.0f} s")

    # ---- the processes ----

    @asynccontextmanager
    async def _child(self, name: str, errors: Path) -> AsyncIterator[Child]:
        """Start a process of the demo; on the way out it is killed if it is still there."""
        command = [sys.executable, "-m", f"moorage.adapters.gateways.demo.{name}"]
        command.append(str(self._places.root))
        if name == "service":
            command.append(self._token)
        with open(errors, "ab") as file:  # noqa: ASYNC230
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for the story, which then ends the others
            )
        lines = process_streams(process)
        try:
            yield Child(name, process, lines, errors)
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()
                await lines.aclose()

    async def _listen_to(self, client: Child) -> None:
        async for value in client.lines:
            if "findings" in value:
                self._findings = [Finding(**finding) for finding in value["findings"]]
                return
            self._counts, self._client_done = value["counts"], value["done"]
        await client.process.wait()
        raise StoryFailed(f"the client ended: {client.last_words()}")

    async def _listen_to_service(self, service: Child) -> None:
        self._status_from = str(self._places.socket)
        self._end_expected = False
        async for value in service.lines:
            if "first_started" in value:
                self._first_started.set()
        if self._end_expected:
            return
        await service.process.wait()
        raise StoryFailed(f"the service ended by itself: {service.last_words()}")

    async def _watch(self) -> None:
        """Ask the service how it is, and draw."""
        lines: Lines | None = None
        while True:
            try:
                if self._status_from is None:
                    raise PeerGone("not there")
                lines = lines or await connect(self._status_from)
                await lines.send({"id": 0, "op": "status"})
                self._rows = (await lines.receive())["sessions"]
                self._screen.show(self._rows, self._counts)
            except PeerGone:
                if lines is not None:
                    await lines.aclose()
                    lines = None
                self._screen.show(None, self._counts)
            await trio.sleep(FRAME_SECONDS)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - what it looks at is told by other processes
            await trio.sleep(POLL_SECONDS * 4)


def programs_alive(token: str) -> list[int]:
    """Process ids of the programs that were started with this token in their environment."""
    marker = f"{TOKEN_VARIABLE}={token}".encode()
    alive = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if marker in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    alive.append(int(name))
    return alive


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(
            prefix="moorage-demo-", ignore_cleanup_errors=True
        ) as root:
            yield Path(root)
    else:
        if keep.exists() and any(keep.iterdir()):
            raise CommandFailed(f"--keep needs a new or empty directory, and {keep} is none")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()


@contextmanager
def _without_socket(root: Path) -> Iterator[None]:
    """Leaves no socket behind; it is outside of ``root`` where that has a long path."""
    socket = Places(root).socket
    try:
        yield
    finally:
        with suppress(OSError):
            socket.unlink()


async def tell_story(*, seconds: float, keep: Path | None) -> int:
    """``moorage demo``; returns the exit code. Raises StoryFailed with the reason."""
    limit = seconds + DEADLINE_SECONDS
    with Screen() as screen, _directory(keep) as root, _without_socket(root):
        story = Story(root, screen, seconds)
        with trio.move_on_after(limit) as scope:
            findings = await story.tell()
        if scope.cancelled_caught:
            raise StoryFailed(f"the demo was not over after {limit:.0f} s: {story.phase}")
    screen.findings(findings)
    failed = [finding for finding in findings if not finding.holds]
    if failed:
        raise StoryFailed(". ".join(finding.reason() for finding in failed))
    screen.say(
        "nothing was lost, nothing but what the kill cut off ran again, nothing is left running",
        "bold green",
    )
    if keep is not None:
        screen.say(f"look around: moorage sessions --data {keep}/journal")
    return 0
