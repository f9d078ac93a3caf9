"""A session in memory, as the supervisor keeps it: what its workers come and go in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .inbox import Inbox

if TYPE_CHECKING:
    from .residents import Residents
    from .worker import Worker


class Resident:
    """One session in memory: its inbox, which outlives its workers, and the worker of now, whose
    keeper it is."""

    __slots__ = (
        "_residents",
        "due_at",
        "idle_since",
        "inbox",
        "session_id",
        "start_soon",
        "worker",
    )

    def __init__(self, session_id: str, residents: Residents) -> None:
        self.session_id = session_id
        self.inbox = Inbox(residents.limits.inbox_commands_max)
        self.worker: Worker | None = None
        self.idle_since: float | None = None
        self.due_at: float | None = None
        self.start_soon = residents.start_soon
        self._residents = residents

    def note_idle(self, idle: bool) -> None:
        self._residents.note_idle(self, idle)

    def note_handed_on(self) -> None:
        self._residents.note_handed_on()

    def wake_at(self, time: float) -> None:
        self.due_at = time

    def note_failed(self, error: BaseException) -> None:
        self._residents.note_failed(self, error)
