"""``moorage export``: one session as JSON lines, complete and reversible.

The first line describes the session, every other line is one event::

    {"moorage_export": 1, "session": {...}, "first_seq": 1, "last_seq": 41}
    {"session_id": "a", "seq": 1, "time_ns": ..., "type": "session_opened", ...}

A session whose beginning was trimmed also has ``"snapshot"`` in the first line: the state that the
missing events led to. Named cursors are not part of an export.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.sinks import event_to_json
from moorage.adapters.sinks.reversible_json import dump_line, to_json
from moorage.runtime import CursorExpired, UnknownSession
from moorage.runtime.codec import unpack

from .frame import CommandFailed, write_soon
from .listing import info_to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from moorage.runtime.ports import StoreReader
    from moorage.stores import JournalStore

EXPORT_VERSION = 1
PAGE_EVENTS = 1_000


async def export_session(store: JournalStore, session_id: str, output: Path | None) -> None:
    """Write the session, as it is now, to ``output`` (None: standard output).

    A file appears only when it is complete. Raises UnknownSession.
    """
    async with store.reading() as reader:
        if output is None:
            async for text in _export(reader, session_id):
                await write_soon(text)
        else:
            await _to_file(reader, session_id, output)


def _folder_of(output: Path) -> Path:
    if output.is_dir():
        raise CommandFailed(f"{str(output)!r} is a directory: name a file in it")
    if not output.parent.is_dir():
        raise CommandFailed(f"there is no directory {str(output.parent)!r} to write to")
    return output.parent


async def _to_file(reader: StoreReader, session_id: str, output: Path) -> None:
    folder = _folder_of(output)
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: ASYNC230
            async for text in _export(reader, session_id):
                await trio.to_thread.run_sync(file.write, text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, output)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


async def _export(reader: StoreReader, session_id: str) -> AsyncIterator[str]:
    info = await reader.info(session_id)
    if info is None:
        raise UnknownSession(session_id)
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
    if after:
        header["snapshot"] = await _snapshot(reader, session_id, after, info.head_seq)
    yield dump_line(header)
    while after < info.head_seq:
        # events that come while this goes on are left to the next export
        page = await reader.read(
            session_id, after=after, before=info.head_seq + 1, limit=PAGE_EVENTS
        )
        yield "".join([dump_line(event_to_json(event)) for event in page.events])
        after = page.scanned_to


async def _snapshot(reader: StoreReader, session_id: str, before: int, last: int) -> dict[str, Any]:
    snapshot = await reader.snapshot(session_id)
    if snapshot is None or not before <= snapshot.seq <= last:
        raise CommandFailed(
            f"session {session_id!r} was trimmed below seq {before + 1} and its snapshot is not "
            "of this moment: export it again, or stop its owner first"
        )
    return {"seq": snapshot.seq, "state": to_json(unpack(snapshot.body))}
