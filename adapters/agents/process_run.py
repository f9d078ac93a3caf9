"""One run of a child process: input in, lines out as events, standard error kept."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from typing import TYPE_CHECKING, Literal

import trio
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument

from .process_errors import ProcessFailed, ProcessOutputTooLarge, ProcessResultInvalid
from .process_lines import NO_RESULT, LineEvent, Lines

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.events import Data

    from .child_process import Child

Overflow = Literal["fail", "truncate"]


class Tail:
    """The last bytes of a stream, at most ``bytes_max``."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.truncated = False

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > self._bytes_max:
            self.truncated = True
            first = self._chunks.popleft()
            surplus = min(len(first), self._size - self._bytes_max)
            self._size -= surplus
            if surplus < len(first):
                self._chunks.appendleft(first[surplus:])

    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")


class ProcessRun:
    """``execute`` while the program runs; ``outcome`` after the child was ended and reaped."""

    def __init__(
        self,
        child: Child,
        lines: Lines,
        context: RunContext,
        *,
        program: str,
        output_bytes_max: int,
        overflow: Overflow,
        stderr_bytes_max: int,
    ) -> None:
        self._child = child
        self._lines = lines
        self._context = context
        self._program = program
        self._output_bytes_max = output_bytes_max
        self._overflow = overflow
        self._output_bytes = 0
        self._output_truncated = False
        self._stderr = Tail(stderr_bytes_max)

    async def execute(self, stdin: bytes) -> None:
        """Return when the program has ended and all its output has been emitted.

        Raises what ``emit`` and the lines' function raise, and ProcessOutputTooLarge.
        """
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            feeding = trio.CancelScope()
            nursery.start_soon(self._feed, stdin, feeding)
            nursery.start_soon(self._keep_stderr)
            nursery.start_soon(self._end_group_on_exit, feeding)
            try:
                await self._emit_stdout()
            except Exception as error:  # raised below, bare and not in a group
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # a frame that its own traceback leads to is a cycle

    def outcome(self, exit_codes_ok: frozenset[int]) -> Data:
        """The run's output. Raises ProcessFailed and ProcessResultInvalid."""
        code = self._child.returncode
        if code not in exit_codes_ok:
            raise self._failure(code)
        result = self._lines.result
        if result is not NO_RESULT:
            try:
                pack(result, "result")
            except InvalidArgument as error:
                raise ProcessResultInvalid(
                    f"{self._program!r} gave a result that cannot be kept: {error}",
                    **self._facts(),
                ) from error
            return result
        output: dict[str, Data] = {"exit_code": code, "output_truncated": self._output_truncated}
        if self._lines.content is not None:
            output["content"] = self._lines.content
            output["content_truncated"] = self._lines.content_truncated or self._output_truncated
        return output | {"stderr": self._stderr.text(), "stderr_truncated": self._stderr.truncated}

    async def _feed(self, stdin: bytes, feeding: trio.CancelScope) -> None:
        with feeding, contextlib.suppress(trio.BrokenResourceError):  # it need not read its input
            await self._child.stdin.send_all(stdin)
        self._child.stdin.close()

    async def _keep_stderr(self) -> None:
        while chunk := await self._child.stderr.receive():
            self._stderr.add(chunk)

    async def _end_group_on_exit(self, feeding: trio.CancelScope) -> None:
        await self._child.wait_exited()
        self._child.signal_group(signal.SIGKILL)
        feeding.cancel()
        self._child.stdout.writers_died()
        self._child.stderr.writers_died()

    async def _emit_stdout(self) -> None:
        receive, feed = self._child.stdout.receive, self._lines.feed
        while chunk := await receive():
            self._output_bytes += len(chunk)
            surplus = self._output_bytes - self._output_bytes_max
            if surplus > 0:
                await self._emit(feed(chunk[: len(chunk) - surplus]))
                await self._overflowed()
                break
            await self._emit(feed(chunk))
        await self._emit(self._lines.finish())

    async def _overflowed(self) -> None:
        if self._overflow == "fail":
            raise ProcessOutputTooLarge(
                f"{self._program!r} wrote more than output_bytes_max, {self._output_bytes_max} "
                "bytes: raise the limit, or set output_overflow='truncate'",
                **self._facts(),
            )
        self._output_truncated = True
        await self._child.stdout.discard()

    async def _emit(self, events: list[LineEvent]) -> None:
        emit = self._context.emit
        for type, data, line in events:
            try:
                await emit(type, data)
            except InvalidArgument:
                if line is None:
                    raise
                await emit("provider_event", {"line": line})  # JSON can say more than msgpack

    def _failure(self, code: int | None) -> ProcessFailed:
        facts = self._facts()
        last = facts["stderr"].strip().rpartition("\n")[2].strip()[-200:]
        if code is not None and code < 0:
            facts["signal"] = signal_name(-code)
            how = f"was killed by {facts['signal']}"
        else:
            facts["exit_code"] = code
            how = f"ended with exit code {code}"
        return ProcessFailed(f"{self._program!r} {how}" + (f": {last}" if last else ""), **facts)

    def _facts(self) -> dict[str, Data]:
        return {
            "program": self._program,
            "stderr": self._stderr.text(),
            "stderr_truncated": self._stderr.truncated,
        }


def signal_name(number: int) -> str:
    """What a signal is called, also one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
