"""A sink into files: one for each session, in any format; JSON lines can be imported again.

What a crash left of a line is cut off when the file is opened again, and events that are in it
already are left out, so a file of JSON lines has each event once however often it is offered.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import trio
from moorage.runtime.errors import InvalidArgument

from .compact_lines import HEADER, CompactLinesRenderer, last_seq_of
from .port import SinkFailed
from .rendering import FORMATS, Format, Renderer, renderer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moorage.runtime.events import Event

PLACE = "{session_id}"
FILES_OPEN_MAX = 64
"""Of one sink; the one that was not written to for longest is closed and opened again."""
_STEP_BYTES = 65_536
LINE_BYTES_MAX = 64 * 1024 * 1024


class FileSink:
    """Writes events to the end of a file: one session's, or, with ``{session_id}`` in the path, one
    file for each. ``sync`` makes each write durable before it counts.

    Raises InvalidArgument. Opening it raises nothing: files are made when there is something to
    write; folders must be there.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, format: Format = "jsonl", sync: bool = False
    ) -> None:
        if format not in FORMATS:
            raise InvalidArgument(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
        self._path = os.fspath(path)
        self._format = format
        self._sync = sync
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._close_all)

    async def write(self, events: Sequence[Event]) -> None:
        """Raises OSError, and SinkFailed for a file that has something else in it."""
        # a write that is left in the middle would be told as one that was not made
        await trio.to_thread.run_sync(self._write, events)

    def path_of(self, session_id: str) -> Path:
        """The file of a session; what a file name cannot have in its id is percent-encoded."""
        return Path(self._path.replace(PLACE, quote(session_id, safe="")))

    def _write(self, events: Sequence[Event]) -> None:
        session_id = events[0].session_id
        file = self._files.get(session_id)
        if file is None:
            if PLACE not in self._path and self._files:
                raise SinkFailed(
                    f"{self._path} has the events of session {next(iter(self._files))!r}, those of "
                    f"{session_id!r} need a file of their own: put {PLACE} into the path"
                )
            file = self._files[session_id] = _OpenFile(
                self.path_of(session_id), session_id, self._format
            )
            if len(self._files) > FILES_OPEN_MAX:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(session_id)
        try:
            file.write(events, sync=self._sync)
        except BaseException:
            # what is in it now is found out by opening it again
            self._files.pop(session_id).abandon()
            raise

    def _close_all(self) -> None:
        while self._files:
            self._files.popitem()[1].close()


class _OpenFile:
    """One file, open at its end. ``last_seq`` is what it has up to."""

    def __init__(self, path: Path, session_id: str, format: Format) -> None:
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        try:
            self._last_seq, begun = _continue(self._file, path, session_id, format)
        except BaseException:
            self._file.close()
            raise
        self._rendering: Renderer = (
            CompactLinesRenderer(begun=begun)
            if format == "jsonl-compact"
            else renderer(format, raw=True)
        )

    def write(self, events: Sequence[Event], *, sync: bool) -> None:
        new = [event for event in events if event.seq > self._last_seq]
        if not new:
            return
        self._put(self._rendering.render(new))
        if sync:
            os.fsync(self._file.fileno())
        self._last_seq = new[-1].seq

    def _put(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        try:
            self._put(self._rendering.finish())
        finally:
            self._file.close()

    def abandon(self) -> None:
        self._file.close()


def _continue(file: BinaryIO, path: Path, session_id: str, format: Format) -> tuple[int, bool]:
    """Go to the end behind the last whole line, cutting off a torn one: the seq that the file has
    up to, and whether it has anything. Raises SinkFailed."""
    size = file.seek(0, os.SEEK_END)
    end = _behind_last_break(file, size, path) if format.startswith("jsonl") else size
    if not format.startswith("jsonl"):
        return 0, end > 0
    last_seq = 0
    if end:
        file.seek(0)
        first = file.readline(LINE_BYTES_MAX)
        start = _behind_last_break(file, end - 1, path)
        file.seek(start)
        try:
            owner, compact = _first_of(first)
            last_seq = 0 if compact and start == 0 else last_seq_of(file.read(end - start))
        except InvalidArgument as error:
            raise SinkFailed(f"{path} is no file of events: {error}: name another file") from error
        if owner != session_id:
            raise SinkFailed(f"{path} has the events of session {owner!r}: name another file")
        if compact != (format == "jsonl-compact"):
            other = "jsonl-compact" if compact else "jsonl"
            raise SinkFailed(f"{path} is written as {other}, not as {format}: name another file")
    file.truncate(end)
    file.seek(end)
    return last_seq, end > 0


def _first_of(line: bytes) -> tuple[str, bool]:
    """Whose events the file has, and whether in the compact form."""
    try:
        value = json.loads(line)
        return value["session_id"], HEADER in value
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidArgument(f"{line[:60]!r} is no event") from error


def _behind_last_break(file: BinaryIO, end: int, path: Path) -> int:
    """The offset behind the last line break before ``end``, 0 if there is none."""
    at = end
    while at > 0:
        if end - at > LINE_BYTES_MAX:
            raise SinkFailed(f"{path} has a line of more than {LINE_BYTES_MAX} bytes: no events")
        step = min(_STEP_BYTES, at)
        at -= step
        file.seek(at)
        found = file.read(step).rfind(b"\n")
        if found >= 0:
            return at + found + 1
    return 0
