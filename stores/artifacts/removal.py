"""Artifacts go with their session, and never before.

The order is: first the session is deleted, then its artifacts. A crash in between leaves artifacts
that belong to nobody, which cost space until the next sweep, and never a session that misses one.
A fork has the messages of the session that it was made from, and so its references: what a fork
refers to stays until the fork goes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import CursorExpired, InvalidArgument, UnknownSession

from .file_artifacts import FileArtifacts
from .pieces import closed_at_the_end
from .references import folder_of, references_in
from .registry import registered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.ports import StoreReader
    from moorage.runtime.sessions import SessionInfo

    from .port import ArtifactStore, Listed

YOUNG_SECONDS = 24 * 3600.0
"""What is not older may be on its way to its event; the longest run should be shorter."""
_PAGE_EVENTS = 1_000
_DELETED_AT_ONCE = 500
_FORKS = ("forked_from", "rotated_from")


@attrs.frozen
class SweepReport:
    """What a sweep found. ``orphans`` belonged to sessions that do not exist, ``unnamed`` to ones
    that do and whose log does not name them; both are gone, unless it was a dry run."""

    artifacts: int
    bytes: int
    orphans: tuple[str, ...]
    unnamed: tuple[str, ...]
    freed_bytes: int
    dry_run: bool


async def remove_artifacts(artifacts: ArtifactStore, reader: StoreReader, session_id: str) -> int:
    """Remove the artifacts of a session that was deleted, except those that a fork refers to;
    returns how many went. Raises InvalidArgument, with nothing removed, while it exists.

    ::

        await supervisor.delete_session(session_id)
        await remove_artifacts(artifacts, store, session_id)
    """
    return await remove_artifacts_of(artifacts, reader, [session_id])


async def remove_artifacts_of(
    artifacts: ArtifactStore, reader: StoreReader, session_ids: Sequence[str]
) -> int:
    """Like ``remove_artifacts`` for all of these, looking through the forks once. Raises
    InvalidArgument, with nothing removed, while one of them exists.

    ::

        async def removed(report):
            await remove_artifacts_of(artifacts, store, report.ids("delete"))

        open_supervisor(store, agent, retention=policy, on_retention=removed)
    """
    for session_id in session_ids:
        if await reader.info(session_id) is not None:
            raise InvalidArgument(
                f"session {session_id!r} exists: its artifacts go after it, delete it first"
            )
    kept = await _kept_by_forks(reader) if session_ids else set()
    keys = []
    for session_id in session_ids:
        listed = artifacts.contents(folder_of(session_id))
        async with closed_at_the_end(listed):
            async for one in listed:
                if one.key not in kept:
                    keys.append(one.key)
    await _delete(artifacts, keys)
    return len(keys)


async def sweep_artifacts(
    artifacts: ArtifactStore,
    reader: StoreReader,
    *,
    older_than_seconds: float = YOUNG_SECONDS,
    dry_run: bool = False,
    time_ns: Callable[[], int] = time.time_ns,
) -> SweepReport:
    """Find and remove what nobody refers to any more, or ever did: artifacts of sessions that do
    not exist, and artifacts that a crash left between being stored and being registered. What is
    younger than ``older_than_seconds`` is left alone. A session whose beginning was trimmed keeps
    all it has: what registered them may be gone.

    One store's sessions must be all that use ``artifacts``: those of another are orphans to it.
    """
    before_ns = time_ns() - int(older_than_seconds * 1e9)
    folders: dict[str, list[Listed]] = {}
    total = size = 0
    listed = artifacts.contents()
    async with closed_at_the_end(listed):
        async for one in listed:
            total, size = total + 1, size + one.bytes
            if one.modified_at_ns < before_ns:
                folders.setdefault(one.key.partition("/")[0], []).append(one)
    # sessions are looked for after artifacts: one that began in between has only young ones
    alive = await _sessions(reader)
    kept = await _kept_by_forks(reader) if folders else set()
    orphans: list[Listed] = []
    unnamed: list[Listed] = []
    for folder, found in folders.items():
        info = alive.get(folder)
        rest = [one for one in found if one.key not in kept]
        if info is None:
            orphans += rest
        elif rest:
            unnamed += await _unnamed(reader, info, rest)
    if not dry_run:
        await _delete(artifacts, [one.key for one in orphans + unnamed])
        if isinstance(artifacts, FileArtifacts):
            await artifacts.clear_incoming(older_than_seconds=older_than_seconds)
    return SweepReport(
        artifacts=total,
        bytes=size,
        orphans=tuple(one.key for one in orphans),
        unnamed=tuple(one.key for one in unnamed),
        freed_bytes=sum(one.bytes for one in orphans + unnamed),
        dry_run=dry_run,
    )


async def _delete(artifacts: ArtifactStore, keys: list[str]) -> None:
    for at in range(0, len(keys), _DELETED_AT_ONCE):
        await artifacts.delete(keys[at : at + _DELETED_AT_ONCE])


async def _sessions(reader: StoreReader) -> dict[str, SessionInfo]:
    """By the folder of their artifacts."""
    found = {}
    infos = reader.sessions()
    async with closed_at_the_end(infos):
        async for info in infos:
            found[folder_of(info.id)] = info
    return found


async def _unnamed(reader: StoreReader, info: SessionInfo, found: list[Listed]) -> list[Listed]:
    """Those that no event of the session names; of a trimmed one, those of a former life."""
    named: set[str] = set()
    first: list[Event] = []
    try:
        await _each_event(reader, info.id, lambda event: _note(event, named, first))
    except UnknownSession:
        return []  # deleted in between: the next sweep finds orphans
    if first and first[0].type == "session_opened":
        return [one for one in found if one.key not in named]
    return [
        one
        for one in found
        if one.key not in named and one.modified_at_ns < info.created_at_ns - YOUNG_SECONDS * 1e9
    ]


def _note(event: Event, named: set[str], first: list[Event]) -> None:
    if not first:
        first.append(event)
    line = registered(event)
    if line is not None:
        named.add(line.reference.key)
    named.update(reference.key for reference in references_in(event.data))


async def _kept_by_forks(reader: StoreReader) -> set[str]:
    """The keys that sessions refer to that were made from another one."""
    kept: set[str] = set()

    def note(event: Event) -> None:
        kept.update(reference.key for reference in references_in(event.data))

    for info in (await _sessions(reader)).values():
        if any(name in info.metadata for name in _FORKS):
            try:
                await _each_event(reader, info.id, note)
            except UnknownSession:
                continue
    return kept


async def _each_event(reader: StoreReader, session_id: str, note: Callable[[Event], None]) -> None:
    after = 0
    while True:
        try:
            page = await reader.read(session_id, after=after, limit=_PAGE_EVENTS)
        except CursorExpired as error:
            after = error.oldest_seq - 1
            continue
        for event in page.events:
            note(event)
        if page.scanned_to >= page.head_seq:
            return
        after = page.scanned_to
