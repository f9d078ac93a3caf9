"""Where everything has to be there, a test that skips for want of something fails."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rules.source_tree import ROOT
from tests.skips import ALL_REQUIRED, TARGETS, may_stay

if TYPE_CHECKING:
    from pathlib import Path

LACKING = """
import pytest

def test_lacks_a_package():
    pytest.importorskip("no_package_of_that_name")

@pytest.mark.skipif(True, reason="there is no such program")
def test_lacks_a_program():
    pass

@pytest.fixture
def server():
    pytest.skip("there is no such server")

def test_lacks_a_server(server):
    pass
"""
ELSEWHERE = """
import pytest

@pytest.mark.skipif(True, reason="not here: another platform")
def test_of_another_platform():
    pass

async def test_of_another_target():
    pytest.skip("there is no such agent: make test-agents installs it")

@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""
WHOLE_MODULE = 'import pytest\npytest.importorskip("no_package_of_that_name")\n'
REQUIRED = {ALL_REQUIRED: "1"}


@pytest.mark.parametrize(
    ("variables", "outcome"),
    [
        ({}, "6 skipped, 1 xfailed"),
        (REQUIRED, "1 failed, 2 skipped, 1 xfailed, 3 errors"),
        (
            {**REQUIRED, "MOORAGE_AGENTS_REQUIRED": "1"},
            "2 failed, 1 skipped, 1 xfailed, 3 errors",
        ),
    ],
)
def test_what_lacks_something_is_a_failure_where_all_is_required(
    tmp_path: Path, variables: dict[str, str], outcome: str
) -> None:
    for name, text in (("lacking", LACKING), ("elsewhere", ELSEWHERE), ("whole", WHOLE_MODULE)):
        (tmp_path / f"test_{name}.py").write_text(text)
    names = (ALL_REQUIRED, *TARGETS.values())
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}

    options = ["-q", "-p", "tests.skips", "-p", "pytest_trio.plugin", "-o", "trio_mode=true"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.stdout.splitlines()[-1].partition(" in ")[0] == outcome


def test_a_reason_that_only_mentions_the_platform_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TARGETS.values():
        monkeypatch.delenv(name, raising=False)

    assert may_stay("not here: for root nothing is forbidden")
    assert may_stay("the package is not installed: make test-agents installs it")
    assert not may_stay("there is no curl, not here: on this platform")
