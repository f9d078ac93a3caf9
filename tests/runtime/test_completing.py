"""What a worker adds to commands before its machine decides on them."""

from __future__ import annotations

import pytest
from moorage.runtime.commands import OpenSession, Pause, Steer
from moorage.runtime.completing import completed
from moorage.runtime.errors import RecordTooLarge
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine


class ListeningSlots:
    """Slots in which the agents of some runs take messages."""

    def __init__(self, *run_ids: str) -> None:
        self._run_ids = run_ids

    def steerable(self, run_id: str) -> bool:
        return run_id in self._run_ids


def machine(**metadata: object) -> SessionMachine:
    return SessionMachine(SessionImage("s", metadata=metadata), SupervisorLimits())


@pytest.mark.parametrize(("run_id", "steerable"), [("A", True), ("B", False)])
def test_a_message_is_told_whether_its_runs_agent_takes_any(run_id: str, steerable: bool) -> None:
    command = Steer(run_id=run_id, steer_id="M", message=1, size_bytes=1, steerable=not steerable)

    told = completed(command, machine(), ListeningSlots("A"))  # type: ignore[arg-type]

    assert told == Steer(run_id=run_id, steer_id="M", message=1, size_bytes=1, steerable=steerable)


@pytest.mark.parametrize(
    ("metadata", "expected"), [(None, {"kept": 1, "new": 3}), ({"b": 2}, {"b": 2, "new": 3})]
)
def test_entries_are_merged_into_the_metadata_that_is_there_or_given(metadata, expected) -> None:
    command = OpenSession(metadata=metadata, metadata_update={"new": 3, "gone": None})

    told = completed(command, machine(kept=1, gone=2), ListeningSlots())  # type: ignore[arg-type]

    assert told == OpenSession(metadata=expected)


def test_metadata_beyond_its_limit_is_refused() -> None:
    command = OpenSession(metadata_update={"new": "x" * 9_000})

    with pytest.raises(RecordTooLarge):
        completed(command, machine(old="x" * 9_000), ListeningSlots())  # type: ignore[arg-type]


def test_other_commands_need_nothing() -> None:
    assert completed(Pause(), machine(), ListeningSlots()) == Pause()  # type: ignore[arg-type]
