from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import BENCHMARKS

REPOSITORY = Path(__file__).parents[2]


def test_without_a_name_every_benchmark_is_listed_with_its_question():
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    words = [line.split() for line in ran.stdout.partition("NAME is one of:")[2].splitlines()]
    listed = {line[0]: line[-1] for line in words if line}
    assert ran.returncode == 2
    assert list(listed) == list(BENCHMARKS)
    assert all(last.endswith("?") for last in listed.values())
