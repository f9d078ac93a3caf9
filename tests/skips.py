"""Which skips are failures where everything has to be there (MOORAGE_ALL_REQUIRED, as in CI).

A test that skips has shown nothing, and nobody reads why. So a reason that stays begins with
``NOT_HERE``, which is for what nobody could install: the platform, the user, a server that was
named and is not ours. Any other reason is about something that is missing, and fails; except that
the programs and packages of other targets are wanted by these alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

ALL_REQUIRED = "MOORAGE_ALL_REQUIRED"
NOT_HERE = "not here: "
TARGETS = {
    "make test-agents": "MOORAGE_AGENTS_REQUIRED",
    "make test-browser": "MOORAGE_BROWSER_REQUIRED",
}
"""What a reason says of whom -> the variable that this target sets."""


def may_stay(reason: str) -> bool:
    """Whether a test that is skipped for this reason may be, in spite of ``ALL_REQUIRED``."""
    elsewhere = (target for target, its in TARGETS.items() if its not in os.environ)
    return reason.startswith(NOT_HERE) or any(target in reason for target in elsewhere)


def reason_of(error: BaseException | None) -> str:
    """Why a test was skipped. pytest-trio raises what an async test raised anew, without it."""
    if isinstance(error, pytest.skip.Exception) and error.msg:
        return error.msg
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := reason_of(inner))), "")
    return "" if error is None else reason_of(error.__context__)


def fail_if_required(report: pytest.TestReport | pytest.CollectReport, reason: str) -> None:
    """Make a failure of a skip that may not stay."""
    if os.environ.get(ALL_REQUIRED) and not may_stay(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {ALL_REQUIRED} is set: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = reason_of(call.excinfo.value if call.excinfo else None)
        assert isinstance(report.longrepr, tuple), report.longrepr
        report.longrepr = *report.longrepr[:2], f"Skipped: {reason}"
        fail_if_required(report, reason)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        assert isinstance(report.longrepr, tuple), report.longrepr
        fail_if_required(report, report.longrepr[2].removeprefix("Skipped: "))
    return report
