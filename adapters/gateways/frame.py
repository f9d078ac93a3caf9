"""What every command has around it: its output, its exit code, and quiet ends.

Exit codes: 0 it worked; 1 the thing failed or was refused, with one line on standard error; 2
usage; 130 after Ctrl-C, 143 after SIGTERM, 141 when the reader of our output has gone.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import structlog
import trio
import typer
from moorage.runtime import MoorageError, SessionHeld
from moorage.runtime.session_errors import HELD_REMEDY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143
HELD_HERE = ": stop that process, or ask that server with --url"
_OWNER_TWICE = re.compile(r"pid (\d+ on \S+) \(process \1, (since [^)]*)\)")


class CommandFailed(MoorageError):
    """A command cannot do what it was asked to; the message says why, and what would help."""

    code = "command_failed"


class Terminated(BaseException):
    """SIGTERM has come; like a KeyboardInterrupt it is no failure of what was going on."""


def note(text: str) -> None:
    """Say something to the person: standard error, so that piped output stays data."""
    with suppress(BrokenPipeError):
        print(f"moorage: {text}", file=sys.stderr, flush=True)


def write(text: str) -> None:
    """Write data to standard output, at once. Raises BrokenPipeError."""
    sys.stdout.write(text)
    sys.stdout.flush()


async def write_soon(text: str) -> None:
    """Like ``write`` in a thread: a pager that stands still must not hold up the event loop."""
    if text:
        await trio.to_thread.run_sync(write, text, abandon_on_cancel=True)


def perform(command: Callable[[], Awaitable[int | None]]) -> None:
    """Run a command to its end and leave with its exit code. Raises typer.Exit."""
    try:
        code = trio.run(command)
    except BaseException as error:
        code = _exit_code(bare(error))
        if code is None:
            raise
    raise typer.Exit(code or 0)


def bare(error: BaseException) -> BaseException:
    """The exception that matters in a group: one that ends the process before any other."""
    while isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
        quiet = [one for one in inner if not isinstance(one, Exception)]
        error = (quiet or list(inner))[0]
    return error


def _exit_code(error: BaseException) -> int | None:
    """The exit code after ``error``, told to the person if need be; None for a defect of ours."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        return EXIT_TERMINATED
    if isinstance(error, BrokenPipeError):
        discard_output()
        return EXIT_BROKEN_PIPE
    if isinstance(error, SessionHeld):
        note(_without_owner_twice(str(error).replace(HELD_REMEDY, HELD_HERE)))
        return EXIT_FAILED
    if isinstance(error, MoorageError):
        note(str(error))
        return EXIT_FAILED
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        note(f"{place}{error.strerror or error}")
        return EXIT_FAILED
    return None


def _without_owner_twice(text: str) -> str:
    """A supervisor is called by its process, and a lock says which process has taken it."""
    return _OWNER_TWICE.sub(r"process \1 (\2)", text)


def discard_output() -> None:
    """Nobody reads any more: what the interpreter flushes at its end must not fail."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def settle_output() -> None:
    """What could not be written has been told: it must not be tried again when the interpreter
    ends, which would have the last word with an exit code of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()


def configure_logging(
    level: Literal["debug", "info", "warning", "error"] = "warning",
    format: Literal["lines", "json"] = "lines",
) -> None:
    """What the runtime logs goes to standard error: as plain lines, or as JSON with a time."""
    rendering: list[Any] = [_render]
    logger: Any = _StandardError
    if format == "json":
        rendering = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=str),
        ]
        logger = _StandardErrorAsItIs
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: logger(),
        cache_logger_on_first_use=False,
    )


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One line, and a traceback below it."""
    traceback = event.pop("traceback", None)
    line = structlog.processors.KeyValueRenderer(key_order=["level", "event"])(
        logger, method, event
    )
    return line if traceback is None else f"{line}\n{traceback.rstrip()}"


class _StandardError:
    """A logger that looks standard error up each time: tests and shells exchange it."""

    def warning(self, message: str) -> None:
        note(message)

    error = critical = exception = fatal = msg = info = debug = warning


class _StandardErrorAsItIs(_StandardError):
    """Lines are for programs: nothing stands in front of them."""

    def warning(self, message: str) -> None:
        with suppress(BrokenPipeError):
            print(message, file=sys.stderr, flush=True)

    error = critical = exception = fatal = msg = info = debug = warning
