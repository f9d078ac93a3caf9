"""Twenty kills of a real process; ``make kill`` does two hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOOP = Path(__file__).with_name("kill_loop.py")


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.promise(4)
@pytest.mark.promise(10)
def test_what_was_acknowledged_survives_twenty_kills() -> None:
    done = subprocess.run(
        [sys.executable, str(LOOP), "--kills", "20", "--seed", "20"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    print(done.stdout[-2_000:])
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    assert "0 problems" in done.stdout
