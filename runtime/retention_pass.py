"""Applying a retention policy to a store: listing, measuring, planning, and doing what was planned.

Every deletion goes through the session's own worker (or its claim, where nobody serves sessions)
and names the head that the plan was made for: whatever has happened since, a submitted run above
all, keeps the session. So a pass may be cut off anywhere and made again, and several may run at
once: what is gone is gone, and is counted by whoever did it.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from . import commands
from .codec import encode_event
from .errors import (
    CursorExpired,
    MoorageError,
    SessionBusy,
    SessionChanged,
    SessionHeld,
    StoreFailed,
    UnknownSession,
)
from .retention import Planned, RetentionAction, RetentionPlan, RetentionPolicy, Spared, plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .commands import Answer, Command
    from .events import Event
    from .ports import Page, StoreReader
    from .sessions import SessionInfo

    Ask = Callable[[str, Command], Awaitable[Answer]]
    """Brings a command to whoever owns the session."""

logger = structlog.get_logger("moorage")

PAGE_EVENTS = 500
SIZES_MAX = 100_000
"""Sessions whose sizes are remembered until they change."""
PLANNED_AT_ONCE_MAX = 2_000
"""More sessions are planned for in a thread, so that the event loop is not held up."""


@attrs.frozen
class RetentionEntry:
    """What was done with a session (or would be), and why; ``bytes`` of encoded event bodies and
    ``events`` that it freed, 0 for a soft deletion."""

    session_id: str
    action: RetentionAction
    reason: str
    bytes: int = 0
    events: int = 0


@attrs.frozen
class RetentionProblem:
    """A session that could not be deleted or trimmed, and the error; the next pass tries again."""

    session_id: str
    code: str
    message: str


@attrs.frozen
class RetentionReport:
    """What a pass over ``sessions`` sessions did, or, in a ``dry_run``, would do.

    ``spared`` are sessions that rules would have taken: in use, exempt, never expiring, changed
    since the pass began, or held by another process.
    """

    dry_run: bool
    sessions: int
    entries: tuple[RetentionEntry, ...]
    spared: tuple[Spared, ...]
    problems: tuple[RetentionProblem, ...]

    def ids(self, action: RetentionAction) -> tuple[str, ...]:
        """The sessions that this was done with."""
        return tuple(entry.session_id for entry in self.entries if entry.action == action)

    @property
    def deleted(self) -> int:
        return len(self.ids("delete"))

    @property
    def soft_deleted(self) -> int:
        return len(self.ids("soft_delete"))

    @property
    def trimmed(self) -> int:
        return len(self.ids("trim"))

    @property
    def freed_bytes(self) -> int:
        """Of encoded event bodies; what a store frees on disk, and when, is its own matter."""
        return sum(entry.bytes for entry in self.entries)


class Pace:
    """So many turns a second, in order of asking; infinity for as fast as can be."""

    def __init__(self, turns_per_second: float) -> None:
        self._interval = 1 / turns_per_second
        self._next = 0.0

    async def turn(self) -> None:
        at = max(self._next, trio.current_time())
        self._next = at + self._interval
        await trio.sleep_until(at)


class Sizes:
    """Bytes of sessions' events, remembered by their heads."""

    def __init__(self, sizes_max: int = SIZES_MAX) -> None:
        self._sizes_max = sizes_max
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def known(self, info: SessionInfo) -> int | None:
        size = self._known.get(info.id)
        return size[1] if size is not None and size[0] == info.head_seq else None

    def note(self, info: SessionInfo, size: int) -> None:
        self._known[info.id] = info.head_seq, size
        self._known.move_to_end(info.id)
        if len(self._known) > self._sizes_max:
            self._known.popitem(last=False)

    def forget(self, session_id: str) -> None:
        self._known.pop(session_id, None)


async def session_bytes(reader: StoreReader, session_id: str) -> int:
    """How many bytes the session's encoded events have, as the store says (``session_bytes``), or
    else as reading them all tells. Snapshots, cursors and indexes are not counted."""
    ask: Callable[[str], Awaitable[int]] | None = getattr(reader, "session_bytes", None)
    if ask is not None:
        return await ask(session_id)
    size = after = 0
    while True:
        page = await _page(reader, session_id, after)
        size += sum(map(_encoded_bytes, page.events))
        after = page.scanned_to
        if after >= page.head_seq:
            return size


async def _page(reader: StoreReader, session_id: str, after: int, limit: int = PAGE_EVENTS) -> Page:
    try:
        return await reader.read(session_id, after=after, limit=limit)
    except CursorExpired as error:
        return await reader.read(session_id, after=error.oldest_seq - 1, limit=limit)


def _encoded_bytes(event: Event) -> int:
    body = encode_event(
        event.time_ns,
        event.type,
        event.run_id,
        event.data,
        event.metadata,
        version=event.version,
        checked=True,
    ).body
    return len(body)


class RetentionPass:
    """One pass over a store. ``deliver`` brings a command to a session's owner here; without, there
    are only dry runs."""

    def __init__(
        self,
        reader: StoreReader,
        deliver: Ask | None,
        *,
        time_ns: Callable[[], int],
        sizes: Sizes,
        sessions_per_second: float,
        sessions_at_once: int,
    ) -> None:
        self._reader = reader
        self._owner = deliver
        self._time_ns = time_ns
        self._sizes = sizes
        self._pace = Pace(sessions_per_second)
        self._at_once = sessions_at_once
        self._entries: dict[str, RetentionEntry] = {}
        self._spared: list[Spared] = []
        self._problems: list[RetentionProblem] = []

    async def plan(self, policy: RetentionPolicy) -> RetentionPlan:
        """What the policy says of the store as it is now."""
        infos = []
        listed: Any = self._reader.sessions()
        try:
            async for info in listed:
                # of many sessions, what is not decided by takes the most room
                infos.append(attrs.evolve(info, metadata={}, summary=None))
        finally:
            await listed.aclose()
        sizes = {}
        for info in infos:
            if policy.measured(info) and (size := await self._measured(info)) is not None:
                sizes[info.id] = size
        make = partial(plan, policy, infos, self._time_ns(), sizes=sizes)
        if len(infos) <= PLANNED_AT_ONCE_MAX:
            return make()
        return await trio.to_thread.run_sync(make)

    async def _measured(self, info: SessionInfo) -> int | None:
        size = self._sizes.known(info)
        if size is None:
            if not hasattr(self._reader, "session_bytes"):
                await self._pace.turn()
            try:
                size = await session_bytes(self._reader, info.id)
            except UnknownSession:
                return None
            except MoorageError as error:
                self._note_problem(info.id, error)
                return None
            self._sizes.note(info, size)
        return size

    async def apply(self, policy: RetentionPolicy, *, dry_run: bool = False) -> RetentionReport:
        """Do what the policy says, or only report it.

        Raises StoreFailed if the store cannot be listed, or fails for good on the way.
        """
        planned = await self.plan(policy)
        await self.perform(planned, dry_run=dry_run)
        report = RetentionReport(
            dry_run=dry_run,
            sessions=planned.sessions,
            entries=tuple(self._entries.values()),
            spared=(*planned.spared, *self._spared),
            problems=tuple(self._problems),
        )
        if not dry_run and (report.entries or report.problems):
            tell = logger.warning if report.problems else logger.info
            tell(
                "retention_applied",
                deleted=report.deleted,
                soft_deleted=report.soft_deleted,
                trimmed=report.trimmed,
                freed_bytes=report.freed_bytes,
                problems=len(report.problems),
            )
        return report

    async def perform(self, planned: RetentionPlan, *, dry_run: bool) -> None:
        waiting = iter(planned.actions)
        failed: list[StoreFailed] = []

        async def work() -> None:
            for one in waiting:
                if failed:
                    return
                await self._pace.turn()
                try:
                    await self._perform_one(one, dry_run)
                except StoreFailed as error:
                    if error.poisoned:
                        failed.append(error)
                    self._note_problem(one.session_id, error)
                except MoorageError as error:
                    self._note_problem(one.session_id, error)

        async with trio.open_nursery() as nursery:
            for _ in range(min(self._at_once, len(planned.actions))):
                nursery.start_soon(work)
        if failed:
            raise failed[0]

    def _note_problem(self, session_id: str, error: MoorageError) -> None:
        self._problems.append(RetentionProblem(session_id, error.code, str(error)))

    async def _perform_one(self, one: Planned, dry_run: bool) -> None:
        try:
            entry = await self._done(one, dry_run)
        except UnknownSession:
            return  # somebody else was faster
        except (SessionBusy, SessionChanged) as error:
            self._spared.append(Spared(one.session_id, f"{one.reason}, but {error}"))
            return
        except SessionHeld as error:
            why = f"{one.reason}, but it is for its owner to do: {error.holder}"
            self._spared.append(Spared(one.session_id, why))
            return
        if entry is not None:
            self._entries[one.session_id] = entry
            if not dry_run:
                self._sizes.forget(one.session_id)
                logger.debug(
                    "retention", session_id=one.session_id, action=one.action, reason=one.reason
                )

    async def _deliver(self, session_id: str, command: Command) -> Answer:
        assert self._owner is not None, "a dry run changes nothing"
        return await self._owner(session_id, command)

    async def _done(self, one: Planned, dry_run: bool) -> RetentionEntry | None:
        """What was done; None if there was nothing to do."""
        if one.action == "trim":
            return await self._trim(one, dry_run)
        if one.action == "soft_delete":
            soft = commands.SoftDelete(reason=one.reason, expected_seq=one.head_seq, idle=True)
            if not dry_run and not await self._deliver(one.session_id, soft):
                return None
            return RetentionEntry(one.session_id, one.action, one.reason)
        info = await self._reader.info(one.session_id)
        if info is None:
            return None
        size = one.bytes
        if size is None:
            try:
                size = await session_bytes(self._reader, one.session_id)
            except StoreFailed as error:
                if error.poisoned:
                    raise
                size = 0  # what cannot be read can be deleted all the same
        delete = commands.DeleteUnchanged(expected_seq=one.head_seq, idle=True)
        if not dry_run and not await self._deliver(one.session_id, delete):
            return None
        return RetentionEntry(one.session_id, one.action, one.reason, size, one.head_seq)

    async def _trim(self, one: Planned, dry_run: bool) -> RetentionEntry | None:
        """Forget the events in front of the first that is to stay."""
        last = one.head_seq - (one.events_keep_last or 0)
        after, size, events = 0, 0, 0
        limit = 1  # mostly the first event stays
        done = False
        while not done:
            page = await _page(self._reader, one.session_id, after, limit)
            limit = PAGE_EVENTS
            for event in page.events:
                young = one.events_before_ns is not None and event.time_ns >= one.events_before_ns
                if event.seq > last or young:
                    done = True
                    break
                after, events = event.seq, events + 1
                size += _encoded_bytes(event)
            done = done or page.scanned_to >= page.head_seq
        if not events:
            return None
        if not dry_run:
            before = await self._deliver(one.session_id, commands.Trim(before=after + 1))
            if before <= after + 1 - events:
                return None  # an unfinished run's request is the first of them
        return RetentionEntry(one.session_id, one.action, one.reason, size, events)


async def keep_applying(
    apply: Callable[[], Awaitable[RetentionReport]],
    interval_seconds: float,
    told: Callable[[RetentionReport], Awaitable[object]] | None,
    chance: Callable[[], float],
) -> None:
    """Apply, tell, and sleep, until cancelled. Intervals vary by a tenth, so that nodes that were
    started together do not stay together; ``chance`` gives numbers from 0 to 1. What fails is
    logged, and tried again with the next."""
    while True:
        try:
            report = await apply()
            if told is not None:
                await told(report)
        except Exception as error:
            logger.error(
                "retention_failed", traceback="".join(traceback.format_exception(error)).strip()
            )
        await trio.sleep(interval_seconds * (0.9 + 0.1 * chance()))
