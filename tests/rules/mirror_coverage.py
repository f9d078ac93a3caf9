"""Every module of the pure core is covered, branches included, by its own mirror test alone.

Not a test: it runs the suite's files one by one under coverage. ``make check`` calls it.
"""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.rules.test_imports import PURE_CORE  # noqa: E402
from tests.rules.test_tidy import MIRROR_EXCEPTIONS  # noqa: E402


def uncovered(module: str) -> str:
    """What coverage has to say, empty if the mirror test reaches every line and branch."""
    with tempfile.TemporaryDirectory() as directory:
        data = f"--data-file={directory}/coverage"
        test = f"tests/runtime/test_{module}.py"
        python = [sys.executable, "-m"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        measure = ["coverage", "run", data, "--branch", f"--include=runtime/{module}.py"]
        ran = subprocess.run(
            [*python, *measure, "-m", "pytest", "-q", "--no-header", test],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            return ran.stdout[-2_000:] + ran.stderr[-2_000:]
        told = subprocess.run(
            [*python, "coverage", "report", data, "--show-missing", "--fail-under=100"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout + told.stderr if told.returncode else ""


def main() -> int:
    """Print what is not covered; 0 if nothing."""
    modules = sorted(m for m in PURE_CORE if f"runtime/{m}.py" not in MIRROR_EXCEPTIONS)
    modules.append("codec")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(zip(modules, pool.map(uncovered, modules), strict=True))
    for module, problem in results:
        if problem:
            print(f"runtime/{module}.py is not fully covered by tests/runtime/test_{module}.py")
            print(problem)
    failed = sum(bool(problem) for _, problem in results)
    print(f"mirror coverage: {len(results) - failed} modules at 100 %, {failed} below")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
