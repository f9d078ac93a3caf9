"""The commands that an agent runs through us, in its working directory."""

from __future__ import annotations

import signal
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.limits import MEBIBYTE

from ..child_process import Child, Command, PipeReader, start_child
from ..process_errors import ProcessLimitReached, ProcessNotStarted
from ..process_run import Tail, signal_name
from ..provider.json_rpc import INTERNAL_ERROR, INVALID_PARAMS, RpcRefused
from ..provider.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .files import WorkingFiles

TERMINALS_MAX = 32
OUTPUT_BYTES_MAX = 1 * MEBIBYTE
"""Of a command's output that is kept, its end; an agent may ask for less."""
PIPE_GRACE_SECONDS = 0.2
END_GRACE_SECONDS = 0.3
"""From SIGTERM to SIGKILL when the run ends: it has to be over within a second."""


@attrs.define
class Terminal:
    """A command that was started, and what it has written."""

    child: Child
    output: Tail
    exited: trio.Event = attrs.field(factory=trio.Event)

    def status(self) -> dict[str, Any] | None:
        """How it ended, in the protocol's words, or None while it runs."""
        if not self.exited.is_set() or self.child.returncode is None:
            return None
        code = self.child.returncode
        if code < 0:
            return {"exitCode": None, "signal": signal_name(-code)}
        return {"exitCode": code, "signal": None}


class Terminals:
    """Starts commands in ``nursery`` and ends them with it. Refusals are RpcRefused.

    Every command is in a watched group of its own, so that none outlives us.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        files: WorkingFiles,
        environment: Mapping[str, str | None] | None,
    ) -> None:
        self._nursery = nursery
        self._files = files
        self._environment = dict(environment or {})
        self._terminals: dict[str, Terminal] = {}

    async def create(
        self,
        command: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        output_bytes_max: int | None = None,
    ) -> str:
        """Start a command and return the terminal's id. A command with arguments, or whose name
        has no space, is a program; any other is a line for the shell."""
        if len(self._terminals) >= TERMINALS_MAX:
            raise RpcRefused(
                INVALID_PARAMS, f"{TERMINALS_MAX} terminals are open: release one of them"
            )
        shell = not arguments and " " in command.strip()
        whole = Command(
            arguments=command if shell else (command, *arguments),
            program=command,
            shell=shell,
            cwd=self._files.root if cwd is None else self._files.inside(cwd),
            environment=child_environment({**self._environment, **(environment or {})}),
        )
        try:
            child = await start_child(whole, pipe_grace_seconds=PIPE_GRACE_SECONDS)
        except (InvalidArgument, ProcessNotStarted) as error:
            raise RpcRefused(INVALID_PARAMS, str(error)) from error
        except ProcessLimitReached as error:
            raise RpcRefused(INTERNAL_ERROR, str(error)) from error
        kept = OUTPUT_BYTES_MAX if output_bytes_max is None else output_bytes_max
        terminal = Terminal(child, Tail(min(kept, OUTPUT_BYTES_MAX)))
        terminal_id = f"terminal-{uuid.uuid4().hex[:12]}"
        self._terminals[terminal_id] = terminal
        self._nursery.start_soon(self._run, terminal)
        return terminal_id

    def output(self, terminal_id: str) -> dict[str, Any]:
        """What it wrote (the end of it), whether that is all, and how it ended if it did."""
        terminal = self._known(terminal_id)
        text = terminal.output.text()
        if terminal.output.truncated:
            text = text.lstrip("\ufffd")  # the cut may have gone through a character
        told: dict[str, Any] = {"output": text, "truncated": terminal.output.truncated}
        if (status := terminal.status()) is not None:
            told["exitStatus"] = status
        return told

    async def wait_exit(self, terminal_id: str) -> dict[str, Any]:
        """How it ended, once it has."""
        terminal = self._known(terminal_id)
        await terminal.exited.wait()
        return terminal.status() or {"exitCode": None, "signal": None}

    def kill(self, terminal_id: str) -> None:
        """End it; its output can still be read."""
        terminal = self._known(terminal_id)
        if not terminal.exited.is_set():
            terminal.child.signal_group(signal.SIGKILL)

    def release(self, terminal_id: str) -> None:
        """End it and forget it."""
        self.kill(terminal_id)
        del self._terminals[terminal_id]

    def _known(self, terminal_id: str) -> Terminal:
        if terminal_id not in self._terminals:
            raise RpcRefused(INVALID_PARAMS, f"there is no terminal {terminal_id!r}")
        return self._terminals[terminal_id]

    async def _run(self, terminal: Terminal) -> None:
        child = terminal.child
        child.stdin.close()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, child.stdout, terminal.output)
                nursery.start_soon(self._keep, child.stderr, terminal.output)
                await child.wait_exited()
                child.signal_group(signal.SIGKILL)
                child.stdout.writers_died()
                child.stderr.writers_died()
        finally:
            with trio.CancelScope(shield=True):
                await child.end(grace_seconds=END_GRACE_SECONDS)
            terminal.exited.set()

    async def _keep(self, pipe: PipeReader, output: Tail) -> None:
        with suppress(trio.ClosedResourceError):
            while chunk := await pipe.receive():
                output.add(chunk)
