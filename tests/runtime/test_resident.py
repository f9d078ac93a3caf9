"""What a worker tells its keeper reaches the residents, with the session that it is about."""

from __future__ import annotations

from typing import Any

from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.resident import Resident


class Told:
    """Residents that note what they are told."""

    def __init__(self) -> None:
        self.limits = SupervisorLimits()
        self.start_soon = object()
        self.told: list[Any] = []

    def note_idle(self, resident: Resident, idle: bool) -> None:
        self.told.append((resident.session_id, idle))

    def note_handed_on(self) -> None:
        self.told.append("handed on")

    def note_failed(self, resident: Resident, error: BaseException) -> None:
        self.told.append((resident.session_id, error))


def test_what_a_worker_tells_is_told_with_its_session() -> None:
    residents, error = Told(), KeyError()
    resident = Resident("s", residents)  # type: ignore[arg-type]

    resident.note_idle(True)
    resident.note_handed_on()
    resident.note_failed(error)
    resident.wake_at(5.0)

    assert residents.told == [("s", True), "handed on", ("s", error)]
    assert (resident.due_at, resident.worker, len(resident.inbox)) == (5.0, None, 0)
    assert resident.start_soon is residents.start_soon
