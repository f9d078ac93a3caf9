"""An audit log: who did what to which session, one line of JSON for each, on disk before it counts.

There are two lines for an action: one before it is begun, without which it is refused, and one that
says how it went. Lines are only ever appended. To rotate, move the file: the next line begins a new
one. Several processes may write to one file; what a crash left of a line ends with a line break.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import attrs
import structlog
import trio
from moorage.runtime.errors import InvalidArgument, MoorageError, StoreFailed
from moorage.runtime.identifiers import sortable_id

from .append_file import AppendFile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

logger = structlog.get_logger("moorage")

FIELD_BYTES_MAX = 600
"""Of one value as it is written; what is longer is cut off."""
ID_BYTES_MAX = 1_536
"""Of the id of a session or run: what fits in there is never cut, whatever characters it has."""
IDS = frozenset({"session_id", "run_id", "new_session_id"})
WEBHOOK_ID_BYTES_MAX = 100
"""Of the id of a webhook: the server makes them, and longer ones are none of its own."""
LINE_BYTES_MAX = 8_192
LINES_WAITING_MAX = 10_000
"""For the disk. More are refused, and with them their actions."""

Outcome = Literal["begun", "done", "refused", "failed", "cancelled"]


class AuditFailed(MoorageError):
    """What was to be done could not be recorded, so it was not done."""

    code = "audit_failed"
    retryable = True


@attrs.define
class AuditedAction:
    """One action. What is not known when it is begun may be set before its end. ``client`` is the
    credential or the address that ``actor`` came by, ``status`` that of an HTTP answer, and
    ``new_session_id`` the session that was made of ``session_id``; ``webhook_id`` is for what is
    about a webhook."""

    action: str
    actor: str
    session_id: str | None = None
    run_id: str | None = None
    request_id: str | None = None
    client: str | None = None
    status: int | None = None
    new_session_id: str | None = None
    webhook_id: str | None = None


@attrs.define(eq=False)
class _Line:
    text: bytes
    written: bool = False
    error: OSError | None = None


class AuditLog:
    """Appends to the file at ``path``, mode 0600, in a folder that is there.

    An async context manager: entering opens the file and raises AuditFailed if it cannot.
    With ``required=False`` nothing is refused: what could not be recorded is logged as
    ``audit_failed``, and things go on. ``time_ns`` is the supervisor's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        required: bool = True,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = os.fspath(path)
        self._file = AppendFile(self._path)
        self._required = required
        self._time_ns = time_ns
        self._writing = trio.Lock()
        self._waiting: dict[_Line, None] = {}
        self._open = False

    async def __aenter__(self) -> AuditLog:
        try:
            await trio.to_thread.run_sync(self._file.append, b"")
        except OSError as error:
            self._refuse(error)
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        with trio.CancelScope(shield=True):
            async with self._writing:
                await trio.to_thread.run_sync(self._file.close)

    @contextlib.asynccontextmanager
    async def action(
        self,
        action: str,
        *,
        actor: str,
        session_id: str | None = None,
        run_id: str | None = None,
        request_id: str | None = None,
        client: str | None = None,
        webhook_id: str | None = None,
    ) -> AsyncGenerator[AuditedAction]:
        """Around something that ``actor`` does: recorded as begun before the block, and as done,
        refused (with the error's code), failed or cancelled after it.

        Raises AuditFailed before the block if it cannot be recorded. If only its end cannot be,
        that is logged: it is done, and whoever did it is on record. Raises InvalidArgument.
        """
        audited = AuditedAction(
            action, actor, session_id, run_id, request_id, client, webhook_id=webhook_id
        )
        id = sortable_id("act", self._time_ns(), os.urandom(10))
        await self._write(self._line(audited, "begun", None, id))
        try:
            yield audited
        except BaseException as error:
            await self._end(audited, id, *_how(error))
            raise
        await self._end(audited, id, "done", None)

    async def record(
        self,
        action: str,
        *,
        actor: str,
        outcome: Outcome = "done",
        code: str | None = None,
        session_id: str | None = None,
        run_id: str | None = None,
        request_id: str | None = None,
        client: str | None = None,
        status: int | None = None,
        omitted: int = 0,
        webhook_id: str | None = None,
    ) -> None:
        """One line, of something that is no action here, such as a refused login; on disk when it
        returns. ``omitted`` says how many alike went unrecorded before it. Raises AuditFailed and
        InvalidArgument."""
        audited = AuditedAction(
            action, actor, session_id, run_id, request_id, client, status, webhook_id=webhook_id
        )
        await self._write(self._line(audited, outcome, code, None, omitted or None))

    def _line(
        self,
        audited: AuditedAction,
        outcome: Outcome,
        code: str | None,
        id: str | None,
        omitted: int | None = None,
    ) -> bytes:
        for name in ("actor", "action"):
            if not isinstance(getattr(audited, name), str) or not getattr(audited, name):
                value = getattr(audited, name)
                raise InvalidArgument(f"{name} must be a str that is not empty, not {value!r}")
        fields = {
            "time": _written_time(self._time_ns()),
            "id": id,
            "outcome": outcome,
            "code": code,
            **attrs.asdict(audited),
            "omitted": omitted,
        }
        given = {name: _cut(name, value) for name, value in fields.items() if value is not None}
        line = json.dumps(given).encode() + b"\n"
        assert len(line) <= LINE_BYTES_MAX
        return line

    async def _end(
        self, audited: AuditedAction, id: str, outcome: Outcome, code: str | None
    ) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._write(self._line(audited, outcome, code, id))
            except AuditFailed as error:
                facts = {"action": audited.action, "id": id, "outcome": outcome}
                logger.error("audit_failed", reason=str(error), **facts)

    async def _write(self, text: bytes) -> None:
        """Return when the line is on disk, with all that came while the disk was busy."""
        if not self._open:
            return self._refuse("it is not open")
        if len(self._waiting) >= LINES_WAITING_MAX:
            return self._refuse(f"{LINES_WAITING_MAX} lines wait for the disk already")
        line = _Line(text)
        self._waiting[line] = None
        try:
            async with self._writing:
                if not line.written and line.error is None:
                    await self._write_waiting()
        finally:
            self._waiting.pop(line, None)
        if line.error is not None:
            self._refuse(line.error)
        return None

    async def _write_waiting(self) -> None:
        lines, self._waiting = list(self._waiting), {}
        error: OSError | None = None
        text = b"".join(line.text for line in lines)
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(partial(self._file.append, text))
            except OSError as raised:
                error = raised
        for line in lines:
            line.written, line.error = error is None, error

    def _refuse(self, why: str | OSError) -> None:
        reason = why if isinstance(why, str) else why.strerror or str(why)
        message = f"the audit log {self._path} cannot be written ({reason}): {_remedy(why)}"
        if self._required:
            raise AuditFailed(message)
        logger.error("audit_failed", reason=message)


def _remedy(why: str | OSError) -> str:
    number = None if isinstance(why, str) else why.errno
    if number in (errno.ENOENT, errno.ENOTDIR):
        return "make its folder, and try again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "let this user write there, and try again"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room, and try again"
    return "restore the file's folder and permissions, or make room, and try again"


def _how(error: BaseException) -> tuple[Outcome, str]:
    if _is_cancellation(error):
        return "cancelled", "cancelled"
    if isinstance(error, MoorageError) and not isinstance(error, StoreFailed):
        return "refused", error.code
    return "failed", error.code if isinstance(error, MoorageError) else type(error).__qualname__


def _is_cancellation(error: BaseException) -> bool:
    """Also one that came through nurseries."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _cut(name: str, value: Any) -> str | int:
    """Text of which no more than the limit gets into the line; numbers are bounded already."""
    if type(value) is int:
        return value
    bytes_max = ID_BYTES_MAX if name in IDS else FIELD_BYTES_MAX
    if name == "webhook_id":
        bytes_max = WEBHOOK_ID_BYTES_MAX
    text = str(value)[:bytes_max]
    while (excess := len(json.dumps(text)) - 2 - bytes_max) > 0:
        text = text[: -math.ceil(excess / 12)]  # no character takes more than 12
    return text


def _written_time(time_ns: int) -> str:
    """RFC 3339, in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(time_ns // 10**9, tz=UTC)
    micros = time_ns % 10**9 // 1_000
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
