"""A provider's program that speaks lines of JSON on its standard input and output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.limits import KIBIBYTE, MEBIBYTE

from ..child_process import Child, Command, start_child
from ..process_errors import ProcessNotStarted
from ..process_run import Tail, signal_name
from .failures import (
    ProtocolViolated,
    ProviderExited,
    ProviderNotConfigured,
    ProviderNotInstalled,
)
from .framing import Framing, JsonLines
from .settings import child_environment
from .side_tasks import open_side_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from ..process_lines import LineEvent

    Garbage = Callable[[dict[str, Any]], Awaitable[object]]

LINE_BYTES_MAX = 16 * MEBIBYTE
STDERR_BYTES_MAX = 16 * KIBIBYTE
GARBAGE_LINES_MAX = 1_000
"""Lines that are no JSON object; a program that writes more speaks another language."""
TERMINATE_GRACE_SECONDS = 0.5
"""From SIGTERM to SIGKILL: a cancelled run has to be over within a second."""
EXIT_GRACE_SECONDS = 1.0
"""How long a program that has closed its pipes may take to end, before we go on without."""
PIPE_GRACE_SECONDS = 0.2

logger = structlog.get_logger("moorage")


@contextlib.asynccontextmanager
async def open_line_process(
    command: Sequence[str],
    environment: Mapping[str, str | None] | None = None,
    cwd: str | None = None,
    *,
    provider: str,
    on_garbage: Garbage | None = None,
    line_bytes_max: int = LINE_BYTES_MAX,
    stderr_bytes_max: int = STDERR_BYTES_MAX,
    goodbye_seconds: float = 0.0,
    framing: Callable[[int], Framing] = JsonLines,
) -> AsyncIterator[LineProcess]:
    """Run ``command`` for the length of a block, in a watched process group of its own.

    ``environment`` is laid over that of this process; None as value leaves a variable out. A line
    that is no JSON object goes to ``on_garbage`` as ``{"line": text}``, one over ``line_bytes_max``
    as ``{"line": beginning, "truncated": True, "line_bytes": size}``; without the function they are
    logged. The last ``stderr_bytes_max`` of standard error are kept for failures. ``framing`` tells
    how messages are told apart (made with ``line_bytes_max``): by lines, unless it is given.

    When the block is left the group gets SIGTERM, and SIGKILL half a second later. Before that, if
    the block ended well, the program has ``goodbye_seconds`` to end by itself after its standard
    input was closed.

    Raises ProviderNotInstalled if there is no such program, ProviderNotConfigured if ``cwd`` cannot
    be entered, InvalidArgument for a command that is none, ProcessLimitReached if the system has no
    room for another process.
    """
    child = await _start(provider, command, environment, cwd)
    process = LineProcess(
        child,
        provider=provider,
        program=os.path.basename(command[0]),
        on_garbage=on_garbage,
        framing=framing(line_bytes_max),
        stderr_bytes_max=stderr_bytes_max,
    )
    try:
        async with open_side_tasks() as nursery:
            nursery.start_soon(process._keep_stderr)
            nursery.start_soon(process._watch_exit)
            yield process
            if goodbye_seconds > 0:
                with trio.move_on_after(goodbye_seconds):
                    await process._say_goodbye()
    finally:
        with trio.CancelScope(shield=True):
            await child.end(grace_seconds=TERMINATE_GRACE_SECONDS)


class LineProcess:
    """A running program: objects in, objects out. Made by ``open_line_process``.

    Any task may ``send``; only one may read.
    """

    def __init__(
        self,
        child: Child,
        *,
        provider: str,
        program: str,
        on_garbage: Garbage | None,
        framing: Framing,
        stderr_bytes_max: int,
    ) -> None:
        self.provider = provider
        self._child = child
        self._program = program
        self._on_garbage = on_garbage
        self._framing = framing
        self._pending: deque[LineEvent] = deque()
        self._at_end = False
        self._stderr = Tail(stderr_bytes_max)
        self._stderr_ended = trio.Event()
        self._ended = trio.Event()
        self._sending = trio.Lock()
        self._torn = False
        self._garbage_lines = 0

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stderr(self) -> str:
        """The end of what the program has written to standard error so far."""
        return self._stderr.text()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write one line. Waits while the program does not read.

        Raises ProviderExited if it cannot be written any more, InvalidArgument if it is no JSON,
        and ProtocolViolated after a ``send`` that was cancelled in the middle of its line.
        """
        try:
            text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            line = self._framing.frame(text)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"a message to {self._program!r} is no JSON: {error}") from error
        async with self._sending:
            if self._torn:
                raise ProtocolViolated(
                    f"{self._program!r} was sent half a line when a message was cancelled: "
                    "start it again",
                    provider=self.provider,
                )
            self._torn = True
            try:
                await self._child.stdin.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise await self.exited() from None
            self._torn = False

    def close_input(self) -> None:
        """Nothing more will be sent: the program sees the end of its standard input."""
        self._child.stdin.close()

    def messages(self) -> AsyncIterator[dict[str, Any]]:
        """The objects that the program writes, to the end of its output; see ``receive``."""
        return _Messages(self)

    async def receive(self) -> dict[str, Any] | None:
        """The next object, or None once the program has ended with exit code 0.

        Raises ProviderExited for any other end, ProtocolViolated after GARBAGE_LINES_MAX lines that
        are no objects, and what ``on_garbage`` raises.
        """
        while True:
            while self._pending:
                kind, data, _ = self._pending.popleft()
                if kind == "message":
                    return data  # type: ignore[no-any-return]
                await self._report(data)
            if self._at_end:
                break
            if chunk := await self._child.stdout.receive():
                self._pending.extend(self._framing.feed(chunk))
            else:
                self._at_end = True
                self._pending.extend(self._framing.finish())
        failure = await self.exited()
        if failure.exit_code != 0:
            raise failure
        return None

    async def exited(self) -> ProviderExited:
        """The failure that the program's end is, once it has ended (or, if it only closed its
        pipes, after a second)."""
        with trio.move_on_after(EXIT_GRACE_SECONDS):
            await self._ended.wait()
            await self._stderr_ended.wait()
        code = _exit_code(self._child)
        facts: dict[str, Any] = {"stderr": self.stderr}
        if code is None:
            how = "closed its standard output and did not end"
        elif code < 0:
            facts["signal"] = signal_name(-code)
            how = f"was killed by {facts['signal']}"
        else:
            facts["exit_code"] = code
            how = f"ended with exit code {code}"
        last = self.stderr.strip().rpartition("\n")[2].strip()[-200:]
        message = f"{self._program!r} {how}" + (f": {last}" if last else "")
        return ProviderExited(message, provider=self.provider, **facts)

    async def _report(self, data: dict[str, Any]) -> None:
        self._garbage_lines += 1
        if self._garbage_lines > GARBAGE_LINES_MAX:
            raise ProtocolViolated(
                f"{self._program!r} wrote more than {GARBAGE_LINES_MAX} lines that are no JSON "
                f"object, the last {data['line'][:200]!r}: is it the right program and version?",
                provider=self.provider,
            )
        if self._on_garbage is not None:
            await self._on_garbage(data)
        else:
            logger.warning("provider_line_unreadable", provider=self.provider, **_short(data))

    async def _keep_stderr(self) -> None:
        while chunk := await self._child.stderr.receive():
            self._stderr.add(chunk)
        self._stderr_ended.set()

    async def _watch_exit(self) -> None:
        await self._child.wait_exited()
        self._ended.set()
        self._child.signal_group(signal.SIGKILL)
        self._child.stdout.writers_died()
        self._child.stderr.writers_died()

    async def _say_goodbye(self) -> None:
        self.close_input()
        await self._child.stdout.discard()
        await self._ended.wait()


class _Messages:
    """Not a generator: one that is left early would have to be closed by hand."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> dict[str, Any]:
        message = await self._process.receive()
        if message is None:
            raise StopAsyncIteration
        return message


def _short(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "line": data["line"][:200]}


async def _start(
    provider: str,
    command: Sequence[str],
    environment: Mapping[str, str | None] | None,
    cwd: str | None,
) -> Child:
    if isinstance(command, str) or not command or any(type(part) is not str for part in command):
        raise InvalidArgument(f"command must be a sequence of strings, not {command!r}")
    whole = Command(
        arguments=tuple(command),
        program=command[0],
        shell=False,
        cwd=cwd,
        environment=child_environment(environment),
    )
    try:
        return await start_child(whole, pipe_grace_seconds=PIPE_GRACE_SECONDS)
    except ProcessNotStarted as error:
        cause = error.__cause__
        bad_cwd = cwd is not None and isinstance(cause, OSError) and cause.filename == cwd
        kind = ProviderNotConfigured if bad_cwd else ProviderNotInstalled
        raise kind(f"{provider}: {error}", provider=provider) from error


def _exit_code(child: Child) -> int | None:
    """The exit code, or minus the signal, of a program that has ended and is not reaped yet."""
    if child.returncode is not None:
        return child.returncode
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
