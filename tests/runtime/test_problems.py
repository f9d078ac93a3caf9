"""What is recorded of an exception: its own facts where they can be, its text where not."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.problems import (
    CODE_CHARS_MAX,
    DETAILS_BYTES_MAX,
    MESSAGE_CHARS_MAX,
    problem_of,
)


class Coded(Exception):
    """An exception with whatever facts a test gives it."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


def test_an_exception_without_facts_is_told_by_its_type_and_text() -> None:
    assert problem_of(ValueError("no")) == {
        "code": "agent_failed",
        "message": "no",
        "type": "ValueError",
        "retryable": False,
    }


def test_a_missing_asyncio_loop_is_told_with_what_gives_an_agent_one() -> None:
    missing = problem_of(RuntimeError("no running event loop"))["message"]

    assert missing.startswith("no running event loop: ")
    assert "asyncio_agent" in missing
    assert problem_of(RuntimeError("no running loop"))["message"] == "no running loop"
    assert problem_of(ValueError("no running event loop"))["message"] == "no running event loop"


def test_an_exceptions_own_code_retryability_and_details_are_kept() -> None:
    problem = problem_of(Coded("slow down", code="limited", retryable=True, details={"s": 1}))

    assert (problem["code"], problem["retryable"], problem["details"]) == (
        "limited",
        True,
        {"s": 1},
    )


def test_a_code_given_by_the_caller_is_for_exceptions_without_one() -> None:
    assert problem_of(ValueError("x"), code="output_invalid")["code"] == "output_invalid"


def test_leaving_the_program_is_a_failure_with_a_code_of_its_own() -> None:
    assert problem_of(SystemExit(3))["code"] == "agent_exited"


def test_facts_of_the_wrong_kind_are_left_out() -> None:
    problem = problem_of(Coded("x", code=5, retryable="yes", details={1: 2}))

    assert (problem["code"], problem["retryable"]) == ("agent_failed", False)
    assert "details" not in problem


def test_what_is_recorded_is_bounded() -> None:
    long = "x" * 100_000
    problem = problem_of(Coded(long, code=long, details=["y" * DETAILS_BYTES_MAX]))

    assert (len(problem["message"]), len(problem["code"])) == (MESSAGE_CHARS_MAX, CODE_CHARS_MAX)
    assert "details" not in problem


class Hostile(Exception):
    """Its text and its facts raise."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def code(self) -> str:
        raise RuntimeError("no code")


def test_an_exception_that_cannot_be_told_is_told_of_all_the_same() -> None:
    problem = problem_of(Hostile())

    assert (problem["code"], problem["type"]) == ("agent_failed", "Hostile")
    assert "cannot be made" in problem["message"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_text_that_has_no_bytes_is_replaced(text: str) -> None:
    assert "?" in problem_of(ValueError(text))["message"]
