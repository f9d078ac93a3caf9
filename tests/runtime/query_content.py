"""Sessions with runs, written straight through the store port, for tests of queries."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import Event
from moorage.runtime.codec import encode_event, encode_struct
from moorage.runtime.image import SessionImage
from moorage.runtime.ports import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.ports import Claim, Store


async def no_commands(session_id: str, command: object) -> None:
    raise AssertionError(f"{session_id} was sent {command!r}")


class QueryContent:
    """What is written, and what should be found: ``runs`` by id, as (session, seq, time)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.images: dict[str, SessionImage] = {}
        self.runs: dict[str, tuple[str, int, int]] = {}
        self.times: dict[str, tuple[int, int]] = {}
        """When each session was created, and changed last."""
        self._claims: dict[str, Claim] = {}

    async def session(
        self, session_id: str, time_ns: int, *, tags: dict[str, str] | None = None
    ) -> None:
        claim = await self.store.claim(session_id)
        self._claims[session_id] = claim
        self.images[session_id] = SessionImage(session_id, head_seq=claim.head_seq)
        self.times[session_id] = (time_ns, time_ns)
        data = {"slots": 1, "tags": tags or {}, "metadata": {}}
        await self.write(session_id, (time_ns, "session_opened", None, data))

    async def write(self, session_id: str, *events: tuple[int, str, str | None, Any]) -> None:
        """Append events (time, type, run id, data), in one batch."""
        image = self.images[session_id]
        first_seq = image.head_seq + 1
        for seq, (time_ns, type, run_id, data) in enumerate(events, first_seq):
            image.apply(Event(session_id, seq, time_ns, type, run_id, data))
            if type == "run_submitted":
                self.runs[str(run_id)] = (session_id, seq, time_ns)
        created, _ = self.times[session_id]
        self.times[session_id] = (created, events[-1][0])
        await self.store.append(
            self._claims[session_id],
            expected_seq=first_seq,
            records=[encode_event(*event) for event in events],
            info=attrs.evolve(image.info()),
        )

    async def run(
        self,
        session_id: str,
        run_id: str,
        time_ns: int,
        *,
        ends: str | None = "completed",
        ends_at_ns: int | None = None,
        **data: Any,
    ) -> None:
        """A run that was submitted then and has ended, or, with None, still runs."""
        request = {
            "input": data.pop("input", "x"),
            "input_bytes": 2,
            "agent": data.pop("agent", None),
        }
        events: list[tuple[int, str, str | None, Any]] = [
            (time_ns, "run_submitted", run_id, request),
            (time_ns, "run_started", run_id, {"attempt": 1}),
        ]
        if ends is not None:
            end = {"attempt": 1, "submitted_at_ns": time_ns, "started_at_ns": time_ns, **data}
            events.append((ends_at_ns or time_ns, f"run_{ends}", run_id, end))
        await self.write(session_id, *events)

    async def trim(self, session_id: str, before: int) -> None:
        """As far as it may be: what is unfinished, and what nothing else tells, stays."""
        image, claim = self.images[session_id], self._claims[session_id]
        before = min([before, *(run.seq for run in image.runs.values())])
        await self.store.save_snapshot(claim, Snapshot(image.head_seq, encode_struct(image)))
        await self.store.trim(claim, before)
        for run_id, (owner, seq, _) in list(self.runs.items()):
            if owner == session_id and seq < before:
                del self.runs[run_id]

    async def delete(self, session_id: str) -> None:
        await self.store.delete(self._claims.pop(session_id))
        del self.images[session_id], self.times[session_id]
        for run_id, (owner, _, _) in list(self.runs.items()):
            if owner == session_id:
                del self.runs[run_id]


@asynccontextmanager
async def query_content(store: Store) -> AsyncIterator[QueryContent]:
    """On an open store."""
    async with store.opened(owner="test", deliver=no_commands):
        yield QueryContent(store)
