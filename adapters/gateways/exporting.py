"""``moorage export``: one session as JSON lines, complete and reversible.

The first line describes the session, every other line is one event::

    {"moorage_export": 1, "session": {...}, "first_seq": 1, "last_seq": 41}
    {"session_id": "a", "seq": 1, "time_ns": ..., "type": "session_opened", ...}

A session whose beginning was trimmed also has ``"snapshot"`` in the first line: the state that the
missing events led to. Named cursors are not part of an export.

With the format ``messages`` it is the conversation alone, a message a line, as other programs can
read it too: what was said on the active branch, without what the log has of how it came about.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import trio
from moorage.adapters.agents.session_files import message_line
from moorage.adapters.sinks import event_to_json
from moorage.runtime import CursorExpired, UnknownSession
from moorage.runtime.codec import unpack
from moorage.runtime.reversible_json import dump_line, to_json

from .frame import CommandFailed, write_soon
from .key_file import check_opened
from .listing import info_to_json
from .sources import reading, reading_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from moorage.runtime.messages import Message
    from moorage.runtime.ports import StoreReader

    from .sources import Source

ExportFormat = Literal["moorage", "messages"]
EXPORT_VERSION = 1
PAGE_EVENTS = 1_000


async def export_session(
    source: Source, session_id: str, output: Path | None, format: ExportFormat = "moorage"
) -> None:
    """Write the session, as it is now, to ``output`` (None: standard output).

    A file appears only when it is complete. Raises UnknownSession, and CommandFailed for an
    encrypted one without keys.
    """
    if format == "messages":
        async with reading(source) as opened:
            check_opened(await opened.session(session_id).info())
            messages = await opened.session(session_id).messages()
        await _put(_lines(messages), output)
        return
    async with reading_log(source) as reader:
        await _put(_export(reader, session_id), output)


async def _lines(messages: Iterable[Message]) -> AsyncIterator[str]:
    for message in messages:
        yield message_line(message)


async def _put(texts: AsyncIterator[str], output: Path | None) -> None:
    if output is not None:
        await _to_file(texts, output)
        return
    async for text in texts:
        await write_soon(text)


def check_new_file(output: Path) -> None:
    """Raises CommandFailed for a file that is there, or has nowhere to be."""
    _folder_of(output)
    if os.path.lexists(output):
        raise CommandFailed(f"{str(output)!r} is there already: name a new file")


async def export_to_new_file(reader: StoreReader, session_id: str, output: Path) -> int:
    """Write all of the session to a file that is not there yet; on return it survives a power
    loss. Returns the last seq that it has. Raises UnknownSession and CommandFailed."""
    info = await reader.info(session_id)
    if info is None:
        raise UnknownSession(session_id)
    await _to_file(_export(reader, session_id), output, new=True)
    return info.head_seq


def _folder_of(output: Path) -> Path:
    if output.is_dir():
        raise CommandFailed(f"{str(output)!r} is a directory: name a file in it")
    if not output.parent.is_dir():
        raise CommandFailed(f"there is no directory {str(output.parent)!r} to write to")
    return output.parent


async def _to_file(texts: AsyncIterator[str], output: Path, *, new: bool = False) -> None:
    folder = _folder_of(output)
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: ASYNC230
            async for text in texts:
                await trio.to_thread.run_sync(file.write, text)
            file.flush()
            os.fsync(file.fileno())
        if new:
            try:
                os.link(name, output)  # which never replaces another
            except FileExistsError:
                check_new_file(output)
                raise
            os.unlink(name)
        else:
            os.replace(name, output)
        _sync_folder(folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _export(reader: StoreReader, session_id: str) -> AsyncIterator[str]:
    info = await reader.info(session_id)
    if info is None:
        raise UnknownSession(session_id)
    check_opened(info)
    after = 0
    try:
        await reader.read(session_id, limit=1)
    except CursorExpired as error:
        after = error.oldest_seq - 1
    header: dict[str, Any] = {
        "moorage_export": EXPORT_VERSION,
        "session": to_json(info_to_json(info)),
        "first_seq": after + 1,
        "last_seq": info.head_seq,
    }
    if after and not await _begins(reader, session_id, after):
        header["snapshot"] = await _snapshot(reader, session_id, after, info.head_seq)
    yield dump_line(header)
    while after < info.head_seq:
        # events that come while this goes on are left to the next export
        page = await reader.read(
            session_id, after=after, before=info.head_seq + 1, limit=PAGE_EVENTS
        )
        yield "".join([dump_line(event_to_json(event)) for event in page.events])
        after = page.scanned_to


async def _begins(reader: StoreReader, session_id: str, after: int) -> bool:
    """Whether the session's first event is there: an id that was deleted before goes on above its
    last seq."""
    page = await reader.read(session_id, after=after, limit=1)
    return bool(page.events) and page.events[0].type == "session_opened"


async def _snapshot(reader: StoreReader, session_id: str, before: int, last: int) -> dict[str, Any]:
    snapshot = await reader.snapshot(session_id)
    if snapshot is None or not before <= snapshot.seq <= last:
        raise CommandFailed(
            f"session {session_id!r} was trimmed below seq {before + 1} and its snapshot is not "
            "of this moment: export it again, or stop its owner first"
        )
    return {"seq": snapshot.seq, "state": to_json(unpack(snapshot.body))}
