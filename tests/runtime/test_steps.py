"""Steps are plain values that compare by what is in them."""

from __future__ import annotations

import attrs
import pytest
from moorage.runtime.steps import ArmTimer, RunEndedSignal, StartRun, Step, StopRun


def test_a_step_without_an_answer_answers_none() -> None:
    assert Step([], []).answer is None


def test_effects_are_told_apart_by_what_they_do() -> None:
    effects = [StartRun("A"), StopRun("A"), ArmTimer("A", "grace", 1, 5.0)]

    assert [type(effect) for effect in effects] == [StartRun, StopRun, ArmTimer]
    assert ArmTimer("A", "grace", 1, 5.0) != ArmTimer("A", "grace", 2, 5.0)


def test_the_end_of_a_task_is_told_once_and_cannot_be_changed() -> None:
    signal = RunEndedSignal("A", 1, "returned", output=7)

    assert (signal.problem, signal.name, signal.usage) == (None, None, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        signal.output = 8  # type: ignore[misc]
