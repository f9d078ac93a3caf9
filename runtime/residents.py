"""Residents: the sessions that have a worker in memory, and the loop that keeps each one alive.

Supervision follows OTP: a worker that crashes is built again from the log, one that crashes too
often is given up, and that is the matter of its session alone.
"""

from __future__ import annotations

import copy
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from . import commands
from .current import run_in_context
from .errors import (
    CorruptLog,
    MoorageError,
    SessionHeld,
    SessionQuarantined,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)
from .events import Event
from .inbox import Ask
from .letters import delete_answering
from .recall import without_runs
from .resident import Resident
from .restarts import RestartIntensity
from .steps import Step
from .turns import Batch, Environment, Leave, Timers
from .unserved import check_unchanged
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .commands import Answer, Command

logger = structlog.get_logger("moorage")

QUARANTINE_REASON_CHARS_MAX = 500
STORE_RETRY_SECONDS = 0.5
"""Pause before a session is opened again after a write of unknown outcome."""


@attrs.frozen(eq=False)
class Alarm:
    """A session is to be woken; another alarm for it puts this one out of use."""

    session_id: str


class Residents:
    """All residents of one supervisor, bounded; idle ones make room for others."""

    def __init__(
        self,
        environment: Environment,
        nursery: trio.Nursery,
        on_store_failed: Callable[[StoreFailed], None],
        on_quarantined: Callable[[str], None],
        on_handed_on: Callable[[], None],
    ) -> None:
        self._env = environment
        self.limits = environment.limits
        self.start_soon = nursery.start_soon
        self._on_store_failed = on_store_failed
        self._on_quarantined = on_quarantined
        self.note_handed_on = on_handed_on
        self._by_id: dict[str, Resident] = {}
        self._idle: dict[Resident, None] = {}
        """Idle residents, the longest idle first."""
        self._room = trio.lowlevel.ParkingLot()
        self._idle_news = trio.lowlevel.ParkingLot()
        self._closed: MoorageError | None = None
        self._alarms = Timers()
        self._alarm_of: dict[str, Alarm] = {}
        """When sessions that are out of memory have to be back, at the latest."""
        self._alarm_news = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._by_id

    def ids(self) -> list[str]:
        return list(self._by_id)

    def idle_count(self) -> int:
        return len(self._idle)

    def all(self) -> list[Resident]:
        return list(self._by_id.values())

    async def deliver(self, session_id: str, command: Command, letter: str | None = None) -> Answer:
        """Bring a command to the session's worker, spawning one if need be."""
        resident = self._by_id.get(session_id)
        if resident is None:
            if len(self._by_id) >= self.limits.sessions_resident_max:
                await self._wait_for_room()
            resident = self._by_id.get(session_id) or self._spawn(session_id)
        return await resident.inbox.ask(command, letter)

    def _spawn(self, session_id: str) -> Resident:
        if self._closed is not None:
            raise copy.copy(self._closed)
        resident = Resident(session_id, self)
        self._alarm_of.pop(session_id, None)
        self.start_soon(self._serve, resident, name=f"moorage session {session_id}")
        self._by_id[session_id] = resident
        return resident

    def dismiss(self, session_id: str) -> None:
        """Send a session out of memory at once if it has nothing to do."""
        resident = self._by_id.get(session_id)
        if resident is not None:
            resident.inbox.put(Leave())

    async def wake(self, session_id: str) -> None:
        """Give a session that has work a worker, waiting for room."""
        while session_id not in self._by_id and self._closed is None:
            if len(self._by_id) < self.limits.sessions_resident_max:
                self._spawn(session_id)
                return
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        while self._closed is None and len(self._by_id) >= self.limits.sessions_resident_max:
            for resident in self._idle:
                self._ask_to_leave(resident)
                break
            await self._room.park()

    def _ask_to_leave(self, resident: Resident) -> None:
        self._idle.pop(resident, None)
        resident.inbox.put(Leave())

    # ---- idleness ----

    def note_idle(self, resident: Resident, idle: bool) -> None:
        """A worker begins or ends to have nothing to do."""
        if idle:
            resident.idle_since = trio.current_time()
            self._idle[resident] = None
            if self._room and self._closed is None:
                self._ask_to_leave(resident)
            elif len(self._idle) == 1:
                self._idle_news.unpark_all()
        else:
            resident.idle_since = None
            self._idle.pop(resident, None)

    async def passivate_idle(self) -> None:
        """Send away who has been idle for ``idle_seconds``; runs until cancelled."""
        while True:
            while not self._idle:
                await self._idle_news.park()
            oldest = next(iter(self._idle))
            assert oldest.idle_since is not None, "it is in the table of idle ones"
            due = oldest.idle_since + self.limits.idle_seconds
            if due <= trio.current_time():
                self._ask_to_leave(oldest)
            else:
                await trio.sleep_until(due)

    def _wake_later(self, session_id: str, time: float) -> None:
        alarm = self._alarm_of[session_id] = Alarm(session_id)
        self._alarms.keep_now_and_then(self._is_set)
        self._alarms.arm(time - trio.current_time(), alarm)
        self._alarm_news.unpark_all()

    def _is_set(self, alarm: Alarm) -> bool:
        return self._alarm_of.get(alarm.session_id) is alarm

    async def wake_in_time(self) -> None:
        """Give sessions a worker when a wait in them is over; runs until cancelled."""
        while True:
            for alarm in self._alarms.due():
                if self._is_set(alarm):
                    await self.wake(alarm.session_id)
            with trio.move_on_at(self._alarms.next_at()):
                await self._alarm_news.park()

    # ---- supervision ----

    async def _serve(self, resident: Resident) -> None:
        """Keep a worker for the session until it leaves or is given up."""
        intensity = RestartIntensity(self.limits.restarts_max, self.limits.restart_period_seconds)
        failures = 0
        run_in_context.set(None)  # whose agent has asked for the session is not this task's matter
        try:
            while True:
                pause = await self._serve_once(resident, intensity)
                if pause is None:
                    return
                failures += self._closed is not None
                if failures > self.limits.restarts_max:
                    # the next process will do it
                    logger.error("left_without_recording_the_end", session_id=resident.session_id)
                    return
                resident.inbox.keep_only_asks()
                await trio.sleep(pause)
                if self._closed is not None:
                    # being sent away was for the worker that is gone as well
                    resident.inbox.put(Leave(final=True))
        finally:
            if self._by_id.get(resident.session_id) is resident:
                del self._by_id[resident.session_id]
                if resident.due_at is not None and self._closed is None:
                    self._wake_later(resident.session_id, resident.due_at)
            self._room.unpark_all()
            error = self._closed or StoreFailed(
                f"the worker of session {resident.session_id!r} is gone", written=False
            )
            resident.inbox.refuse_all(error, close=True)

    async def _serve_once(self, resident: Resident, intensity: RestartIntensity) -> float | None:
        """One worker's life. Returns the pause before the next one's, None if there is none."""
        resident.due_at = None
        worker = resident.worker = Worker(resident.session_id, resident.inbox, self._env, resident)
        try:
            await worker.run()
        except SessionQuarantined as error:
            await self._answer_for_quarantined(resident, error)
            return 0.0 if resident.inbox.has_asks() else None
        except StaleOwner as error:
            logger.warning("session_lost", session_id=resident.session_id, reason=str(error))
            return intensity.record(trio.current_time()) or STORE_RETRY_SECONDS
        except (SessionHeld, UnknownSession, CorruptLog) as error:
            # nothing to serve here; damage to one session's log is no matter of the others
            # another node was faster: who asks is told, or asks that one
            tell = logger.debug if isinstance(error, SessionHeld) else logger.error
            tell("session_not_served", session_id=resident.session_id, reason=str(error))
            resident.inbox.refuse_all(error)
            return None
        except StoreFailed as error:
            if error.poisoned:
                self._on_store_failed(error)
                return None
            logger.warning(
                "session_write_of_unknown_outcome",
                session_id=resident.session_id,
                reason=str(error),
            )
            if not worker.serving:
                resident.inbox.refuse_all(StoreFailed(error.message, written=False))
            return STORE_RETRY_SECONDS
        except Exception as error:
            logger.error(
                "worker_crashed",
                session_id=resident.session_id,
                # as text: renderers that show every frame's variables hold the loop for a second
                traceback="".join(traceback.format_exception(error)),
            )
            pause = intensity.record(trio.current_time())
            if pause is None:
                pause = await self._give_up(resident, f"{type(error).__name__}: {error}")
                intensity.forgive()
            return pause
        finally:
            resident.worker = None
            self.note_idle(resident, False)
        return 0.0 if resident.inbox.has_asks() else None

    def note_failed(self, resident: Resident, error: BaseException) -> None:
        """Nobody waits for agents that take long to end to learn that the store is poisoned."""
        if isinstance(error, StoreFailed) and error.poisoned and not isinstance(error, CorruptLog):
            self._on_store_failed(error)
            resident.inbox.refuse_all(self._closed or error, close=True)

    async def _answer_for_quarantined(self, resident: Resident, error: SessionQuarantined) -> None:
        """A quarantined session can be opened, to be read, and deleted; all else is refused."""
        self._on_quarantined(resident.session_id)
        plain = [
            commands.OpenSession(mode=mode, include_deleted=look)
            for mode in ("open_or_create", "resume")
            for look in (False, True)
        ]
        for item in resident.inbox.take_all():
            if not isinstance(item, Ask) or not resident.inbox.take(item):
                continue
            if item.command in plain:
                item.answer(False)
            elif isinstance(item.command, (commands.DeleteSession, commands.DeleteUnchanged)):
                await self._delete_quarantined(resident.session_id, item, item.command)
            else:
                item.refuse(SessionQuarantined(error.session_id, reason=error.reason))

    async def _delete_quarantined(
        self, session_id: str, ask: Ask, command: commands.DeleteSession | commands.DeleteUnchanged
    ) -> None:
        """Without the machine, which may be what crashes."""
        store, claim = self._env.store, None
        try:
            claim = await store.claim(session_id)
            check_unchanged(claim, command)
            await delete_answering(store, claim, ask, claim.info is not None)
        except MoorageError as error:
            ask.refuse(error)
            if claim is not None:  # nobody here renews it
                with suppress(StoreFailed):
                    await store.release(claim)
        except BaseException:
            ask.refuse(StoreFailed(f"session {session_id!r} may or may not be deleted"))
            raise
        else:
            self._env.forget(session_id)
            ask.answer(claim.info is not None)

    async def _give_up(self, resident: Resident, reason: str) -> float | None:
        """Quarantine the session. Where that cannot be recorded either, all that is left is to
        answer who asked. Returns what ``_serve_once`` does."""
        try:
            await self._quarantine(resident.session_id, reason[:QUARANTINE_REASON_CHARS_MAX])
        except Exception as error:
            logger.error(
                "session_not_quarantined", session_id=resident.session_id, reason=str(error)
            )
            if isinstance(error, StoreFailed) and error.poisoned:
                self._on_store_failed(error)
            refusal = StoreFailed(
                f"the worker of session {resident.session_id!r} crashed too often ({reason}), "
                f"which could not be recorded ({error})",
                written=False,
            )
            resident.inbox.refuse_all(refusal)
            return None
        return 0.0

    async def _quarantine(self, session_id: str, reason: str) -> None:
        """Record the quarantine without the machine, which may be what crashes."""
        store = self._env.store
        claim = await store.claim(session_id)
        info = await store.info(session_id)
        if info is None:
            raise UnknownSession(session_id)
        image = without_runs(info)
        event = Event(
            session_id,
            info.head_seq + 1,
            max(self._env.time_ns(), info.modified_at_ns),
            "session_quarantined",
            None,
            {"reason": reason, "state_before": info.state.value},
        )
        image.apply(event)
        batch = Batch(event.seq)
        batch.absorb(Step([event], []))
        await store.append(claim, expected_seq=event.seq, records=batch.records, info=image.info())
        await store.release(claim)
        logger.error("session_quarantined", session_id=session_id, reason=reason)

    # ---- the end ----

    def send_away_idle(self) -> None:
        """Have everybody leave who has nothing to do here, now."""
        for resident in self.all():
            self._ask_to_leave(resident)

    async def leave_all(self, error: MoorageError) -> None:
        """Admit nobody any more, send everybody away, and return when all are gone."""
        self.close(error)
        for resident in self.all():
            resident.inbox.put(Leave(final=True))
        while self._by_id:
            await self._room.park()

    def close(self, error: MoorageError) -> None:
        """Refuse everybody with ``error`` from now on."""
        if self._closed is None:
            self._closed = error
        self._room.unpark_all()
