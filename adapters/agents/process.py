"""ProcessAgent: every run is a child process."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import STATE_TYPES, Data
from moorage.runtime.identifiers import check_name
from moorage.runtime.limits import KIBIBYTE, MEBIBYTE
from moorage.runtime.runs import RunRequest

from .child_process import Command, start_child
from .process_lines import (
    LineFunction,
    Lines,
    TextLines,
    function_lines,
    json_lines,
)
from .process_run import Overflow, ProcessRun
from .watcher import WATCHER

if TYPE_CHECKING:
    from types import TracebackType

    from moorage.runtime.agents import RunContext

CommandLine = Sequence[str] | str
PathText = str | os.PathLike[str]


def _limit(default: float, minimum: float, *, whole: bool = True) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        if type(value) not in kinds or math.isnan(value) or value < minimum:
            kind = "whole number" if whole else "number"
            raise InvalidArgument(
                f"{attribute.name} must be a {kind} of at least {minimum}, not {value!r}"
            )

    return attrs.field(default=default, kw_only=True, validator=check)


@attrs.frozen(eq=False)
class ProcessAgent:
    """An agent that runs a child process per run, in a process group of its own.

    ``command`` is a sequence of strings, or a function of the RunRequest that returns one; with
    ``shell=True``, and only then, one string for the shell. Do not put a run's input into it.

    **Input.** The run's input goes to standard input, which is then closed: str (UTF-8) and bytes
    as they are, anything else as one line of JSON; ``encode_input`` may do it another way. A
    program need not read it. ``MOORAGE_SESSION_ID``, ``MOORAGE_RUN_ID`` and ``MOORAGE_ATTEMPT`` are
    in its environment (not with ``environment_policy="replace"``).

    **Events.** Lines of standard output become events as they come; reading waits while ``emit``
    does. With ``lines="text"`` each is ``message_streamed`` with ``{"delta": line}``, newline
    included, invalid UTF-8 replaced; a line over ``line_bytes_max`` is split, all but its last part
    marked ``"partial": True``. With ``lines="json"`` an object ``{"type": T, "data": D}`` becomes
    event T with data D if T is in AGENT_TYPES. ``event_types`` maps other types to events (data is
    the rest of the object where it has no ``"data"``). Everything else is ``provider_event`` with
    ``{"original": value}``, or ``{"line": text}`` where that is not JSON or not plain msgpack. A
    function as ``lines`` gets each line and returns (type, data) or None. In these two a line over
    ``line_bytes_max`` is cut: ``{"line": beginning, "truncated": True, "line_bytes": size}``.

    **Output.** The type ``result`` is no event: its data (last one wins) is the run's output.
    Without one, the output is ``{"exit_code", "output_truncated", "stderr", "stderr_truncated"}``,
    for text with ``"content"`` (the deltas joined, its first ``content_bytes_max``) and
    ``"content_truncated"``. Beyond ``output_bytes_max`` on standard output the run fails with
    ProcessOutputTooLarge, or, with ``output_overflow="truncate"``, the rest is thrown away. The
    last ``stderr_bytes_max`` of standard error are in the output and in errors.

    **Failure.** An exit code not in ``exit_codes_ok`` raises ProcessFailed with ``exit_code``,
    ``signal`` and ``stderr``; a command that cannot run raises ProcessNotStarted, or
    ProcessLimitReached if it is worth another try. A bad command or input raises InvalidArgument.

    **End.** When the program ends, what it started in its group is killed. On cancellation or error
    the group gets SIGTERM and after ``terminate_grace_seconds`` SIGKILL. What left the group and
    holds the pipes open is waited for no longer than ``pipe_grace_seconds``. If this process dies,
    even by SIGKILL, a watcher kills the group (see ``watcher.py``). ``async with agent:`` keeps the
    watcher running between runs, which saves some 10 ms of each run that runs alone.

    The programs stay in the session of this process: one that reads from a controlling terminal
    (``/dev/tty``) is stopped by the kernel, and waits until it is cancelled.
    """

    command: CommandLine | Callable[[RunRequest], CommandLine] = attrs.field(repr=False)
    shell: bool = attrs.field(default=False, kw_only=True)
    cwd: PathText | Callable[[RunRequest], PathText] | None = attrs.field(
        default=None, kw_only=True
    )
    environment: Mapping[str, str | None] | None = attrs.field(
        default=None, kw_only=True, repr=False
    )
    """Variables to set, or, with None, to leave out."""
    environment_policy: Literal["extend", "replace"] = attrs.field(default="extend", kw_only=True)
    """Whether ``environment`` is added to that of this process or is all there is."""
    encode_input: Callable[[RunRequest], str | bytes] | None = attrs.field(
        default=None, kw_only=True
    )
    lines: Literal["text", "json"] | LineFunction = attrs.field(default="text", kw_only=True)
    event_types: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    line_bytes_max: int = _limit(64 * KIBIBYTE, 1)
    output_bytes_max: int = _limit(64 * MEBIBYTE, 1)
    output_overflow: Overflow = attrs.field(default="fail", kw_only=True)
    content_bytes_max: int = _limit(1 * MEBIBYTE, 0)
    stderr_bytes_max: int = _limit(16 * KIBIBYTE, 0)
    exit_codes_ok: Collection[int] = attrs.field(
        default=frozenset({0}), kw_only=True, converter=frozenset
    )
    terminate_grace_seconds: float = _limit(2.0, 0, whole=False)
    pipe_grace_seconds: float = _limit(1.0, 0, whole=False)

    def __attrs_post_init__(self) -> None:
        if inspect.iscoroutinefunction(self.command):
            raise InvalidArgument("command must be a plain function, not an async one")
        if not callable(self.command):
            _check_command(self.command, shell=self.shell)
        _check_environment(self.environment or {})
        _one_of("environment_policy", self.environment_policy, ("extend", "replace"))
        _one_of("output_overflow", self.output_overflow, ("fail", "truncate"))
        if not callable(self.lines):
            _one_of("lines", self.lines, ("text", "json"))
        for code in self.exit_codes_ok:
            if type(code) is not int or not 0 <= code <= 255:
                raise InvalidArgument(f"exit_codes_ok must be codes from 0 to 255, not {code!r}")
        if self.event_types and self.lines != "json":
            raise InvalidArgument("event_types needs lines='json'")
        for type_ in self.event_types.values():
            if check_name("event type", type_) in STATE_TYPES:
                raise InvalidArgument(f"event_types may not map to {type_!r}: it is reserved")

    async def __call__(self, request: RunRequest, context: RunContext) -> Data:
        command = self._command(request)
        stdin = self._stdin(request)
        lines = self._lines()
        child = await start_child(command, pipe_grace_seconds=self.pipe_grace_seconds)
        try:
            run = ProcessRun(
                child,
                lines,
                context,
                program=command.program,
                output_bytes_max=self.output_bytes_max,
                overflow=self.output_overflow,
                stderr_bytes_max=self.stderr_bytes_max,
            )
            await run.execute(stdin)
        finally:
            with trio.CancelScope(shield=True):
                await child.end(grace_seconds=self.terminate_grace_seconds)
        return run.outcome(frozenset(self.exit_codes_ok))

    async def __aenter__(self) -> ProcessAgent:
        await trio.to_thread.run_sync(WATCHER.hold)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(WATCHER.let_go)

    def _command(self, request: RunRequest) -> Command:
        arguments = self.command(request) if callable(self.command) else self.command
        program = _check_command(arguments, shell=self.shell)
        cwd = self.cwd(request) if callable(self.cwd) else self.cwd
        return Command(
            arguments=arguments if isinstance(arguments, str) else tuple(arguments),
            program=program,
            shell=self.shell,
            cwd=None if cwd is None else os.fspath(cwd),
            environment=self._environment(request),
        )

    def _environment(self, request: RunRequest) -> Mapping[str, str]:
        variables: dict[str, str | None] = {}
        if self.environment_policy == "extend":
            variables.update(os.environ)
            variables["MOORAGE_SESSION_ID"] = request.session_id
            variables["MOORAGE_RUN_ID"] = request.run_id
            variables["MOORAGE_ATTEMPT"] = str(request.attempt)
        variables.update(self.environment or {})
        return {name: value for name, value in variables.items() if value is not None}

    def _stdin(self, request: RunRequest) -> bytes:
        value = request.input if self.encode_input is None else self.encode_input(request)
        if isinstance(value, bytes):
            return value
        try:
            if isinstance(value, str):
                return value.encode()
            return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"the input of run {request.run_id} cannot be passed on as JSON: {error}: "
                "give ProcessAgent an encode_input"
            ) from error

    def _lines(self) -> Lines:
        if callable(self.lines):
            return function_lines(self.lines, line_bytes_max=self.line_bytes_max)
        if self.lines == "json":
            return json_lines(self.event_types, line_bytes_max=self.line_bytes_max)
        return TextLines(
            line_bytes_max=self.line_bytes_max, content_bytes_max=self.content_bytes_max
        )


def _check_command(command: object, *, shell: bool) -> str:
    """Check a command line and return what to call it in messages."""
    if shell:
        if type(command) is not str or not command.strip():
            raise InvalidArgument(f"with shell=True command must be one string, not {command!r}")
        return "shell"
    if isinstance(command, str):
        raise InvalidArgument(
            f"command is the string {command[:80]!r}: give a sequence such as ['program', "
            "'argument'], or shell=True if a shell is to read it"
        )
    if not isinstance(command, Sequence) or not command:
        raise InvalidArgument(f"command must be a sequence of strings, not {command!r}")
    for part in command:
        if type(part) is not str or "\0" in part:
            raise InvalidArgument(f"command must consist of strings without NUL, not {part!r}")
    if not command[0]:
        raise InvalidArgument("command must begin with the name of a program, not ''")
    return str(command[0])


def _check_environment(environment: Mapping[str, str | None]) -> None:
    for name, value in environment.items():
        if type(name) is not str or not name or "=" in name or "\0" in name:
            raise InvalidArgument(f"environment has the name {name!r}: no '=' and no NUL in it")
        if value is not None and (type(value) is not str or "\0" in value):
            raise InvalidArgument(f"environment[{name!r}] must be a string without NUL, or None")


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidArgument(f"{name} must be one of {', '.join(choices)}, not {value!r}")
