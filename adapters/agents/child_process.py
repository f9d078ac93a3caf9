"""A child process in a watched group: its pipes, its end, and the end of all it left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
import trio
from moorage.runtime.errors import InvalidArgument

from .process_errors import ProcessLimitReached, ProcessNotStarted
from .watcher import WATCHER
from .watcher_program import kill_strays

READ_BYTES = 65_536
PIPE_BYTES = 65_536
"""Capacity of a pipe where the system does not tell."""
POLL_SECONDS = 0.02
"""How often to look whether a child has ended, where the system cannot tell us."""
THREADS_MAX = 8

_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_limiter = trio.lowlevel.RunVar[trio.CapacityLimiter]("process_threads")
T = TypeVar("T")


@attrs.frozen
class Command:
    """What to execute. ``arguments`` is one string for a shell; ``program`` names it in errors."""

    arguments: Sequence[str] | str
    program: str
    shell: bool
    cwd: str | None
    environment: Mapping[str, str] | None


class PipeReader:
    """Reads a child's pipe to its end, or, once the writers are dead, until it is empty."""

    def __init__(self, descriptor: int, *, grace_seconds: float) -> None:
        self._stream = trio.lowlevel.FdStream(descriptor)
        self._grace_seconds = grace_seconds
        self._bytes_left: int | None = None
        self._waiting: trio.CancelScope | None = None

    async def receive(self) -> bytes:
        """The next bytes, at most READ_BYTES; none at the end."""
        if self._bytes_left is not None and self._bytes_left <= 0:
            return b""
        with trio.CancelScope() as scope:
            self._waiting = scope
            if self._bytes_left is not None:
                scope.deadline = trio.current_time() + self._grace_seconds
            chunk = bytes(await self._stream.receive_some(READ_BYTES))
            if self._bytes_left is not None:
                self._bytes_left -= len(chunk)
            return chunk
        return self._at_hand()

    def _at_hand(self) -> bytes:
        """What the pipe has when the grace is over: where this process was held up for that long,
        the last words of the dead are there still."""
        assert self._bytes_left is not None
        try:
            chunk = os.read(self._stream.fileno(), READ_BYTES)
        except BlockingIOError:
            return b""
        self._bytes_left -= len(chunk)
        return chunk

    def writers_died(self) -> None:
        """The process group is dead. Who left it before may hold the pipe open for ever, so from
        now on read no more than a pipe can hold, and wait no longer than the grace."""
        self._bytes_left = _capacity(self._stream.fileno())
        if self._waiting is not None:
            self._waiting.deadline = trio.current_time() + self._grace_seconds

    async def discard(self) -> None:
        while await self.receive():
            pass

    def close(self) -> None:
        self._stream.close()


def _capacity(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    except (AttributeError, OSError):
        return PIPE_BYTES


class Child:
    """A running program in a process group of its own.

    ``end`` must be called whatever happens; until then the child is neither reaped nor forgotten.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        group: int,
        pipes: _Pipes,
        pipe_grace_seconds: float,
    ) -> None:
        self._process = process
        self._group = group
        self._exited = False
        self._descriptor = _process_descriptor(process.pid)
        self.stdin = trio.lowlevel.FdStream(pipes.stdin)
        self.stdout = PipeReader(pipes.stdout, grace_seconds=pipe_grace_seconds)
        self.stderr = PipeReader(pipes.stderr, grace_seconds=pipe_grace_seconds)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """After ``end``: the exit code, or minus the number of the signal that killed it."""
        return self._process.returncode

    async def wait_exited(self) -> None:
        """Wait for the program itself, not for what it started. It is not reaped yet, so that its
        group's id stays its own (where the system cannot wait without reaping, it is: then the
        group keeps its id only while it has members, which are all that is left to kill)."""
        if not self._exited:
            if self._descriptor is not None:
                await trio.lowlevel.wait_readable(self._descriptor)
            else:
                while self._process.poll() is None:  # noqa: ASYNC110 - nobody tells us
                    await trio.sleep(POLL_SECONDS)
            self._exited = True

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to everything in the group, and to the program where it has left that;
        nothing left, or not ours to kill, is fine."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)
        if self._process.returncode is not None:
            return  # reaped: its id may be somebody else's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(self.pid)
            if group == self.pid:
                os.killpg(group, number)
            elif group != self._group:
                os.kill(self.pid, number)

    async def end(self, *, grace_seconds: float) -> None:
        """Leave nothing behind: terminate the group, kill it after the grace, reap, close.

        Call it in a shielded scope. Returns when the program has been reaped.
        """
        if not self._exited:
            self.stdin.close()
            self.signal_group(signal.SIGTERM)
            self.signal_group(signal.SIGCONT)  # a stopped process gets the signal only now
            with trio.move_on_after(grace_seconds):
                # The pipes stay open, and are emptied, so that saying goodbye does not block. The
                # program may be a wrapper that ends first: who holds a pipe still gets the grace.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.stdout.discard)
                    nursery.start_soon(self.stderr.discard)
                    await self.wait_exited()
        if not self._exited:
            await _in_thread(self._kill_strays)
        self.signal_group(signal.SIGKILL)
        await self.wait_exited()
        self.stdin.close()
        self.stdout.close()
        self.stderr.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        await _in_thread(self._forget_and_reap)

    def _kill_strays(self) -> None:
        """Kill what the program has put into sessions of its own, as coding agents do with the
        commands of their tools: it would have ended them, and cannot once it is killed."""
        groups = {self._group}
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.pid) == self.pid:  # else it may have joined ours
                groups.add(self.pid)
        kill_strays(groups)

    def _forget_and_reap(self) -> None:
        WATCHER.release(self._group)
        self._process.wait()


async def start_child(command: Command, *, pipe_grace_seconds: float) -> Child:
    """Start a program in a watched group of its own.

    Raises InvalidArgument, ProcessNotStarted and ProcessLimitReached; then nothing runs. If it is
    cancelled, nothing was started.
    """
    process, group, pipes = await _in_thread(lambda: _start(command))
    return Child(process, group, pipes, pipe_grace_seconds)


@attrs.frozen
class _Pipes:
    """Our ends, as file descriptors."""

    stdin: int
    stdout: int
    stderr: int


def _start(command: Command) -> tuple[subprocess.Popen[bytes], int, _Pipes]:
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as on_failure:
        group = WATCHER.reserve()
        on_failure.callback(WATCHER.release, group)
        try:
            stdin_end, stdin = os.pipe()
            theirs.callback(os.close, stdin_end)
            on_failure.callback(os.close, stdin)
            stdout, stdout_end = os.pipe()
            on_failure.callback(os.close, stdout)
            theirs.callback(os.close, stdout_end)
            stderr, stderr_end = os.pipe()
            on_failure.callback(os.close, stderr)
            theirs.callback(os.close, stderr_end)
            process = subprocess.Popen(
                command.arguments,
                stdin=stdin_end,
                stdout=stdout_end,
                stderr=stderr_end,
                shell=command.shell,
                cwd=command.cwd,
                env=command.environment,
                process_group=group,
            )
        except (OSError, ValueError) as error:
            raise _refusal(command, error) from error
        WATCHER.joined(group)
        on_failure.pop_all()
    return process, group, _Pipes(stdin, stdout, stderr)


def _refusal(command: Command, error: OSError | ValueError) -> Exception:
    program = command.program
    if not isinstance(error, OSError):  # a NUL byte, or a surrogate that is no file name
        return InvalidArgument(f"the command of {program!r} cannot be passed on: {error}")
    if error.errno in _SHORTAGES:
        return ProcessLimitReached(
            f"cannot start {program!r} now: {error.strerror}: retry when fewer processes run",
            program=program,
        )
    if command.cwd is not None and error.filename == command.cwd:
        reason = f"its cwd {command.cwd!r} cannot be entered: {error.strerror}"
    elif isinstance(error, FileNotFoundError):
        reason = "there is no such program: install it, or give its whole path"
    elif isinstance(error, PermissionError):
        reason = "it is not executable by this user"
    else:
        reason = f"{error.strerror} (errno {error.errno})"
    return ProcessNotStarted(f"cannot start {program!r}: {reason}", program=program)


def _process_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process has ended, where there are such."""
    pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
    if pidfd_open is None:
        return None
    try:
        return pidfd_open(pid)
    except OSError:
        return None


async def _in_thread(function: Callable[[], T]) -> T:
    # threads of our own: those that agents block must not hold up the end of a process
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS_MAX)
        _limiter.set(limiter)
    return await trio.to_thread.run_sync(function, limiter=limiter)
