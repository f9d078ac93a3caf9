from __future__ import annotations

import pytest
from moorage.runtime.raised import TRACEBACK_CHARS_MAX, meant_for_all, told_traceback


def test_an_interrupt_is_meant_for_the_whole_program_and_a_failure_is_not():
    interrupt = KeyboardInterrupt()

    assert meant_for_all(interrupt) is interrupt
    assert meant_for_all(ValueError("no")) is None
    assert meant_for_all(SystemExit(3)) is None


def test_of_a_group_only_the_interrupt_is_meant_for_all():
    group = BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError("no")])

    passing = meant_for_all(group)

    assert isinstance(passing, BaseExceptionGroup)
    assert [type(one) for one in passing.exceptions] == [KeyboardInterrupt]
    assert meant_for_all(ExceptionGroup("failures", [ValueError("no")])) is None


def test_a_traceback_ends_with_what_was_raised_however_long_it_is():
    with pytest.raises(ValueError, match="xxx") as raised:
        raise ValueError("x" * 2 * TRACEBACK_CHARS_MAX + "the end")

    told = told_traceback(raised.value)

    assert len(told) == TRACEBACK_CHARS_MAX
    assert told.endswith("the end\n")
