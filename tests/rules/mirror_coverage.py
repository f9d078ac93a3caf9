"""Every module of the pure core is covered, branches included, by its own mirror test alone.

Not a test: it runs the suite's files one by one under coverage, each in a fork of a process that
has imported what is not the project's own. ``make check`` calls it.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import coverage
import hypothesis.strategies  # noqa: F401
import pytest
import trio.testing  # noqa: F401

SECONDS_MAX = 600
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.acceptance.pytest_server import PLUGINS  # noqa: E402
from tests.rules.test_imports import PURE_CORE  # noqa: E402
from tests.rules.test_tidy import MIRROR_EXCEPTIONS  # noqa: E402


def uncovered(module: str) -> str:
    """What coverage has to say, empty if the mirror test reaches every line and branch."""
    assert "moorage.runtime" not in sys.modules, "what is imported already would not be measured"
    plugins = [word for plugin in PLUGINS for word in ("-p", plugin)]
    test = f"tests/runtime/test_{module}.py"
    measured = coverage.Coverage(data_file=None, branch=True, include=[f"runtime/{module}.py"])
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        with measured.collect():
            code = pytest.main(["-q", "--no-header", "--disable-plugin-autoload", *plugins, test])
        sys.stdout.flush()
        said.seek(0)
        if code:
            return said.read()[-4_000:] or f"pytest exit code {code}"
    report = io.StringIO()
    percent = measured.report(show_missing=True, file=report)
    return report.getvalue() if percent < 100 else ""


def main() -> int:
    """Print what is not covered; 0 if nothing."""
    os.chdir(ROOT)
    modules = sorted(m for m in PURE_CORE if f"runtime/{m}.py" not in MIRROR_EXCEPTIONS)
    modules.append("codec")
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        measuring = pool.map_async(uncovered, modules, chunksize=1)
        # a fork that was killed would be waited for without an end
        results = list(zip(modules, measuring.get(SECONDS_MAX), strict=True))
    for module, problem in results:
        if problem:
            print(f"runtime/{module}.py is not fully covered by tests/runtime/test_{module}.py")
            print(problem)
    failed = sum(bool(problem) for _, problem in results)
    print(f"mirror coverage: {len(results) - failed} modules at 100 %, {failed} below")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
