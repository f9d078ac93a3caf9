"""ClaudeSessionStore: transcripts of Claude Code in the log of a Moorage session.

Each batch of lines that Claude Code has written becomes an event ``claude_transcript``::

    {"project": str, "transcript": str, "subpath"?: str, "lines": [str, ...]}   appended
    {"project": str, "transcript": str, "subpath"?: str, "deleted": true}       deleted

``transcript`` is Claude Code's session id, ``subpath`` names a subagent's transcript below it, and
each line is one entry as JSON text: JSON can say more than the log's own format.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from moorage.runtime.events import NewEvent

if TYPE_CHECKING:
    from moorage.runtime.events import Event

TRANSCRIPT_TYPE = "claude_transcript"
LINES_BYTES_MAX = 1_048_576
"""About how much goes into one event; a longer line has an event of its own."""
PAGE_EVENTS = 100

Key = Mapping[str, Any]
"""The SDK's SessionKey: project_key, session_id and, for a subagent's, subpath."""


class SessionLog(Protocol):
    """What is needed of a session: a ``Session``, or ``context.session`` of a run."""

    async def events(
        self, *, after: int = 0, limit: int = 100, types: set[str] | None = None
    ) -> Sequence[Event]: ...

    async def append_many(self, events: Iterable[NewEvent]) -> object: ...


class ClaudeSessionStore:
    """A SessionStore for ``ClaudeAgentOptions.session_store`` (there is no need to give one to
    ClaudeAgent, which has its own).

    With ``any_project`` a transcript is found whatever the working directory was when it was
    written; by the SDK's rule, and by default, each directory ("project") has its own.

    What it raises is what the session raises.
    """

    def __init__(self, session: SessionLog, *, any_project: bool = False) -> None:
        self._session = session
        self._any_project = any_project

    async def append(self, key: Key, entries: Sequence[Mapping[str, Any]]) -> None:
        """Keep entries, in order. They are durable when it returns. An entry whose uuid is there
        already is passed over when they are loaded."""
        lines: list[str] = []
        size = 0
        for line in (json.dumps(entry, separators=(",", ":")) for entry in entries):
            if lines and size + len(line) > LINES_BYTES_MAX:
                await self._append(key, lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            await self._append(key, lines)

    async def _append(self, key: Key, lines: list[str]) -> None:
        event = NewEvent(TRANSCRIPT_TYPE, {**_place(key), "lines": lines})
        await self._session.append_many([event])

    async def load(self, key: Key) -> list[Any] | None:
        """All entries of a transcript, None if there is none."""
        kept: list[Any] | None = None
        seen: set[object] = set()
        async for event in self._events():
            data = event.data
            if not self._concerns(data, key):
                continue
            if data.get("deleted"):
                kept = None
                seen.clear()
                continue
            kept = [] if kept is None else kept
            for entry in map(json.loads, data["lines"]):
                uuid = entry.get("uuid")
                if uuid is None or uuid not in seen:
                    kept.append(entry)
                    seen.add(uuid)
        return kept

    async def list_sessions(self, project_key: str) -> list[Any]:
        """Main transcripts of a project, with the time of the last entry in ms since 1970."""
        times: dict[str, int] = {}
        async for event in self._events():
            data = event.data
            if data["project"] == project_key and "subpath" not in data:
                times.pop(data["transcript"], None)
                if not data.get("deleted"):
                    times[data["transcript"]] = event.time_ns // 1_000_000
        return [{"session_id": name, "mtime": time} for name, time in times.items()]

    async def list_subkeys(self, key: Key) -> list[str]:
        """Names of the subagents' transcripts below a main one."""
        names: dict[str, None] = {}
        async for event in self._events():
            data = event.data
            if not self._below(data, key):
                continue
            if not data.get("deleted"):
                if "subpath" in data:
                    names[data["subpath"]] = None
            elif "subpath" in data:
                names.pop(data["subpath"], None)
            else:
                names.clear()
        return list(names)

    async def delete(self, key: Key) -> None:
        """Forget a transcript, and all below it if it is a main one. Its entries stay in the log
        until that is trimmed."""
        deleted = NewEvent(TRANSCRIPT_TYPE, {**_place(key), "deleted": True})
        await self._session.append_many([deleted])

    async def _events(self) -> AsyncIterator[Event]:
        after = 0
        while True:
            page = await self._session.events(
                after=after, limit=PAGE_EVENTS, types={TRANSCRIPT_TYPE}
            )
            for event in page:
                yield event
            if len(page) < PAGE_EVENTS:
                return
            after = page[-1].seq

    def _below(self, data: Mapping[str, Any], key: Key) -> bool:
        return data["transcript"] == key["session_id"] and (
            self._any_project or data["project"] == key["project_key"]
        )

    def _concerns(self, data: Mapping[str, Any], key: Key) -> bool:
        """Whether an event is about exactly this transcript, or deletes the main one above it."""
        if not self._below(data, key):
            return False
        same = data.get("subpath") == key.get("subpath")
        return same or ("deleted" in data and "subpath" not in data)


@attrs.frozen
class LoadedTranscript:
    """A store of which one main transcript has been read already, for who only resumes that."""

    store: ClaudeSessionStore
    entries: list[Any]

    async def append(self, key: Key, entries: Sequence[Mapping[str, Any]]) -> None:
        await self.store.append(key, entries)

    async def load(self, key: Key) -> list[Any] | None:
        return await self.store.load(key) if key.get("subpath") else self.entries

    async def list_subkeys(self, key: Key) -> list[str]:
        return await self.store.list_subkeys(key)


def cost_state(entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last ``modelUsage`` that a transcript has: what a Claude Code that resumes it counts
    from."""
    models: Mapping[str, Any] = {}
    for entry in entries:
        if entry.get("type") == "cost-state" and isinstance(entry.get("modelUsage"), Mapping):
            models = entry["modelUsage"]
    return models


def _place(key: Key) -> dict[str, str]:
    place = {"project": key["project_key"], "transcript": key["session_id"]}
    return place | ({"subpath": key["subpath"]} if key.get("subpath") else {})
